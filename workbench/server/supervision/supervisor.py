"""The supervisor: starts a server process, restarts it when it dies, ends it with its owner.

It is small and holds no traffic, so that it survives what the server process may not. It
keeps the data plane's listening socket: while a server process is replaced, callers wait in
its backlog, on the same port, instead of being refused.
"""

from __future__ import annotations

import contextlib
import os
import secrets
import select
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, NoReturn

import orjson

from workbench.core.status import Code, ServingError, unavailable
from workbench.processes import paths, registry
from workbench.processes.lifetime import (
    ProcessId,
    become_subreaper,
    describe_exit,
    wait_for_end,
    wait_gone,
)
from workbench.server.supervision.keeping import EntryFiles, open_private, say
from workbench.server.supervision.ports import listening_socket, port_of, reserved_socket

START_SECONDS = 30.0
STOP_SECONDS = 4.0
# Pauses before the attempts to restart a server process that dies again and again; the last one
# for as long as it takes.
_RESTART_PAUSES = (0.0, 0.5, 1.0, 2.0, 4.0, 8.0)
_STABLE_SECONDS = 30.0
# Between attempts to write what the disk has not taken.
_UNWRITTEN_SECONDS = 2.0
# In the foreground, somebody who starts the whole command again is told sooner.
_FOREGROUND_FAILURES = 5
EXIT_REFUSED = 255
"""How a server process ends whose models cannot be loaded (TensorFlow Serving's exit code)."""
_BACKLOG = 1024
_OUR_PROGRAMS = ("workbench.server.worker", "workbench.server.front.codec.codec_process")


@dataclass(frozen=True)
class SupervisorSpec:
    """What a supervisor is asked to do.

    Attributes:
        name: of the server.
        host, port: where the data plane listens; port 0 lets the system choose.
        token: bearer token; "" makes a random one, None asks callers for none.
        owner: the process to die with; None: until it is stopped (or idle for long).
        kernel_id: the Jupyter kernel that this supervisor lives in, if it does.
        keeper: the Jupyter Server that starts that kernel again when it dies. The models, the port
            and the token are kept for it then.
        models: model settings (`ModelConfig.to_json`) to begin with.
        grpc_port: where gRPC listens, on the same host; 0 lets the system choose, None: nowhere.
        rest: whether there is REST.
        foreground: what a terminal started: the server's log goes there, ports open when all
            models have been loaded, and a model that cannot be loaded then is the end.
        data_plane: further settings of the server process (`DataPlane`), as plain data.
        budget: limits for the memory of all versions (`MemorySettings`), as plain data.
    """

    name: str
    host: str = "127.0.0.1"
    port: int = 0
    token: str | None = field(default="", repr=False)
    owner: ProcessId | None = None
    kernel_id: str | None = None
    keeper: ProcessId | None = None
    idle_seconds: float | None = None
    num_batch_threads: int | None = None
    per_version_slots: bool = False
    poll_seconds: float = 1.0
    models: tuple[dict[str, Any], ...] = ()
    grpc_port: int | None = 0
    rest: bool = True
    foreground: bool = False
    data_plane: dict[str, Any] = field(default_factory=dict)
    budget: dict[str, Any] = field(default_factory=dict)

    @classmethod
    def from_json(cls, data: dict[str, Any]) -> SupervisorSpec:
        for name in ("owner", "keeper"):
            if data.get(name) is not None:
                data[name] = ProcessId(*data[name])
        models = tuple(data.pop("models", ()))
        return cls(models=models, **data)


