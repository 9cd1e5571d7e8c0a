"""`serve`, `connect`, `servers`: start a server for a model, or find one that runs."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Any

from workbench.client.control_answers import VersionDescription
from workbench.client.models.keras_file import is_keras_file
from workbench.client.models.servable import Servable, is_saved_model, servable
from workbench.client.outcomes import Launched, Published, Reused
from workbench.client.publishing import fingerprint, saving
from workbench.client.publishing.links import as_written, is_same_folder
from workbench.client.serve_settings import ModelSettings, ServerSettings
from workbench.client.server import ServerClient
from workbench.client.server_parts.waiting import LOAD_TIMEOUT_SECONDS, until_served
from workbench.core.remote_paths import check_local
from workbench.core.setting_kinds import number
from workbench.core.status import Code, Reason, ServingError, invalid_argument, not_found
from workbench.core.versions.states import PublicState
from workbench.core.versions.version_policy import check_version, parse_version
from workbench.processes import paths, registry
from workbench.processes.jupyter_launcher import JupyterLauncher
from workbench.processes.kernel_launcher import KernelLauncher
from workbench.processes.launcher import Launcher, SubprocessLauncher, reap_supervisors

_NAME = "model"
"""The name of a model in memory, by default."""
_COPIED = (
    "what the link leads to was copied: serve it again when the link has been swapped, and the new "
    "release becomes the next version"
)


def serve(
    model: Any,
    name: str | None = None,
    of_model: ModelSettings | None = None,
    of_server: ServerSettings | None = None,
    *,
    launcher: Launcher | None = None,
    timeout: float = LOAD_TIMEOUT_SECONDS,
    allow_signature_change: bool = False,
) -> ServerClient:
    """Serve a model, and return its server when a version is available; see `facade.serve`."""
    of_model, of_server = of_model or ModelSettings(), of_server or ServerSettings()
    name = default_name(model) if name is None else name
    paths.check_name(name)
    number(0, unit="seconds").check("timeout", timeout)
    reap_supervisors()
    numbered = _numbered(model)
    given = servable(model) if numbered is None else None
    running = registry.read(name)
    if running is not None:
        return _serve_again(
            given, numbered, running, of_model, of_server, timeout, allow_signature_change
        )
    base = numbered or _base_path(name, of_server.base_path)
    if given is not None:
        # A model that cannot be saved needs no server.
        given.prepare()
    launcher, note = (launcher, "") if launcher is not None else _launcher(of_server.detach)
    # The server starts without the model: while it warms up, the model is saved.
    launcher.launch(of_server.request(name))
    server = ServerClient(name, name)
    try:
        written = [] if given is None else [_first_version(server, given, base)]
        server.control.put_model(name, {"base_path": str(base), **of_model.given})
        server.control.poll(name, written)
        until_served(server.control, name, timeout)
    except BaseException:
        server.stop()
        raise
    if not numbered and isinstance(model, (str, os.PathLike)) and as_written(model).is_symlink():
        note = "; ".join(filter(None, (note, _COPIED)))
    server.outcome = Launched(name, server.url, note)
    return server


def _base_path(name: str, wanted: str | os.PathLike[str] | None) -> Path:
    """The folder for a model's versions: the one that was wanted, or one that goes with the
    server."""
    if wanted is None:
        return paths.server_folder(name) / "models" / name
    check_local(os.fspath(wanted), "The base path")
    return as_written(wanted)


def _launcher(detach: bool) -> tuple[Launcher, str]:
    """A serving kernel in Jupyter, otherwise a process of its own; and a note if the kernel is not
    one that JupyterLab manages."""
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


def connect(name: str | None = None) -> ServerClient:
    """A running server; see `facade.connect`."""
    if name is None:
        running = registry.entries()
        if not running:
            raise not_found("No server is running: start one with wb.serve()", Reason.NO_SERVER)
        name = running[-1].name
    return _server_of(registry.find(name))


def servers() -> list[ServerClient]:
    """All running servers; see `facade.servers`."""
    reap_supervisors()
    return [_server_of(entry) for entry in registry.entries()]


def _server_of(entry: registry.Entry) -> ServerClient:
    server = ServerClient(entry.name, entry.name)
    try:
        models = server.control.describe_server()["models"]
    except ServingError:
        return server
    if models and entry.name not in models:
        server.model = models[0]
    return server


def _serve_again(
    model: Servable | None,
    numbered: Path | None,
    entry: registry.Entry,
    of_model: ModelSettings,
    of_server: ServerSettings,
    timeout: float,
    allow_signature_change: bool,
) -> ServerClient:
    """The server runs already: reuse it, or publish the model if it has changed."""
    server = connect(entry.name)
    base = server.base_path
    if numbered is not None and not is_same_folder(numbered, base):
        raise ServingError(
            Code.ALREADY_EXISTS,
            f"A server named {entry.name!r} is running already, for {base}: stop it first "
            f"(`workbench stop {entry.name}`, or wb.connect({entry.name!r}).stop()), or choose "
            "another name",
        )
    kept = of_server.unlike(entry, base)
    changed = of_model.change(server, "transition", "version_policy", "batching", "probe")
    changed += of_server.change_slots(server)
    # A server process that has just been replaced has loaded nothing yet.
    server.control.wait(server.model, timeout)
    before = server.describe()["versions"]
    published = None
    if model is not None:
        served = _version_of(model, entry.folder, server.model, before, base)
        if served is None:
            published = server.publish(
                model, timeout=timeout, allow_signature_change=allow_signature_change
            )
        else:
            server.wait_for(served, timeout)
    settings = changed + of_model.change(server, "labels") + kept
    if published is None:
        server.outcome = Reused(entry.name, server.url, settings)
        return server
    changes = () if server.outcome is None else server.outcome.changes
    server.outcome = Published(entry.name, server.url, published, changes, settings)
    return server


def _version_of(
    model: Servable, folder: str, name: str, versions: list[VersionDescription], base: Path
) -> int | None:
    """The version that is available or loading, or that is loaded next, if it was made from this
    very model."""
    for v in versions:
        if PublicState[v["state"]] <= PublicState.AVAILABLE:
            made_from = fingerprint.of_version(folder, name, v["version"], Path(v["path"]))
            if made_from == model.digest():
                return v["version"]
            break
    # The server may not have begun yet with a version that was written just now.
    known = max((v["version"] for v in versions), default=0)
    written = saving.version_folders(base)
    last = max(written, default=0)
    if last > known and fingerprint.of_version(folder, name, last, written[last]) == model.digest():
        return last
    return None


def default_name(model: Any) -> str:
    """The name of a model that was given none: that of the folder or file at its path, or of the
    folder above a numbered version."""
    if not isinstance(model, (str, os.PathLike)):
        return _NAME
    path = as_written(model)
    name = path.stem if is_keras_file(path) else path.name
    if parse_version(name) is not None:
        name = path.parent.name
    return paths.clean_name(name) or _NAME


def _numbered(model: Any) -> Path | None:
    """The folder of numbered versions, if the model is the path of one.

    Raises:
        ServingError: INVALID_ARGUMENT, there is nothing at the path that can be served.
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


def _first_version(server: ServerClient, model: Servable, base: Path) -> int:
    """Write a model's first version; a SavedModel in a numbered folder keeps its number."""
    version = None if model.path is None else parse_version(model.path.name)
    if version is None or version in saving.version_folders(base):
        version = check_version(saving.next_version(base))
    path = saving.put_version(model, base, version)
    saving.remember_version(server.control.entry().folder, server.model, model, version, path)
    return version
