"""The server process: everything that serves, in one process without TensorFlow.

Its supervisor starts it with a listening socket and a `ServerSpec` on standard input. It writes
`ready` to a pipe once it can be used, keeps its settings on disk (`desired.json`), and ends with
its supervisor.
"""

from __future__ import annotations

import asyncio
import contextlib
import gc
import logging
import os
import shutil
import signal
import socket
import sys
import threading
import time
import traceback
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NoReturn

import orjson

from workbench.core.events import Event, log_line
from workbench.core.memory.memory_limits import MemoryLimits
from workbench.core.model_settings import read_kept
from workbench.core.status import ServingError
from workbench.formats.config_files import read_batching_parameters
from workbench.ipc.low_priority import started_executor
from workbench.processes import jupyter_launcher, paths, registry
from workbench.processes.lifetime import become_subreaper, wait_for_end
from workbench.processes.server_options import public_options
from workbench.server.control.control_plane import ControlPlane
from workbench.server.engine.engine import CoreOptions, ServerCore
from workbench.server.engine.versions.model import Served
from workbench.server.front.codec.pool import CodecPool
from workbench.server.front.reload import not_available, wait_until_settled
from workbench.server.supervision.data_plane import DataPlane
from workbench.server.supervision.keeping import DESIRED, DesiredState, EventsFile, bound_log, say
from workbench.server.supervision.server_spec import EXIT_REFUSED, ServerSpec

DRAIN_SECONDS = 1.5
"""Below half of the five seconds after which Jupyter kills a kernel that shuts down."""
_HOUSEKEEPING_SECONDS = 5.0
_THREADS = 6
"""Threads for calls that wait for a file or a process."""

logger = logging.getLogger("workbench")


class Server:
    """Creates the parts of a server process and connects them."""

    def __init__(self, spec: ServerSpec) -> None:
        self.spec = spec
        self.options = options = spec.options
        self.folder = Path(spec.folder)
        self._kept = DesiredState(self.folder / DESIRED, self._disk_trouble)
        self.desired = self._kept.read()
        self.core = ServerCore(
            CoreOptions(
                num_batch_threads=self.desired.get("num_batch_threads", options.num_batch_threads),
                poll_seconds=options.poll_seconds,
                read_batching=read_batching_parameters,
                memory=MemoryLimits.from_json(self.desired.get("budget", {})),
                per_version_slots=options.per_version_slots,
            )
        )
        self.core.extra_processes["supervisor"] = spec.supervisor.pid
        self.codec = CodecPool()
        self.data_plane = DataPlane(self.core, self.codec, options, self._write_desired)
        self.control = ControlPlane(self.core, self._describe, self._write_desired, self.end)
        self.ending = asyncio.Event()
        self._address = ""
        self._events_file = EventsFile(self.folder / "events.jsonl", self._disk_trouble)

    async def run(self) -> None:
        """Serve until `end` is called, then drain."""
        self.core.events.listen(self._log)
        self.core.start()
        listening = None
        if self.spec.listen_fd is not None:
            listening = socket.socket(fileno=self.spec.listen_fd)
            host, port = listening.getsockname()[:2]
            self._address = f"{host}:{port}"
        if self.options.foreground and not self.desired.get("opened"):
            self.core.events.add("models_adding")
        for model in self.desired.get("models", []):
            config, refused = read_kept(model)
            for message in refused:
                self.core.events.add("setting_refused", config.name, message=message)
            self.core.manager.set_model(config)
        self.control.start(self.spec.socket)
        if self.options.control_port is not None:
            self.control.start_tcp(
                self.options.host, self.options.control_port, self.options.control_token
            )
        if not self.options.foreground:
            await self.data_plane.open(listening)
        # Objects that exist now live as long as the server: the collector can skip them.
        gc.collect()
        gc.freeze()
        _say(self.spec.ready_fd, {"ready": {"pid": os.getpid()}})
        chores = [
            asyncio.get_running_loop().create_task(chore)
            for chore in (self._watch_idleness(), self._track_codec(), self._keep_house())
        ]
        try:
            if self.options.foreground:
                await self._open_when_loaded(listening)
            await self.ending.wait()
        finally:
            for chore in chores:
                chore.cancel()
            await self._stop()

    async def _open_when_loaded(self, listening: socket.socket | None) -> None:
        """Open the ports when every model is available, as TensorFlow Serving does.

        The others do not wait for a model that has no version yet. A server process that replaces
        another opens at once: its callers are waiting.

        Raises:
            ServingError: UNKNOWN, naming the models that could not be loaded; FAILED_PRECONDITION.
        """
        if not self.desired.get("opened"):
            manager = self.core.manager
            settle = asyncio.ensure_future(wait_until_settled(manager, list(manager.models)))
            asked_to_end = asyncio.ensure_future(self.ending.wait())
            await asyncio.wait({settle, asked_to_end}, return_when=asyncio.FIRST_COMPLETED)
            asked_to_end.cancel()
            if not settle.done():
                settle.cancel()
                return
            strict = self.options.fail_if_zero_versions
            failures = {
                name: why
                for name, why in settle.result().items()
                if strict or manager.models[name].listed()
            }
            if failures:
                raise not_available(failures, "servable(s)")
            self.core.events.add("models_added")
        await self.data_plane.open(listening)
        self.desired["opened"] = True
        self._write_desired()

    def end(self, reason: str) -> None:
        """Begin to end; safe to call more than once."""
        if not self.ending.is_set():
            self.core.events.add("server_stopping", reason=reason)
            self.ending.set()

    async def _stop(self) -> None:
        await self.data_plane.close(DRAIN_SECONDS)
        # Every caller that could wait has its answer by now, or has been cut off.
        await self.core.stop(0.1)
        await self.codec.close()
        await self.control.stop()
        self._events_file.close()

    # Settings on disk.

    def _write_desired(self) -> None:
        models = self.core.manager.models.values()
        self._kept.write(
            {
                "num_batch_threads": self.core.scheduler.slots,
                "budget": self.core.reservations.settings.to_json(),
                "models": [m.config.to_json() for m in models if not m.removed],
                "opened": self.desired.get("opened", False),
            }
        )

    def _disk_trouble(self, message: str) -> None:
        # Later: this may run while an event is handled, whose other listeners come first.
        asyncio.get_running_loop().call_soon(
            lambda: self.core.events.add("disk_trouble", message=message)
        )

    def _describe(self) -> dict[str, Any]:
        return {
            "name": self.options.name,
            "pid": os.getpid(),
            "address": self._address,
            "token_required": self.options.token is not None,
            "options": public_options(self.options),
        }

    # Events and housekeeping.

    def _log(self, event: Event) -> None:
        line = log_line(event)
        if line is not None:
            stamp = time.strftime("%H:%M:%S", time.localtime(event.wall))
            say(f"{stamp}.{int(event.wall % 1 * 1000):03d} {line}")
        self._events_file.add(event)

    async def _watch_idleness(self) -> None:
        """End the server after `idle_seconds` without a request."""
        limit = self.options.idle_seconds
        if limit is None:
            return
        served = self._requests_served()
        since = time.monotonic()
        while True:
            await asyncio.sleep(min(1.0, limit / 4))
            now_served = self._requests_served()
            if now_served != served or self._busy():
                served, since = now_served, time.monotonic()
            elif time.monotonic() - since >= limit:
                self.end(f"no request for {limit:.0f} s")
                return

    def _busy(self) -> bool:
        """Whether requests wait, or a version is being loaded or unloaded."""
        return bool(self.core.scheduler.outstanding) or not all(
            served.harness.state.is_settled for served in self._versions()
        )

    def _requests_served(self) -> int:
        return sum(
            served.queues.answered + served.queues.failed
            for served in self._versions()
            if served.queues is not None
        )

    def _versions(self) -> Iterator[Served]:
        for model in self.core.manager.models.values():
            yield from model.versions.values()

    async def _keep_house(self) -> None:
        while True:
            await asyncio.sleep(_HOUSEKEEPING_SECONDS)
            self._kept.retry()
            if not self.options.foreground:
                await asyncio.to_thread(bound_log, self.folder / "server.log")

    async def _track_codec(self) -> None:
        while True:
            self.core.extra_processes["codec"] = self.codec.pids
            await asyncio.sleep(1.0)


