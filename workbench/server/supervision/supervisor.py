"""The supervisor: starts a server process, restarts it when it dies, ends it with its owner.

It is small and holds no traffic, so it survives what the server process may not survive. It keeps
the listening socket of REST: while a server process is replaced, callers wait in its backlog, on
the same port, instead of being refused.
"""

from __future__ import annotations

import secrets
import shutil
import socket
import subprocess
import threading
import time
from dataclasses import replace
from typing import Any

from workbench.core.status import Code, ServingError, unavailable
from workbench.processes import paths, registry
from workbench.processes.lifetime import ProcessId, become_subreaper, wait_gone
from workbench.processes.server_options import StartRequest
from workbench.server.supervision.keeping import EntryFiles, read_resume, say, write_desired
from workbench.server.supervision.ports import listening_socket, port_of, reserved_socket
from workbench.server.supervision.server_child import ServerChild
from workbench.server.supervision.server_spec import EXIT_REFUSED, ServerSpec

STOP_SECONDS = 4.0
# Pauses before the attempts to restart a server process that keeps dying. The last one is repeated
# without limit.
_RESTART_PAUSES = (0.0, 0.5, 1.0, 2.0, 4.0, 8.0)
_STABLE_SECONDS = 30.0
# Between attempts to write files that could not be written.
_UNWRITTEN_SECONDS = 2.0
# In the foreground, the person who started the command learns of it sooner.
_FOREGROUND_FAILURES = 5
_BACKLOG = 1024


