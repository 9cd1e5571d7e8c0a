"""`serve`, `connect`, `servers`: from a model to a server, and back to one that runs."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from workbench.client.changing_settings import (
    DEFAULT_HOST,
    ModelSettings,
    ServerSettings,
    plain_setting,
)
from workbench.client.control_client import model_path
from workbench.client.display.memory_tables import parse_bytes
from workbench.client.models.keras_file import is_keras_file
from workbench.client.models.servable import Servable, is_saved_model, servable
from workbench.client.outcomes import Launched, Published, Reused, differences
from workbench.client.publishing import fingerprint, saving
from workbench.client.publishing.links import as_written, is_same_folder
from workbench.client.server import LOAD_TIMEOUT_SECONDS, Server
from workbench.core.batching.parameters import BatchingParameters
from workbench.core.remote_paths import check_local
from workbench.core.setting_kinds import number
from workbench.core.status import Code, ServingError, invalid_argument
from workbench.core.versions.version_policy import check_version, parse_version
from workbench.processes import paths, registry
from workbench.processes.hosts import host_names
from workbench.processes.jupyter_launcher import JupyterLauncher
from workbench.processes.kernel_launcher import KernelLauncher
from workbench.processes.launcher import Launcher, SubprocessLauncher, reap_supervisors
from workbench.processes.lifetime import ProcessId
from workbench.processes.server_options import ServerOptions, StartRequest

_NAME = "model"
"""Of a model in memory that was given none."""
_COPIED = (
    "what the link leads to was copied: serve it again when the link has been swapped, and the new "
    "release becomes the next version"
)


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
) -> Server:
    """Serve a model, and return the server once it answers.

    Called again under the same name it finds the running server: where the model is the one that
    it serves, it is reused, else the model becomes the next version. The settings of the model and
    `num_batch_threads` are changed if they are given. `Server.outcome` says what was done, and
    what a running server cannot change.

    Args:
        model: a Keras model (Keras 3 or `tf_keras`), a `tf.Module`, the path of a SavedModel, of a
            ``.keras`` or ``.h5`` file, or of a folder of numbered versions. Such a folder is
            followed: new versions in it, and another folder behind a link that is swapped. A
            SavedModel is copied: call `serve` again for a new one.
        name: of the model and of its server; without, that of the path (of the folder above it,
            where the path is a numbered version), or ``"model"`` for a model in memory.
        base_path: the folder for the numbered versions of a model in memory; without, one that
            goes with the server.
        version_policy: ``"latest"`` (as None is), a number of latest versions, ``"all"`` or a
            list.
        transition: ``"smooth"`` (as None is), ``"unload_first"`` or ``"staged"``; the last two
            also with ``"+hold"``, under which requests wait while no version serves.
        probe: what becomes of a version that cannot answer when each of its signatures is asked
            once before it is available: ``"refuse"`` (as None is), ``"warn"``; ``"off"`` asks
            nothing.
        batching: TensorFlow Serving's parameters; None batches automatically.
        port: 0 lets the system choose.
        device: of a model that is not served yet: ``"auto"`` (the GPU with the most room, else
            the CPU), ``"cpu"``, or ``"gpu:1"``.
        memory_limit: the most that one version may take of the host: bytes, or ``"1.5 GB"``.
        gpu_memory_limit: the same for the GPU.
        token: ``""`` makes a random one; None lets everybody on this machine ask. Callers send it
            as ``Authorization: Bearer TOKEN``, or as ``X-Workbench-Token: TOKEN`` through a proxy
            that takes `Authorization` for itself.
        allowed_hosts: names by which callers may reach a server on loopback besides loopback's own,
            without port: those of a proxy in front of it, such as ``["hub.example.org"]``.
        num_batch_threads: batches that run at a time; without, as many as there are CPUs.
        per_version_slots: each version may run so many, so that a slow one costs the others
            nothing; else all versions together, as in TensorFlow Serving.
        detach: the server outlives this process, until it is stopped (or idle for
            `idle_seconds`).

    Raises:
        ServingError: why the model cannot be served, in the words of whoever knows.
    """
    if name is None:
        name = default_name(model)
    paths.check_name(name)
    number(0, unit="seconds").check("timeout", timeout)
    memory = {
        "device": plain_setting("device", device),
        "memory_limit_bytes": parse_bytes(memory_limit, "memory_limit"),
        "gpu_memory_limit_bytes": parse_bytes(gpu_memory_limit, "gpu_memory_limit"),
    }
    settings = ModelSettings(transition, version_policy, batching, labels, num_batch_threads, probe)
    options = ServerOptions(
        name,
        host=host,
        port=port,
        token=token,
        allowed_hosts=host_names(allowed_hosts),
        num_batch_threads=settings.slots,
        per_version_slots=per_version_slots,
        idle_seconds=idle_seconds,
    )
    fixed = ServerSettings(options, base_path, detach)
    reap_supervisors()
    running = registry.read(name)
    numbered = _numbered(model)
    given = servable(model) if numbered is None else None
    if running is not None:
        return _serve_again(given, numbered, running, settings, fixed, timeout)
    if numbered is not None:
        base = numbered
    elif base_path is not None:
        check_local(os.fspath(base_path), "The base path")
        base = as_written(base_path)
    else:
        base = paths.server_folder(name) / "models" / name
    if given is not None:
        # What cannot be saved need not start a server first.
        given.prepare()
    # The server starts without the model: while it warms up, the model is saved.
    launcher, why = (launcher, "") if launcher is not None else _launcher(detach)
    launcher.launch(StartRequest(options, None if detach else ProcessId.me()))
    server = Server(name, name)
    try:
        trusted = [] if given is None else [_first_version(server, given, base)]
        config = {"name": name, "base_path": str(base), **memory, **settings.for_new()}
        server._control.request("PUT", model_path(name), config)
        server._control.request("POST", model_path(name, "poll"), {"complete": trusted})
        _wait_until_served(server, timeout)
    except BaseException:
        server.stop()
        raise
    if not numbered and isinstance(model, (str, os.PathLike)) and as_written(model).is_symlink():
        why = "; ".join(filter(None, (why, _COPIED)))
    server.outcome = Launched(name, server.url, why)
    return server


def _launcher(detach: bool) -> tuple[Launcher, str]:
    """A serving kernel where there are kernels, else a process of its own; and what is unusual
    about it."""
    if detach or not _in_a_kernel():
        return SubprocessLauncher(), ""
    try:
        return JupyterLauncher.of_this_process(), ""
    except ServingError as error:
        why = f"it ends with this kernel, because {error}"
    try:
        return KernelLauncher(), why
    except ServingError:
        return SubprocessLauncher(), why


def _in_a_kernel() -> bool:
    ipython = sys.modules.get("IPython")
    shell = None if ipython is None else ipython.get_ipython()
    return hasattr(shell, "kernel")


def connect(name: str | None = None) -> Server:
    """A running server by its name; without, the only one, or the one started last.

    Raises:
        ServingError: NOT_FOUND, naming those that run.
    """
    if name is None:
        running = registry.entries()
        if not running:
            raise ServingError(Code.NOT_FOUND, "No server is running: start one with wb.serve()")
        name = running[-1].name
    return _server_of(registry.find(name))


def servers() -> list[Server]:
    """All running servers of this user, oldest first."""
    reap_supervisors()
    return [_server_of(entry) for entry in registry.entries()]


def _server_of(entry: registry.Entry) -> Server:
    server = Server(entry.name, entry.name)
    try:
        models = server._control.request("GET", "/server")["models"]
    except ServingError:
        return server
    if models and entry.name not in models:
        server.model = models[0]
    return server


def _serve_again(
    model: Servable | None,
    numbered: Path | None,
    entry: registry.Entry,
    settings: ModelSettings,
    fixed: ServerSettings,
    timeout: float,
) -> Server:
    """The server runs already: reuse it, or publish what has changed."""
    server = connect(entry.name)
    base = server.base_path
    if numbered is not None and not is_same_folder(numbered, base):
        raise ServingError(
            Code.ALREADY_EXISTS,
            f"A server named {entry.name!r} is running already, for {base}: stop it first "
            f"(wb.connect({entry.name!r}).stop()), or choose another name",
        )
    kept = fixed.unlike(entry, base)
    changed = settings.change(server, "transition", "version_policy", "batching", "probe")
    # A server process that has just been replaced has loaded nothing yet.
    server._control.request(
        "GET", model_path(server.model, "wait"), timeout=timeout + 30, wait_seconds=timeout
    )
    before = server._describe(server.model)["versions"]
    version = None if model is None else _version_of(model, entry.folder, server.model, before)
    if model is None or version is not None:
        if version is not None:
            server.wait_for(version, timeout)
        changed += settings.change(server, "labels")
        server.outcome = Reused(entry.name, server.url, changed + kept)
        return server
    version = server._publish(model, None, True, timeout)
    changed += settings.change(server, "labels")
    after = {v["version"]: v for v in server._describe(server.model)["versions"]}
    served = [v for v in before if v["state"] == "AVAILABLE"]
    changes = differences(served[0], after[version]) if served else ()
    server.outcome = Published(entry.name, server.url, version, changes, changed + kept)
    return server


def _version_of(
    model: Servable, folder: str, name: str, versions: list[dict[str, Any]]
) -> int | None:
    """The version that answers, or is about to, if it was made from this very model."""
    for v in versions:
        if v["state"] in ("START", "LOADING", "AVAILABLE"):
            number = int(v["version"])
            made_from = fingerprint.of_version(folder, name, number, Path(v["path"]))
            return number if made_from == model.digest() else None
    return None


def default_name(model: Any) -> str:
    """What a model is called where no name is given: as the folder or file that its path names, or
    as the folder above a numbered version."""
    if not isinstance(model, (str, os.PathLike)):
        return _NAME
    path = as_written(model)
    name = path.stem if is_keras_file(path) else path.name
    if parse_version(name) is not None:
        name = path.parent.name
    return paths.clean_name(name) or _NAME


def _numbered(model: Any) -> Path | None:
    """The folder, where a model is the path of one with numbered versions.

    Raises:
        ServingError: INVALID_ARGUMENT, the path is that of nothing that can be served.
    """
    if not isinstance(model, (str, os.PathLike)):
        return None
    check_local(os.fspath(model), "The model's path")
    path = as_written(model)
    if not path.exists():
        raise invalid_argument(
            f"There is no {path}: give the path of a SavedModel, of a .keras file, or of a "
            "folder of numbered versions"
        )
    if is_saved_model(path) or is_keras_file(path):
        return None
    if not saving.version_folders(path):
        raise invalid_argument(
            f"{path} is neither a SavedModel (it has no saved_model.pb), nor a .keras file, nor a "
            "folder of numbered versions (it has no folder named '1')"
        )
    return path


def _first_version(server: Server, model: Servable, base: Path) -> int:
    """Write a model's first version; a SavedModel in a numbered folder keeps its number."""
    version = None if model.path is None else parse_version(model.path.name)
    if version is None or version in saving.version_folders(base):
        version = check_version(saving.next_version(base))
    server._remember(model, version, saving.put_version(model, base, version))
    return version


def _wait_until_served(server: Server, timeout: float) -> None:
    data = server._control.request(
        "GET", model_path(server.model, "wait"), timeout=timeout + 30, wait_seconds=timeout
    )
    if any(v["state"] == "AVAILABLE" for v in data["versions"]):
        return
    for v in data["versions"]:
        if v["error"] is not None:
            raise ServingError(
                Code[v["error"]["code"]],
                f"Version {v['version']} of {server.model} did not load: {v['error']['message']}",
            )
    reasons = [*data["warnings"], *(f"version {v}: {r}" for v, r in data["waiting"].items())]
    raise ServingError(
        Code.DEADLINE_EXCEEDED,
        f"{server.model} is not served after {timeout:.0f} s: "
        + ("; ".join(reasons) or "it is still loading"),
    )