def main() -> NoReturn:
    """Run a server process, with a `ServerSpec` as JSON on standard input."""
    import uvloop

    logging.basicConfig(stream=sys.stderr, level=logging.WARNING)
    spec = ServerSpec.from_bytes(sys.stdin.buffer.read())
    # Ctrl-C goes to every process of the terminal; this one waits for its supervisor.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    # Workers whose zygote has died become our children: we learn how they end, and reap them.
    become_subreaper()
    code = 1
    try:
        uvloop.run(_serve(spec))
        code = 0
    except ServingError as error:
        refusal = f"Failed to start server. Error: {error.code.name}: {error.message}"
        print(refusal, flush=True)
        _say(spec.ready_fd, {"failed": refusal})
        code = EXIT_REFUSED
    except BaseException:
        text = traceback.format_exc()
        sys.stderr.write(text)
        _say(spec.ready_fd, {"failed": text})
    # Threads that wait for processes to end must not delay our own exit.
    sys.stderr.flush()
    os._exit(code)


async def _serve(spec: ServerSpec) -> None:
    server = Server(spec)
    loop = asyncio.get_running_loop()
    loop.add_signal_handler(signal.SIGTERM, server.end, "SIGTERM")
    # asyncio's own default grows with the calls that happen to run at a time.
    loop.set_default_executor(started_executor(_THREADS, "aside"))

    def supervisor_died() -> None:
        wait_for_end(spec.supervisor)
        loop.call_soon_threadsafe(server.end, "its supervisor died")
        # Draining gets its time; then this process ends, and its workers with it.
        time.sleep(DRAIN_SECONDS)
        _clean_up(spec)
        os._exit(0)

    threading.Thread(target=supervisor_died, name="supervisor-watch", daemon=True).start()
    await server.run()
    if not spec.supervisor.alive():
        _clean_up(spec)


def _clean_up(spec: ServerSpec) -> None:
    """Remove our files in place of the supervisor, which has ended."""
    control = Path(spec.socket)
    control.unlink(missing_ok=True)
    if control.parent != Path(spec.folder):
        # The next server process gets a short path of its own.
        shutil.rmtree(control.parent, ignore_errors=True)
    if spec.keeper is not None and spec.keeper.alive() and paths.resume_path(spec.folder).exists():
        return
    jupyter_launcher.forget(spec.options.name)
    entry_path = paths.entry_path(spec.options.name)
    try:
        entry = registry.Entry.from_bytes(entry_path.read_bytes())
    except (OSError, ValueError, TypeError, KeyError):
        shutil.rmtree(spec.folder, ignore_errors=True)
        return
    # A server of the same name may have been started since: its files are not ours.
    if entry.supervisor == spec.supervisor:
        registry.remove(entry)


def _say(fd: int, message: dict[str, Any]) -> None:
    with contextlib.suppress(OSError):
        os.write(fd, orjson.dumps(message) + b"\n")
        os.close(fd)


if __name__ == "__main__":
    main()