class Supervisor:
    """Keeps one server process running. Thread-based: it lives beside any kind of main loop."""

    def __init__(self, request: StartRequest) -> None:
        self.request = request
        self.options = request.options
        self.entry: registry.Entry | None = None
        self.gave_up = ""
        """Why no server process is started any more; empty while one is."""
        self.ended = threading.Event()
        """Set when the server has ended for good: stopped, idle, or given up."""
        self.exit_code: int | None = None
        """The exit code of a server process that ended for good by itself."""
        self._folder = paths.server_folder(self.options.name)
        self._resume_file = paths.resume_path(self._folder)
        self._listening: socket.socket | None = None
        self._grpc_port: socket.socket | None = None
        self._control_port: socket.socket | None = None
        self._child: ServerChild | None = None
        self._stopping = threading.Event()
        self._lock = threading.Lock()
        self._files = EntryFiles(self.options.name, say)

    def start(self) -> registry.Entry:
        """Start the server process and enter it in the registry.

        Raises:
            ServingError: ALREADY_EXISTS, FAILED_PRECONDITION (the port is in use), or UNAVAILABLE
                with the process's own error text.
        """
        become_subreaper()
        options = self.options
        if registry.read(options.name) is not None:
            raise ServingError(
                Code.ALREADY_EXISTS, f"A server named {options.name!r} is running already"
            )
        resumed = self._resumed()
        if options.rest:
            self._listening = listening_socket(
                options.host,
                options.port,
                resumed.get("port") or 0,
                None if options.foreground else _BACKLOG,
            )
        try:
            if options.grpc_port is not None:
                self._grpc_port = reserved_socket(
                    options.host, options.grpc_port, resumed.get("grpc_port") or 0
                )
            if options.control_port is not None:
                self._control_port = reserved_socket(options.host, options.control_port, 0)
        except BaseException:
            self._close_ports()
            raise
        try:
            self.entry = self._begin(resumed)
        except BaseException as error:
            if self._child is not None:
                self._child.kill()
            if resumed:
                # Models that were published from memory stay there for the next attempt.
                self._close_ports()
            else:
                self._clean_up()
            if isinstance(error, OSError):
                raise unavailable(
                    f"The server's files could not be written below {self._folder.parent}: "
                    f"{error.strerror or error}"
                ) from error
            raise
        threading.Thread(target=self._watch, name="server-watch", daemon=True).start()
        return self.entry

    def _begin(self, resumed: dict[str, Any]) -> registry.Entry:
        """Make the server's folder, start its process, and write its entry.

        Raises:
            ServingError: the process did not start.
            OSError: a file could not be written.
        """
        if not resumed:
            shutil.rmtree(self._folder, ignore_errors=True)
        paths.make_private(self._folder)
        if not resumed:
            write_desired(self._folder, self.options)
        token = resumed.get("token", self.options.token)
        self.options = replace(
            self.options,
            token=secrets.token_urlsafe(24) if token == "" else token,
            grpc_port=port_of(self._grpc_port),
            control_port=port_of(self._control_port),
        )
        self._socket = paths.socket_path(self._folder)
        entry = registry.Entry(
            name=self.options.name,
            supervisor=ProcessId.me(),
            server=self._spawn(),
            host=self.options.host,
            port=port_of(self._listening) or 0,
            token=self.options.token,
            socket=str(self._socket),
            folder=str(self._folder),
            owner=self.request.owner,
            kernel_id=self.request.kernel_id,
            keeper=self.request.keeper,
            created=time.time(),
            grpc_port=self.options.grpc_port,
            control_port=self.options.control_port,
            idle_seconds=self.options.idle_seconds,
            allowed_hosts=self.options.allowed_hosts,
        )
        self._files.write(entry)
        return entry

    def stop(self, keep: bool = False) -> None:
        """End the server process, drained as far as time allows, and remove all its files.

        With `keep` the files stay, for a supervisor that continues the server.
        """
        with self._lock:
            self._stopping.set()
            child = self._child
        if not keep:
            # If we are killed before the end, the server process must not wait for a successor.
            self._resume_file.unlink(missing_ok=True)
        if child is not None:
            child.stop(STOP_SECONDS)
        if keep:
            self._close_ports()
            self.ended.set()
        else:
            self._clean_up()

    def stop_when(self, asked: threading.Event) -> bool:
        """Wait until the server has ended by itself, or stop it when `asked` is set.

        Returns:
            Whether it was stopped.
        """

        def end_together() -> None:
            self.ended.wait()
            asked.set()

        threading.Thread(target=end_together, name="end-watch", daemon=True).start()
        asked.wait()
        if self.ended.is_set():
            return False
        self.stop()
        return True

    # Starting.

    def _close_ports(self) -> None:
        for sock in filter(None, (self._listening, self._grpc_port, self._control_port)):
            sock.close()

    def _resumed(self) -> dict[str, Any]:
        """Ports and token of a server of this very kernel that died and is to be continued; {} if
        there is none.

        The server process of the kernel that was killed drains for a while. Its ports and its
        socket file are free only when it is gone.
        """
        if self.request.keeper is None:
            return {}
        data = read_resume(self._folder)
        if not data or data["kernel_id"] != self.request.kernel_id:
            return {}
        before = ProcessId(*data["server"])
        if not wait_gone(before, STOP_SECONDS):
            before.kill()
            wait_gone(before, STOP_SECONDS)
        return data

    def _spawn(self) -> ProcessId:
        """Start one server process, and wait until it is ready.

        Raises:
            ServingError: it did not start, or the server is being stopped.
            OSError: no process could be started, or its log could not be written.
        """
        spec = ServerSpec(
            # The models are on disk.
            replace(self.options, models=()),
            str(self._folder),
            str(self._socket),
            ProcessId.me(),
            self.request.keeper,
            None if self._listening is None else self._listening.fileno(),
        )
        with self._lock:
            if self._stopping.is_set():
                raise unavailable("The server is being stopped")
            self._child = child = ServerChild(spec)
        return child.wait_until_ready()

    # Watching.

    def _watch(self) -> None:
        failures = 0
        while True:
            child = self._child
            assert child is not None
            started = time.monotonic()
            code = self._wait(child.process)
            if self._stopping.is_set():
                return
            child.end_orphans()
            if code in (0, EXIT_REFUSED):
                # It was asked to end over the control plane, or was idle for long enough; or its
                # models cannot be loaded, and could not be the next time.
                self.exit_code = code
                self._clean_up()
                return
            failures = 0 if time.monotonic() - started > _STABLE_SECONDS else failures + 1
            failures = self._restart(failures, child.last_words(code))
            if self._stopping.is_set():
                return

    def _restart(self, failures: int, reason: str) -> int:
        """Start server processes, with growing pauses, until one is ready. The cause of a failure
        may pass (a full disk, too little memory), and until then nothing is lost.

        Returns:
            How many starts in a row have failed.
        """
        while True:
            pause = _RESTART_PAUSES[min(failures, len(_RESTART_PAUSES) - 1)]
            if self.options.foreground and failures >= _FOREGROUND_FAILURES:
                self.gave_up = reason
                self._stopping.set()
                self._clean_up()
                return failures
            if failures > 1:
                self._report(f"it has failed {failures} times in a row, most recently: {reason}")
            if self._stopping.wait(pause):
                return failures
            try:
                server = self._spawn()
            except (ServingError, OSError) as error:
                failures += 1
                reason = error.message if isinstance(error, ServingError) else str(error)
                continue
            assert self.entry is not None
            self._enter(replace(self.entry, server=server, trouble=None))
            return failures

    def _report(self, trouble: str) -> None:
        """Write to the registry why there is no server process."""
        assert self.entry is not None
        seconds = _RESTART_PAUSES[-1]
        trouble += f". It is started again every {seconds:.0f} s, and nothing is lost meanwhile"
        self._enter(replace(self.entry, trouble=trouble))

    def _enter(self, entry: registry.Entry) -> None:
        with self._lock:
            if not self._stopping.is_set():
                self.entry = entry
                self._files.keep(entry)

    def _wait(self, process: subprocess.Popen[bytes]) -> int:
        """Wait for a server process to end, and retry to write the files that are not written."""
        while self._files.unwritten:
            try:
                return process.wait(_UNWRITTEN_SECONDS)
            except subprocess.TimeoutExpired:
                assert self.entry is not None
                self._enter(self.entry)
        return process.wait()

    def _clean_up(self) -> None:
        self._close_ports()
        if self.entry is not None:
            registry.remove(self.entry)
        else:
            shutil.rmtree(self._folder, ignore_errors=True)
        self.ended.set()
