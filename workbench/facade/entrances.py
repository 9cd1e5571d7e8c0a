"""`serve`, `connect` and `servers`, which return a `Server`."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import Any

from workbench.client import serve as client
from workbench.client.serve_settings import DEFAULT_HOST, ModelSettings, ServerSettings
from workbench.client.server import ServerClient
from workbench.client.server_parts.waiting import LOAD_TIMEOUT_SECONDS
from workbench.core.batching.parameters import BatchingParameters
from workbench.facade.notebook_server import Server
from workbench.processes.launcher import Launcher


def serve(
    model: Any,
    name: str | None = None,
    *,
    base_path: str | os.PathLike[str] | None = None,
    version_policy: Any = None,
    transition: str | None = None,
    probe: str | None = None,
    batching: BatchingParameters | Mapping[str, Any] | None = None,
    labels: Mapping[str, int] | None = None,
    host: str = DEFAULT_HOST,
    port: int = 0,
    token: str | None = "",
    allowed_hosts: Sequence[str] = (),
    num_batch_threads: int | None = None,
    per_version_slots: bool = False,
    detach: bool = False,
    idle_seconds: float | None = None,
    launcher: Launcher | None = None,
    device: str = "auto",
    memory_limit: int | str | None = None,
    gpu_memory_limit: int | str | None = None,
    timeout: float = LOAD_TIMEOUT_SECONDS,
    allow_signature_change: bool = False,
) -> Server:
    """Serve a model, and return its server when a version is available.

    If a server of that name runs, it is reused: if it serves another model, this one becomes the
    next version, and the model's settings and `num_batch_threads` are changed if they are given.
    `Server.outcome` says what was done, and which settings a running server cannot change.

    Args:
        model: a Keras model (Keras 3 or `tf_keras`), a `tf.Module`, the path of a SavedModel, of a
            ``.keras`` or ``.h5`` file, or of a folder of numbered versions. Such a folder is
            followed: new versions in it, and another folder behind a link that is swapped. A
            SavedModel is copied: call `serve` again for a new one.
        name: of the model and of its server; by default that of the path (of the folder above it
            if the path is a numbered version), or ``"model"`` for a model in memory.
        base_path: the folder for the numbered versions of a model in memory; by default one that
            is removed with the server.
        version_policy: ``"latest"`` (the default), a number of latest versions, ``"all"`` or a
            list.
        transition: ``"smooth"`` (the default), ``"unload_first"`` or ``"staged"``; the last two
            also with ``"+hold"``, under which requests wait while no version serves.
        probe: the treatment of a version that fails when each of its signatures is run once before
            it is available: ``"refuse"`` (the default) or ``"warn"``; ``"off"`` runs nothing.
        batching: TensorFlow Serving's parameters; None batches automatically.
        labels: names for versions, such as ``{"stable": 1}``.
        host, port: the address to listen on; port 0 lets the system choose.
        token: ``""`` makes a random one; None lets everybody on this machine ask. Callers send it
            as ``Authorization: Bearer TOKEN``, or as ``X-Workbench-Token: TOKEN`` through a proxy
            that uses `Authorization` itself.
        allowed_hosts: names by which callers may reach a server on loopback besides loopback's own,
            without port: those of a proxy in front of it, such as ``["hub.example.org"]``.
        num_batch_threads: batches that run at a time; by default as many as there are CPUs.
        per_version_slots: each version may run that many, and a slow one does not delay the others;
            otherwise all versions together, as in TensorFlow Serving.
        detach: the server outlives this process, until it is stopped (or idle for
            `idle_seconds`).
        launcher: starts the server's processes; by default as a kernel in Jupyter, otherwise as a
            subprocess.
        device: of a model that is not served yet: ``"auto"`` (the GPU with the most free memory,
            else the CPU), ``"cpu"``, or ``"gpu:1"``.
        memory_limit: the most that one version may take of the host: bytes, or ``"1.5 GB"``.
        gpu_memory_limit: the same for the GPU.
        timeout: seconds to wait for the first available version.
        allow_signature_change: of a server that runs: publish the model also if it breaks the
            callers of the version that serves (`Server.publish`).

    Raises:
        ServingError: the reason why the model cannot be served.
    """
    of_model = ModelSettings(
        transition=transition,
        version_policy=version_policy,
        batching=batching,
        labels=labels,
        probe=probe,
        device=device,
        memory_limit=memory_limit,
        gpu_memory_limit=gpu_memory_limit,
    )
    of_server = ServerSettings(
        host=host,
        port=port,
        token=token,
        base_path=base_path,
        detach=detach,
        idle_seconds=idle_seconds,
        allowed_hosts=allowed_hosts,
        num_batch_threads=num_batch_threads,
        per_version_slots=per_version_slots,
    )
    return _server(
        client.serve(
            model,
            name,
            of_model,
            of_server,
            launcher=launcher,
            timeout=timeout,
            allow_signature_change=allow_signature_change,
        )
    )


def connect(name: str | None = None) -> Server:
    """A running server by its name; by default the one started last.

    Raises:
        ServingError: NOT_FOUND, with the names of those that run.
    """
    return _server(client.connect(name))


def servers() -> list[Server]:
    """All running servers of this user, oldest first."""
    return [_server(found) for found in client.servers()]


def _server(found: ServerClient) -> Server:
    return Server(found.name, found.model, found.outcome)