class Supervisor:
    """Keeps one server process running. Thread-based: it lives beside any kind of main loop."""

    def __init__(self, spec: SupervisorSpec) -> None:
        self.spec = spec
        self.entry: registry.Entry | None = None
        self.gave_up = ""
        """Why there is no server any more, where it was given up."""
        self.ended = threading.Event()
        """Set when the server has ended for good: stopped, idle, or given up."""
        self._folder = paths.server_folder(paths.check_name(spec.name))
        self._resume_file = paths.resume_path(self._folder)
        self.exit_code: int | None = None
        """Of a server process that ended for good by itself."""
        self._listening: socket.socket | None = None
        self._grpc_port: socket.socket | None = None
        self._process: subprocess.Popen[bytes] | None = None
        self._stopping = threading.Event()
        self._lock = threading.Lock()
        self._files = EntryFiles(say)

    def start(self) -> registry.Entry:
        """Start the server process and enter it in the registry.

        Raises:
            ServingError: ALREADY_EXISTS, FAILED_PRECONDITION (the port is in use), or UNAVAILABLE
                with the process's own error text.
        """
        become_subreaper()
        running = registry.read(self.spec.name)
        if running is not None:
            raise ServingError(
                Code.ALREADY_EXISTS, f"A server named {self.spec.name!r} is running already"
            )
        resumed = self._resumed()
        if self.spec.rest:
            self._listening = listening_socket(
                self.spec.host,
                self.spec.port,
                resumed.get("port", 0),
                None if self.spec.foreground else _BACKLOG,
            )
        try:
            if self.spec.grpc_port is not None:
                self._grpc_port = reserved_socket(
                    self.spec.host, self.spec.grpc_port, resumed.get("grpc_port", 0)
                )
        except BaseException:
            self._close_ports()
            raise
        try:
            self.entry = self._begin(resumed)
        except BaseException as error:
            self._end_process()
            if resumed:
                # The models that were published from memory are there for the next attempt.
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
        """The server's folder, its process and its entry.

        Raises:
            ServingError: the process did not start.
            OSError: some file could not be written.
        """
        if not resumed:
            shutil.rmtree(self._folder, ignore_errors=True)
        paths.make_private(self._folder)
        if not resumed:
            self._write_desired()
        self._token = resumed.get("token", self.spec.token)
        if self._token == "":
            self._token = secrets.token_urlsafe(24)
        self._socket = paths.socket_path(self._folder)
        entry = registry.Entry(
            name=self.spec.name,
            supervisor=ProcessId.me(),
            server=self._spawn(),
            host=self.spec.host,
            port=port_of(self._listening) or 0,
            token=self._token,
            socket=str(self._socket),
            folder=str(self._folder),
            owner=self.spec.owner,
            kernel_id=self.spec.kernel_id,
            keeper=self.spec.keeper,
            created=time.time(),
            grpc_port=port_of(self._grpc_port),
            idle_seconds=self.spec.idle_seconds,
            allowed_hosts=tuple(self.spec.data_plane.get("allowed_hosts", ())),
        )
        self._files.write(entry)
        return entry

    def stop(self, keep: bool = False) -> None:
        """End the server process, drained as far as time allows, and remove all its files.

        With `keep` the files stay, for a supervisor that goes on where this one ends.
        """
        with self._lock:
            self._stopping.set()
            process = self._process
        if not keep:
            # Should we be killed before the end, the server process must not wait for a successor.
            self._resume_file.unlink(missing_ok=True)
        if process is not None and process.poll() is None:
            process.terminate()
            try:
                process.wait(STOP_SECONDS)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait(STOP_SECONDS)
        self._end_orphans()
        if keep:
            self._close_ports()
        else:
            self._clean_up()
        self.ended.set()

    def _end_process(self) -> None:
        """End a server process of which nobody will know."""
        process = self._process
        if process is not None:
            process.kill()
            process.wait()

    # Starting.

    def _close_ports(self) -> None:
        for sock in (self._listening, self._grpc_port):
            if sock is not None:
                sock.close()

    def _resumed(self) -> dict[str, Any]:
        """Port and token of a server of this very kernel that died and is to be continued.

        The server process of the kernel that was killed drains for a while; its ports and its
        socket file are ours only when it is gone.
        """
        if self.spec.keeper is None:
            return {}
        try:
            data: dict[str, Any] = orjson.loads(self._resume_file.read_bytes())
        except (OSError, ValueError):
            return {}
        if data.get("kernel_id") != self.spec.kernel_id:
            return {}
        before = ProcessId(*data["server"])
        if not wait_gone(before, STOP_SECONDS):
            before.kill()
            wait_gone(before, STOP_SECONDS)
        return data

    def _write_desired(self) -> None:
        wanted: dict[str, Any] = {"models": list(self.spec.models)}
        if self.spec.num_batch_threads is not None:
            wanted["num_batch_threads"] = self.spec.num_batch_threads
        paths.write_private(self._folder / "desired.json", orjson.dumps(wanted))

    def _spawn(self) -> ProcessId:
        """One server process, ready to be used."""
        ready_read, ready_write = os.pipe()
        listen_fd = None if self._listening is None else self._listening.fileno()
        fds = [ready_write] if listen_fd is None else [listen_fd, ready_write]
        spec = {
            "name": self.spec.name,
            "folder": str(self._folder),
            "socket": str(self._socket),
            "listen_fd": listen_fd,
            "ready_fd": ready_write,
            "supervisor": list(ProcessId.me()),
            "token": self._token,
            "loopback": self.spec.host in ("127.0.0.1", "::1", "localhost"),
            "keeper": None if self.spec.keeper is None else list(self.spec.keeper),
            "idle_seconds": self.spec.idle_seconds,
            "num_batch_threads": self.spec.num_batch_threads,
            "per_version_slots": self.spec.per_version_slots,
            "poll_seconds": self.spec.poll_seconds,
            "host": self.spec.host,
            "grpc_port": port_of(self._grpc_port),
            "foreground": self.spec.foreground,
            "data_plane": self.spec.data_plane,
            "budget": self.spec.budget,
        }
        try:
            process = self._popen(fds)
        except BaseException:
            os.close(ready_read)
            raise
        finally:
            os.close(ready_write)
        assert process.stdin is not None
        with contextlib.suppress(BrokenPipeError):
            process.stdin.write(orjson.dumps(spec))
            process.stdin.close()
        try:
            answer = _read_line(ready_read, START_SECONDS)
        finally:
            os.close(ready_read)
        identity = ProcessId.of(process.pid)
        if "ready" not in answer or identity is None:
            process.kill()
            process.wait()
            reason = answer.get("failed") or self._log_tail() or describe_exit(None)
            raise unavailable(f"The server process did not start: {reason}")
        return identity

    def _popen(self, fds: list[int]) -> subprocess.Popen[bytes]:
        with open(open_private(self._folder / "server.log"), "ab") as log, self._lock:
            if self._stopping.is_set():
                raise unavailable("The server is being stopped")
            self._process = subprocess.Popen(
                [sys.executable, "-m", "workbench.server.supervision.server_process"],
                stdin=subprocess.PIPE,
                stdout=None if self.spec.foreground else log,
                stderr=None if self.spec.foreground else log,
                pass_fds=fds,
                # Its own session: a terminal's signals are for the owner.
                start_new_session=True,
            )
            return self._process

    def _log_tail(self) -> str:
        try:
            return (self._folder / "server.log").read_text(errors="replace")[-4000:]
        except OSError:
            return ""

    # Watching.

    def _watch(self) -> None:
        failures = 0
        while True:
            process = self._process
            assert process is not None
            started = time.monotonic()
            code = self._wait(process)
            if self._stopping.is_set():
                return
            self._end_orphans()
            if code in (0, EXIT_REFUSED):
                # It was asked to end over the control plane, or was idle for long enough; or
                # what it should serve cannot be served, and would not be the next time.
                self.exit_code = code
                self._clean_up()
                self.ended.set()
                return
            failures = 0 if time.monotonic() - started > _STABLE_SECONDS else failures + 1
            failures = self._restart(failures, self._last_words(code))
            if self._stopping.is_set():
                return

    def _restart(self, failures: int, reason: str) -> int:
        """Start a server process, again and again until one is ready, with growing pauses: what is
        wrong may go by (a full disk, too little memory), and until then nothing is lost.

        Returns:
            How often in a row it has failed.
        """
        while True:
            pause = _RESTART_PAUSES[min(failures, len(_RESTART_PAUSES) - 1)]
            if self.spec.foreground and failures >= _FOREGROUND_FAILURES:
                self._give_up(reason)
                return failures
            if failures > 1:
                self._tell(f"it has failed {failures} times in a row, at last: {reason}")
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

    def _tell(self, trouble: str) -> None:
        """Say in the registry why the server is not there."""
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
        """Wait for the end of a server process, and look after its files meanwhile."""
        while self._files.unwritten:
            try:
                return process.wait(_UNWRITTEN_SECONDS)
            except subprocess.TimeoutExpired:
                assert self.entry is not None
                self._enter(self.entry)
        return process.wait()

    def _give_up(self, reason: str) -> None:
        self.gave_up = reason
        self._stopping.set()
        self._clean_up()
        self.ended.set()

    def _last_words(self, code: int) -> str:
        """How a server process ended, and the last line of its log where it could say why."""
        status = -code if code < 0 else code << 8
        said = self._log_tail().strip().splitlines() if code > 0 else []
        return ": ".join([describe_exit(status), *said[-1:]])

    def _end_orphans(self) -> None:
        """End what a killed server process left behind: workers end by themselves within
        moments, and one that cannot (hung in native code) is killed. All are reaped."""
        import psutil

        deadline = time.monotonic() + 1.0
        while True:
            mine = []
            for child in psutil.Process().children():
                try:
                    line = " ".join(child.cmdline())
                except psutil.ZombieProcess:
                    line = ""
                except psutil.Error:
                    continue
                # One that is just ending has no command line any more.
                ours = any(program in line for program in _OUR_PROGRAMS)
                if ours or (not line and self._is_adopted(child.pid)):
                    mine.append(child)
            if not mine:
                return
            for child in mine:
                with contextlib.suppress(psutil.Error):
                    if time.monotonic() > deadline:
                        child.kill()
                    child.wait(0.05)
            if time.monotonic() > deadline + 1.0:
                return

    def _is_adopted(self, pid: int) -> bool:
        # A zombie has no command line any more; its session is the server process's still.
        try:
            return os.getsid(pid) != os.getsid(0)
        except OSError:
            return False

    def _clean_up(self) -> None:
        self._close_ports()
        if self.entry is not None:
            registry.remove(self.entry)
        else:
            shutil.rmtree(self._folder, ignore_errors=True)


