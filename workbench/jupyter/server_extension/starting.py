"""Starts servers as Jupyter kernels of this Jupyter Server."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from pathlib import Path
from typing import Any

from jupyter_core.utils import ensure_async

from workbench.client.control_client import ControlClient
from workbench.client.publishing.saving import version_folders
from workbench.core.status import Code, ServingError, failed_precondition, invalid_argument
from workbench.facade import serve
from workbench.jupyter.server_extension.listing import Known, obstacle
from workbench.processes import jupyter_launcher, registry
from workbench.processes.server_options import ServerOptions, StartRequest

_KERNEL_SECONDS = 60.0
_LOAD_SECONDS = 300.0


class KernelManagerLauncher:
    """Starts a serving kernel through this process's own kernel manager; see
    `processes.launcher.Launcher`. Use it from a thread, while the event loop runs.

    Args:
        sessions, kernels: the Jupyter Server's session manager and kernel manager.
    """

    def __init__(self, sessions: Any, kernels: Any, loop: asyncio.AbstractEventLoop) -> None:
        self._sessions = sessions
        self._kernels = kernels
        self._loop = loop
        self._kernel_id: str | None = None

    def launch(self, request: StartRequest) -> registry.Entry:
        """Start a kernel that supervises the server, and wait until it can be reached."""
        name = request.options.name
        # The server ends with its kernel, and the kernel with the Jupyter Server.
        jupyter_launcher.write_request(replace(request, owner=None))
        try:
            kernel_id = self._wait(self._start(name))
            self._kernel_id = kernel_id
            return jupyter_launcher.wait_for_entry(name, kernel_id)
        except BaseException:
            self.undo(name)
            raise

    async def _start(self, name: str) -> str:
        session = await ensure_async(
            self._sessions.create_session(
                path=f"workbench-{name}",
                name=name,
                type="console",
                kernel_name=jupyter_launcher.KERNEL_NAME,
            )
        )
        kernel_id: str = session["kernel"]["id"]
        return kernel_id

    def undo(self, name: str) -> None:
        """End the server that was started; nothing happens if it has ended already."""
        jupyter_launcher.forget(name)
        kernel_id, self._kernel_id = self._kernel_id, None
        if kernel_id is not None and kernel_id in self._kernels:
            self._wait(ensure_async(self._kernels.shutdown_kernel(kernel_id)))

    def _wait(self, work: Any) -> Any:
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(_KERNEL_SECONDS)


def start(launcher: KernelManagerLauncher, name: str, path: Path, transition: Any) -> str:
    """Serve a folder under a new name, and wait until it answers.

    Returns:
        What was done, as a sentence.

    Raises:
        ServingError: ALREADY_EXISTS, a server of that name runs; or why it cannot be served.
    """
    if transition is not None and not isinstance(transition, str):
        raise invalid_argument(f"'transition' must be a string; was {transition!r}")
    if registry.read(name) is not None:
        raise ServingError(
            Code.ALREADY_EXISTS, f"A server named {name!r} is running already: choose another name"
        )
    try:
        return str(serve(path, name, transition=transition, launcher=launcher).outcome)
    except BaseException:
        launcher.undo(name)
        raise


def start_again(launcher: KernelManagerLauncher, known: Known) -> str:
    """Start a killed server with its models, on its old address, and wait until it answers.

    Returns:
        What was done, as a sentence.

    Raises:
        ServingError: FAILED_PRECONDITION, its models are not there any more.
    """
    entry = known.entry
    why_not = obstacle(known.configs)
    if why_not is not None:
        raise failed_precondition(
            f"Server {entry.name!r} cannot be started again. {why_not} Serve the model again."
        )
    options = ServerOptions(
        entry.name,
        host=entry.host,
        port=entry.port,
        token=entry.token,
        allowed_hosts=entry.allowed_hosts,
    )
    try:
        launcher.launch(StartRequest(options))
    except ServingError:
        # Another process may have its port by now.
        launcher.launch(StartRequest(replace(options, port=0)))
    control = ControlClient(entry.name)
    try:
        for config in known.configs:
            control.put_model(config["name"], config)
            control.poll(config["name"], sorted(version_folders(Path(config["base_path"]))))
        for config in known.configs:
            control.wait(config["name"], _LOAD_SECONDS)
    except BaseException:
        launcher.undo(entry.name)
        raise
    return f"Server {entry.name} is back at {registry.find(entry.name).url}."
