"""The serving kernel: a Jupyter kernel that supervises a server process.

JupyterLab lists it, restarts it, shuts it down and attaches consoles to it, like any kernel. It
holds no traffic: the server process answers whatever runs in the console. In a console `server` is
the server and `wb` is the workbench.

The server's name comes from the session's name (`JPY_SESSION_NAME`, which Jupyter keeps over
restarts) or from `WORKBENCH_SERVER`. Its options come from the file that
`processes.jupyter_launcher` has written for that name.
"""

from __future__ import annotations

import asyncio
import os
import signal
import threading
from dataclasses import replace
from pathlib import Path
from typing import Any

from ipykernel.ipkernel import IPythonKernel
from ipykernel.kernelapp import IPKernelApp

import workbench
from workbench.core.status import ServingError
from workbench.processes import jupyter_launcher
from workbench.processes.jupyter_launcher import JupyterLauncher
from workbench.processes.lifetime import ProcessId, die_with
from workbench.processes.server_options import StartRequest
from workbench.server.supervision.supervisor import Supervisor

_READY_SECONDS = 30.0


class ServingKernel(IPythonKernel):  # type: ignore[misc]
    """An IPython kernel that supervises a server process."""

    shell: Any
    implementation = "workbench"
    implementation_version = workbench.__version__
    banner = "Serving Workbench: `server` is this kernel's server, `wb` the workbench."

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self._name = _server_name()
        self._supervisor = Supervisor(self._request())
        self._started = threading.Event()
        self._shutting_down = False
        self._terminate = signal.signal(signal.SIGTERM, self._on_sigterm)
        # Jupyter wants an answer from a new kernel sooner than a server process can start.
        threading.Thread(target=self._start, name="start-server", daemon=True).start()

    def _request(self) -> StartRequest:
        request = jupyter_launcher.read_request(self._name)
        # A server with an owner ends with it. The Jupyter Server keeps any other running.
        keeper = None if request.owner else os.environ.get("JPY_PARENT_PID")
        return replace(
            request,
            kernel_id=_kernel_id(),
            keeper=None if keeper is None else ProcessId.of(int(keeper)),
        )

    def _start(self) -> None:
        try:
            self._supervisor.start()
            self.shell.user_ns.update(wb=workbench, server=workbench.Server(self._name, self._name))
            threading.Thread(target=self._end_together, name="end-watch", daemon=True).start()
        except ServingError as error:
            jupyter_launcher.report_failure(self._name, error)
            self.shell.user_ns.update(wb=workbench)
            self.log.error("The server did not start: %s", error)
        finally:
            self._started.set()

    def _end_together(self) -> None:
        """End the kernel when its server has ended by itself: over its control plane, or idle.
        Jupyter has to end it, because it starts a kernel again that just exits."""
        self._supervisor.ended.wait()
        request = self._supervisor.request
        if self._shutting_down or request.kernel_id is None:
            return
        if request.keeper is None:
            jupyter_launcher.forget(self._name)
            # The process that started it would remove this, but may have been killed.
            IPKernelApp.instance().cleanup_connection_file()
            os._exit(0)
        try:
            JupyterLauncher.of_server(request.keeper.pid).shut_down(request.kernel_id)
        except ServingError as error:
            self.log.warning(
                "The server has ended, but its kernel could not be shut down: %s", error
            )

    def _on_sigterm(self, number: int, frame: Any) -> None:
        """Ignore SIGTERM during a shutdown: Jupyter sends it after half of the time that a kernel
        has to shut down, and requests may still be answered in the other half."""
        if not self._shutting_down:
            signal.signal(number, self._terminate or signal.SIG_DFL)
            os.kill(os.getpid(), number)

    async def do_execute(self, *args: Any, **kwargs: Any) -> Any:
        """Run a cell once the server has started, or has failed to."""
        if not self._started.is_set():
            await asyncio.to_thread(self._started.wait, _READY_SECONDS)
        return await super().do_execute(*args, **kwargs)

    async def do_shutdown(self, restart: bool) -> Any:
        """End the server process; before a restart, keep the files that the next one needs."""
        self._shutting_down = True
        await asyncio.to_thread(self._supervisor.stop, restart)
        if not restart:
            jupyter_launcher.forget(self._name)
        answer = super().do_shutdown(restart)
        return await answer if asyncio.iscoroutine(answer) else answer


class ServingKernelApp(IPKernelApp):  # type: ignore[misc]
    """Ends with its parent, as any kernel does, and removes its connection file."""

    def init_poller(self) -> None:
        """End with the parent at once, where ipykernel would look every second."""
        parent = ProcessId.of(os.getppid())
        if parent is None or parent.pid != self.parent_handle:
            super().init_poller()  # started in some other way, or orphaned already
        else:
            die_with(parent, self.cleanup_connection_file)


def _server_name() -> str:
    named = os.environ.get("WORKBENCH_SERVER")
    if named is None:
        # A session's "name" arrives joined to the folder that the kernel was started in.
        named = Path(os.environ.get("JPY_SESSION_NAME", "")).name
    try:
        if jupyter_launcher.request_path(named).exists():
            return named
    except ServingError:
        pass  # The name of a notebook, for example, which no server can have.
    # Started by hand, from JupyterLab's launcher: a server without models, whose name stays the
    # same after a restart.
    return f"server-{_kernel_id()[:8]}"


def _kernel_id() -> str:
    """The kernel's id, which is part of the connection file's name."""
    app = IPKernelApp.instance()
    return Path(app.connection_file).stem.removeprefix("kernel-")


if __name__ == "__main__":
    ServingKernelApp.launch_instance(kernel_class=ServingKernel)
