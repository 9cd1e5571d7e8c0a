"""What the fuzzing talks to: a serving core with both of its interfaces, in a process of its own.

`python -m tests.fuzz.target MODELS FOLDER` answers pickled orders on standard input, so that its
memory is its own (the generator of the requests keeps what it has tried) and a crash is its own.
Requests enter where a socket's bytes do: at `Connection.data_received` and at the gRPC methods.
"""

from __future__ import annotations

import asyncio
import logging
import os
import pickle
import struct
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import psutil

from tests.servers import Server
from workbench.core.status import ServingError
from workbench.server.engine.versions.manager import Manager
from workbench.server.front.access import LOOPBACK_HOSTS, AccessPolicy
from workbench.server.front.codec.converter import CodecProcess
from workbench.server.front.grpc.grpc_server import GrpcOptions, GrpcServer
from workbench.server.front.grpc.model_service import ModelService
from workbench.server.front.grpc.prediction_service import PredictionService
from workbench.server.front.http.client_limits import HttpLimits
from workbench.server.front.http.connection import Connection
from workbench.server.front.http.listener import HttpServer
from workbench.server.front.metrics.prometheus import Metrics
from workbench.server.front.reload import Reloader
from workbench.server.front.rest.rest import RestApi

TOKEN = "the-token-of-the-fuzzed-server"
MODELS = ("half_plus_two", "text", "multi", "identity", "counter", "lookup")
ANSWER_SECONDS = 20.0
"""A request that has no answer after so long hangs."""
_LIMITS = HttpLimits(
    max_body_bytes=2**20, max_header_bytes=4096, max_pipelined=8, spool_threshold_bytes=16 * 1024
)


class Wire:
    """A client's transport: it takes everything at once, and sends when it may."""

    def __init__(self) -> None:
        self.sent = bytearray()
        self.reading = True
        self.closing = False
        self.ended = asyncio.Event()

    def write(self, data: bytes) -> None:
        self.sent += data

    def write_eof(self) -> None:
        self.ended.set()

    def close(self) -> None:
        self.closing = True
        self.ended.set()

    abort = close

    def is_closing(self) -> bool:
        return self.closing

    def pause_reading(self) -> None:
        self.reading = False

    def resume_reading(self) -> None:
        self.reading = True

    def get_write_buffer_size(self) -> int:
        return 0


