"""A closed loop of callers over REST, in a process of its own: `start(...)`, later `finish()`.

Each caller keeps one connection and sends its next request when the last one was answered, or
`pause` seconds later. A request fails if the connection closes before its answer is complete, or if
the status is not 200. Written for speed: one protocol object a connection, and nothing per request
but the bytes.
"""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
import time
from dataclasses import dataclass
from typing import Any

import uvloop

_GIVE_UP_SECONDS = 60.0


class _Caller(asyncio.Protocol):
    def __init__(self, loop: Loop) -> None:
        self._loop = loop
        self._data = b""
        self._sent = 0.0
        self._waiting = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = transport
        self._ask()

    def _ask(self) -> None:
        loop = self._loop
        if loop.ending:
            self._waiting = False
            self.transport.close()
            return
        self._sent = time.perf_counter()
        self._waiting = True
        self.transport.write(loop.request)  # type: ignore[attr-defined]

    def data_received(self, data: bytes) -> None:
        self._data += data
        head, found, body = self._data.partition(b"\r\n\r\n")
        if not found:
            return
        length = int(head.lower().partition(b"content-length:")[2].partition(b"\r\n")[0])
        if len(body) < length:
            return
        self._data = b""
        self._loop.answered(head[9:12], body, time.perf_counter() - self._sent)
        if b"connection: close" in head.lower():
            self._waiting = False
            self.transport.close()
        elif self._loop.pause:
            self._waiting = False
            asyncio.get_running_loop().call_later(self._loop.pause, self._ask_if_open)
        else:
            self._ask()

    def _ask_if_open(self) -> None:
        if not self.transport.is_closing():
            self._ask()

    def connection_lost(self, error: Exception | None) -> None:
        if self._waiting:
            self._loop.lost(f"connection closed: {error}", time.perf_counter() - self._sent)
        self._loop.closed()


class Loop:
    """`connections` callers against one address; a caller whose connection closed opens another."""

    def __init__(
        self, host: str, port: int, request: bytes, connections: int, pause: float
    ) -> None:
        self.request, self.ending, self.pause = request, False, pause
        self._address = host, port
        self._connections = connections
        self.ok, self.slowest, self.failures = 0, 0.0, []
        self.answers: dict[str, int] = {}
        self.latencies: list[float] = []
        self.moments: list[float] = []
        self._open = 0
        self._tasks: set[asyncio.Task[None]] = set()

    def answered(self, status: bytes, body: bytes, seconds: float) -> None:
        self.slowest = max(self.slowest, seconds)
        self.latencies.append(seconds)
        if status == b"200":
            self.ok += 1
            text = body.decode()
            self.answers[text] = self.answers.get(text, 0) + 1
        else:
            self.lost(f"{status.decode()} {body[:200].decode()}", seconds)

    def lost(self, why: str, seconds: float) -> None:
        self.failures.append((time.time(), why, seconds))

    def closed(self) -> None:
        self._open -= 1
        if not self.ending:
            self._connect()

    def _connect(self) -> None:
        task = asyncio.get_running_loop().create_task(self._connect_one())
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _connect_one(self) -> None:
        loop = asyncio.get_running_loop()
        while not self.ending:
            try:
                await loop.create_connection(lambda: _Caller(self), *self._address)
            except OSError as error:
                self.lost(f"cannot connect: {error}", 0.0)
                await asyncio.sleep(0.2)
            else:
                self._open += 1
                return

    async def run(self, stopped: asyncio.Event) -> None:
        for _ in range(self._connections):
            self._connect()
        await stopped.wait()
        self.ending = True
        end = time.monotonic() + _GIVE_UP_SECONDS
        while self._open and time.monotonic() < end:
            await asyncio.sleep(0.01)
        if self._open:
            self.lost(f"{self._open} requests were never answered", _GIVE_UP_SECONDS)


async def _main(arguments: dict[str, Any]) -> None:
    body = arguments["body"].encode()
    head = (
        f"POST {arguments['path']} HTTP/1.1\r\nHost: {arguments['host']}\r\n"
        f"Authorization: Bearer {arguments['token']}\r\nContent-Type: application/json\r\n"
        f"Content-Length: {len(body)}\r\n\r\n"
    )
    loop = Loop(
        arguments["host"],
        arguments["port"],
        head.encode() + body,
        arguments["connections"],
        arguments["pause"],
    )
    stopped = asyncio.Event()
    asyncio.get_running_loop().add_reader(sys.stdin.fileno(), stopped.set)
    began = time.perf_counter()
    await loop.run(stopped)
    seconds = time.perf_counter() - began
    latencies = sorted(loop.latencies) or [0.0]
    print(
        json.dumps(
            {
                "ok": loop.ok,
                "seconds": seconds,
                "slowest": loop.slowest,
                "p50": latencies[len(latencies) // 2],
                "p99": latencies[len(latencies) * 99 // 100],
                "failures": loop.failures[:100],
                "failed": len(loop.failures),
                "answers": loop.answers,
            }
        )
    )


@dataclass
class Outcome:
    """What the callers saw; times in seconds. `answers` counts the bodies of status 200."""

    ok: int
    seconds: float
    slowest: float
    p50: float
    p99: float
    failures: list[tuple[float, str, float]]
    failed: int
    answers: dict[str, int]

    @property
    def rate(self) -> float:
        """Answers a second."""
        return self.ok / self.seconds


class ClosedLoop:
    """A running closed loop; it ends with the test at the latest."""

    def __init__(
        self,
        url: str,
        token: str,
        path: str,
        body: str,
        connections: int = 32,
        pause: float = 0.0,
    ) -> None:
        host, _, port = url.removeprefix("http://").partition(":")
        arguments = {
            "host": host, "port": int(port), "token": token, "path": path, "body": body,
            "connections": connections, "pause": pause,
        }  # fmt: skip
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.deploy.ray.closed_loop", json.dumps(arguments)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )

    def finish(self) -> Outcome:
        """Let the callers finish their requests, and return what they saw."""
        assert self._process.stdin is not None
        self._process.stdin.close()
        assert self._process.stdout is not None
        text = self._process.stdout.read()
        self._process.wait(10)
        return Outcome(**json.loads(text))

    def __enter__(self) -> ClosedLoop:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self._process.kill()
        self._process.wait(10)
        for pipe in (self._process.stdin, self._process.stdout):
            if pipe is not None:
                pipe.close()


if __name__ == "__main__":
    uvloop.run(_main(json.loads(sys.argv[1])))