def _read_line(fd: int, timeout: float) -> dict[str, Any]:
    """One line of JSON from a pipe; {} where it was closed or nothing came in time."""
    data = b""
    end = time.monotonic() + timeout
    while not data.endswith(b"\n"):
        readable, _, _ = select.select([fd], [], [], max(0.0, end - time.monotonic()))
        if not readable:
            return {"failed": f"it was not ready within {timeout:.0f} s"}
        piece = os.read(fd, 65536)
        if not piece:
            return {}
        data += piece
    answer: dict[str, Any] = orjson.loads(data)
    return answer


def main() -> NoReturn:
    """The process itself, with a SupervisorSpec as JSON on standard input.

    Prints one line of JSON: ``{"ready": true}`` or ``{"failed": message, "code": name}``.
    """
    spec = SupervisorSpec.from_json(orjson.loads(sys.stdin.buffer.read()))
    supervisor = Supervisor(spec)
    wake = threading.Event()
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, lambda *_: wake.set())
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    if spec.owner is not None:
        owner = spec.owner

        def owner_died() -> None:
            wait_for_end(owner)
            wake.set()

        threading.Thread(target=owner_died, name="owner-watch", daemon=True).start()
    try:
        entry = supervisor.start()
    except ServingError as error:
        print(orjson.dumps({"failed": error.message, "code": error.code.name}).decode(), flush=True)
        os._exit(1)
    print(orjson.dumps({"ready": True}).decode(), flush=True)
    # The owner may be gone and its pipes with it, and whoever reads them must not wait for us.
    log = os.open(Path(entry.folder) / "server.log", os.O_WRONLY | os.O_APPEND)
    os.dup2(log, 1)
    os.dup2(log, 2)
    os.close(log)

    def end_together() -> None:
        supervisor.ended.wait()
        wake.set()

    threading.Thread(target=end_together, name="end-watch", daemon=True).start()
    wake.wait()
    if not supervisor.ended.is_set():
        supervisor.stop()
    os._exit(0)


if __name__ == "__main__":
    main()