class Target:
    """The server under attack; its coroutines run on the server's loop."""

    def __init__(self, server: Server, folder: Path) -> None:
        self.server = server
        self.folder = folder

    async def start(self) -> None:
        for name in MODELS:
            self.server.put(self.folder / name, 1, name)
            self.server.set_model(name, self.folder / name)
        for name in MODELS:
            await self.server.available(name, 1)
        core = self.server.core
        self.codec = CodecProcess()
        rest = RestApi(core.manager, core.scheduler, self.codec)
        self.http = HttpServer(rest, _LIMITS, AccessPolicy(TOKEN, LOOPBACK_HOSTS))
        self.http.loop = asyncio.get_running_loop()
        # Reloading changes models: it is let loose on a manager of its own.
        self.other = Manager(core.events, core.zygote, core.scheduler, poll_seconds=3600.0)
        metrics = Metrics(core.manager, core.scheduler)
        reloader = Reloader(self.other, lambda: None, {"max_load_retries": 0})
        self.methods = {
            **PredictionService(core.manager, core.scheduler, metrics).methods,
            **ModelService(core.manager, reloader, metrics).methods,
        }
        self.socket = self.folder / "grpc.sock"
        self.grpc = GrpcServer(self.methods, GrpcOptions(socket_path=str(self.socket)), TOKEN)
        await self.grpc.start()

    async def stop(self) -> None:
        await self.grpc.stop(0)
        await self.other.stop(0)
        await self.codec.close()

    async def http_streams(self, streams: Sequence[Sequence[bytes]]) -> list[bytes | None]:
        """What each client was sent; None where one was still waiting when its time was over."""
        return list(await asyncio.gather(*(self._stream(pieces) for pieces in streams)))

    async def _stream(self, pieces: Sequence[bytes]) -> bytes | None:
        wire, connection = Wire(), Connection(self.http)
        connection.connection_made(wire)  # type: ignore[arg-type]
        try:
            return await asyncio.wait_for(self._talk(wire, connection, pieces), ANSWER_SECONDS)
        except asyncio.TimeoutError:
            return None
        finally:
            connection.connection_lost(None)

    async def _talk(self, wire: Wire, connection: Connection, pieces: Sequence[bytes]) -> bytes:
        for piece in pieces:
            while not wire.reading and not wire.ended.is_set():
                await asyncio.sleep(0)
            connection.data_received(piece)
        while connection._replies and not wire.ended.is_set():
            await asyncio.sleep(0)
        # Whatever is unfinished must be refused when the client's time is over, or dropped.
        while not wire.ended.is_set():
            connection.sweep(self.http.loop.time() + 1000.0)
            await asyncio.sleep(0)
        return bytes(wire.sent)

    async def grpc_calls(self, calls: Sequence[tuple[str, bytes]]) -> list[str]:
        """The code of each answer with the reason of a refusal; a failure of ours in words."""
        return list(await asyncio.gather(*(self._call(*call) for call in calls)))

    async def _call(self, method: str, request: bytes) -> str:
        try:
            work = self.methods[method](request, None)
            await asyncio.wait_for(work, ANSWER_SECONDS)
        except ServingError as error:
            return f"{error.code.name}: {error.message}"
        except asyncio.TimeoutError:
            return "hangs"
        except Exception as error:
            return repr(error)
        return "OK"

    async def memory(self) -> dict[str, Any]:
        """Resident bytes of this process and of its workers together, open descriptors, and how
        workers have ended."""
        core = self.server.core
        workers = [p.pid for p in core.processes() if p.role == "worker" and pid_lives(p.pid)]
        return {
            "server": psutil.Process().memory_info().rss,
            "workers": sum(psutil.Process(pid).memory_info().rss for pid in workers),
            "worker count": len(workers),
            "exits": [
                f"{event.model}: {(event.data or {})['reason']}"
                for event in core.events.since(0)
                if event.kind == "worker_exited"
            ],
            "descriptors": psutil.Process().num_fds(),
            "outstanding": core.scheduler.outstanding,
        }


def pid_lives(pid: int) -> bool:
    """Whether a process has not just died."""
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


class Remote:
    """The target as the tests have it: started with `with`, asked with `ask`."""

    def __init__(self, models: Path, folder: Path) -> None:
        self._arguments = [str(models), str(folder)]
        self.socket = folder / "grpc.sock"
        self.log = folder / "log"
        folder.mkdir(exist_ok=True)

    def __enter__(self) -> Remote:
        with self.log.open("wb") as log:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "tests.fuzz.target", *self._arguments],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                env={**os.environ, "CUDA_VISIBLE_DEVICES": ""},
            )
        assert self.ask("memory")["worker count"] == len(MODELS)
        return self

    def __exit__(self, *_: object) -> None:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.close()
        try:
            self._process.wait(30)
        finally:
            self._process.kill()
            self._process.wait()
            self._process.stdout.close()

    def ask(self, what: str, *arguments: Any) -> Any:
        """Have the target do something; fails where it has crashed."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        _write(self._process.stdin, (what, *arguments))
        answer = _read(self._process.stdout)
        assert answer is not None, f"the server has crashed: {self.log.read_text()[-4000:]}"
        return answer


def _write(file: Any, value: Any) -> None:
    data = pickle.dumps(value)
    file.write(struct.pack("<q", len(data)) + data)
    file.flush()


def _read(file: Any) -> Any:
    head = file.read(8)
    return pickle.loads(file.read(struct.unpack("<q", head)[0])) if len(head) == 8 else None


def main(models: str, folder: str) -> None:
    # Refusals are what is wanted here; only what the server could not explain is worth a line.
    logging.basicConfig(stream=sys.stderr, level=logging.ERROR)
    orders, answers = sys.stdin.buffer, os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)
    with Server(Path(models)) as server:
        target = Target(server, Path(folder))
        server.run(target.start())
        try:
            while (order := _read(orders)) is not None:
                what, *arguments = order
                _write(answers, server.run(getattr(target, what)(*arguments)))
        finally:
            server.run(target.stop())


if __name__ == "__main__":
    main(*sys.argv[1:])
