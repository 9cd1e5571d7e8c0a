"""`serve`, `connect`, `servers`: from a model to a server, and back to one that runs."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import orjson

from workbench.client import saving
from workbench.client.control import model_path
from workbench.client.outcomes import Launched, Published, Reused, differences
from workbench.client.server import LOAD_TIMEOUT_SECONDS, Server, batching_json, labels_json
from workbench.core.batching_parameters import BatchingParameters
from workbench.core.status import Code, ServingError, invalid_argument
from workbench.core.transitions import policy_name
from workbench.core.versions import VersionPolicy, parse_version
from workbench.runtime import paths, registry
from workbench.runtime.jupyter_launcher import JupyterLauncher
from workbench.runtime.kernel_launcher import KernelLauncher
from workbench.runtime.launcher import Launcher, SubprocessLauncher, reap_supervisors
from workbench.runtime.processes import ProcessId


def serve(
    model: Any,
    name: str = "model",
    *,
    base_path: str | os.PathLike[str] | None = None,
    version_policy: Any = None,
    transition: str = "smooth",
    batching: BatchingParameters | Mapping[str, Any] | None = None,
    labels: Mapping[str, int] | None = None,
    host: str = "127.0.0.1",
    port: int = 0,
    token: str | None = "",
    num_batch_threads: int | None = None,
    per_version_slots: bool = False,
    detach: bool = False,
    idle_seconds: float | None = None,
    launcher: Launcher | None = None,
    timeout: float = LOAD_TIMEOUT_SECONDS,
) -> Server:
    """Serve a model, and return the server once it answers.

    Called again under the same name it finds the running server: a model that has not changed
    is reused, one that has becomes the next version. `Server.outcome` says which it was.

    Args:
        model: a Keras model, a `tf.Module`, the path of a SavedModel, or the path of a folder
            of numbered versions.
        name: of the model and of its server.
        base_path: the folder for the numbered versions of a model in memory; without, one that
            goes with the server.
        version_policy: ``"latest"``, a number of latest versions, ``"all"`` or a list.
        transition: ``"smooth"``, ``"unload_first"`` or ``"staged"``; the last two also with
            ``"+hold"``, under which requests wait while no version serves.
        batching: TensorFlow Serving's parameters; None batches automatically.
        port: 0 lets the system choose.
        token: ``""`` makes a random one; None lets everybody on this machine ask.
        num_batch_threads: batches that run at a time; without, as many as there are CPUs.
        per_version_slots: each version may run so many, so that a slow one costs the others
            nothing; else all versions together, as in TensorFlow Serving.
        detach: the server outlives this process, until it is stopped (or idle for
            `idle_seconds`).

    Raises:
        ServingError: why the model cannot be served, in the words of whoever knows.
    """
    paths.check_name(name)
    if type(port) is not int or not 0 <= port < 2**16:
        raise invalid_argument(
            f"Port {port!r} cannot be used: give a number from 1 to 65535, or 0 to let the system "
            "choose"
        )
    transition = policy_name(transition)
    policy = VersionPolicy.parse(version_policy)
    batching_data = batching_json(batching)
    reap_supervisors()
    running = registry.read(name)
    if running is not None:
        return _serve_again(model, name, Path(running.folder), timeout)
    base, numbered = _base_path(model, name, base_path)
    if not isinstance(model, (str, os.PathLike)):
        # What cannot be saved need not start a server first.
        saving.check_servable(model)
    config: dict[str, Any] = {
        "name": name,
        "base_path": str(base),
        "version_policy": policy.to_json(),
        "transition": transition,
        "batching": batching_data,
        "labels": labels_json(labels or {}),
    }
    spec = {
        "name": name,
        "host": host,
        "port": port,
        "token": token,
        "owner": None if detach else list(ProcessId.me()),
        "idle_seconds": idle_seconds,
        "num_batch_threads": num_batch_threads,
        "per_version_slots": per_version_slots,
    }
    # The server starts without the model: while it warms up, the model is saved.
    launcher, why = (launcher, "") if launcher is not None else _launcher(detach)
    entry = launcher.launch(spec)
    server = Server(name, name)
    try:
        trusted = [] if numbered else [_first_version(model, base)]
        server._control.request("PUT", model_path(name), config)
        server._control.request("POST", model_path(name, "poll"), {"complete": trusted})
        _remember(Path(entry.folder), model)
        _wait_until_served(server, timeout)
    except BaseException:
        server.stop()
        raise
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


def _serve_again(model: Any, name: str, folder: Path, timeout: float) -> Server:
    """The server runs already: reuse it, or publish what has changed."""
    server = connect(name)
    if _remembered(folder) == saving.fingerprint(model):
        server.outcome = Reused(name, server.url)
        return server
    if isinstance(model, (str, os.PathLike)) and not saving.is_saved_model(
        Path(model).expanduser()
    ):
        raise ServingError(
            Code.ALREADY_EXISTS,
            f"A server named {name!r} is running already, for {server.base_path}: stop it first "
            f"(wb.connect({name!r}).stop()), or choose another name",
        )
    before = server._describe(server.model)["versions"]
    version = server.publish(model, timeout=timeout)
    _remember(folder, model)
    after = {v["version"]: v for v in server._describe(server.model)["versions"]}
    served = [v for v in before if v["state"] == "AVAILABLE"]
    changes = differences(served[0], after[version]) if served else ()
    server.outcome = Published(name, server.url, version, changes)
    return server


def _base_path(
    model: Any, name: str, base_path: str | os.PathLike[str] | None
) -> tuple[Path, bool]:
    """Where the versions lie, and whether they lie there already."""
    if isinstance(model, (str, os.PathLike)):
        path = Path(model).expanduser().resolve()
        if not path.exists():
            raise invalid_argument(
                f"There is no {path}: give the path of a SavedModel or of a "
                "folder of numbered versions"
            )
        if not saving.is_saved_model(path):
            if not saving.version_folders(path):
                raise invalid_argument(
                    f"{path} is neither a SavedModel (it has no saved_model.pb) nor a folder of "
                    "numbered versions (it has no folder named '1')"
                )
            return path, True
    if base_path is not None:
        return Path(base_path).expanduser().resolve(), False
    return paths.server_folder(name) / "models" / name, False


def _first_version(model: Any, base: Path) -> int:
    if isinstance(model, (str, os.PathLike)):
        source = Path(model).expanduser().resolve()
        version = parse_version(source.name)
        if version is None or version in saving.version_folders(base):
            version = saving.next_version(base)
        saving.link_version(source, base, version)
        return version
    version = saving.next_version(base)
    saving.put_version(model, base, version)
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


def _remember(folder: Path, model: Any) -> None:
    data = {"fingerprint": saving.fingerprint(model)}
    paths.write_private(folder / "published.json", orjson.dumps(data))


def _remembered(folder: Path) -> str | None:
    try:
        return str(orjson.loads((folder / "published.json").read_bytes())["fingerprint"])
    except (OSError, ValueError, KeyError):
        return None
