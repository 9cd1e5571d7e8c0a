"""A client that does not retry, and keeps account of every request it has sent.

Request number i asks for x = i, so that an answer shows whose it is. Even numbers go over REST, on
kept connections, odd ones over gRPC.
"""

from __future__ import annotations

import asyncio
import json
import threading
import time
from collections.abc import Sequence
from typing import NamedTuple

import grpc
import grpc.aio
import numpy as np

from workbench.formats.wire.protobuf import field, submessage
from workbench.formats.wire.tensor_proto import decode_tensor, encode_tensors
from workbench.processes.registry import Entry

ANSWER_SECONDS = 45.0
NO_ANSWER = "no answer"
RECONNECT_SECONDS = 0.5
"""The gRPC library waits up to this long, and a fifth more, before it connects again. Until then it
refuses requests by itself."""
_PREDICT = "/tensorflow.serving.PredictionService/Predict"


class Outcome(NamedTuple):
    """What came of a request; times are monotonic seconds.

    `said` is "fine" or what went wrong: an HTTP status, "connection lost", a gRPC code; `why` is
    the server's own word for it.
    """

    interface: str
    sent: float
    done: float
    said: str
    why: str

    @property
    def exposed_since(self) -> float:
        """Its outcome is due to something between then and `done`. That can be before it was sent:
        the gRPC library refuses requests for a while after a connection failed."""
        unsent = self.why.startswith("failed to connect to all addresses")
        return self.sent - (1.2 * RECONNECT_SECONDS if unsent else 0.0)


class Client:
    """Sends `rate` requests a second, at times that do not depend on the answers."""

    def __init__(self, entry: Entry, model: str, offsets: Sequence[float], rate: float) -> None:
        self._entry = entry
        self._model = model
        self._offsets = offsets
        self._rate = rate
        self.outcomes: dict[int, list[Outcome]] = {}
        self.sent = 0
        self._idle: list[tuple[asyncio.StreamReader, asyncio.StreamWriter]] = []
        self._stop = threading.Event()
        self._thread = threading.Thread(target=lambda: asyncio.run(self._run()), name="client")

    def __enter__(self) -> Client:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join(ANSWER_SECONDS + 30)
        assert not self._thread.is_alive()

    async def _run(self) -> None:
        options = [
            ("grpc.initial_reconnect_backoff_ms", 100),
            ("grpc.max_reconnect_backoff_ms", round(1e3 * RECONNECT_SECONDS)),
        ]
        async with grpc.aio.insecure_channel(str(self._entry.grpc_address), options) as channel:
            self._predict = channel.unary_unary(_PREDICT)
            open_requests: set[asyncio.Task[None]] = set()
            start = time.monotonic()
            while not self._stop.is_set():
                due = start + self.sent / self._rate
                await asyncio.sleep(max(0.0, due - time.monotonic()))
                task = asyncio.create_task(self._ask(self.sent))
                self.sent += 1
                open_requests.add(task)
                task.add_done_callback(open_requests.discard)
            if open_requests:
                await asyncio.wait(open_requests)
        for _, writer in self._idle:
            writer.close()

    async def _ask(self, number: int) -> None:
        interface = ("REST", "gRPC")[number % 2]
        sent = time.monotonic()
        try:
            work = self._rest(number) if interface == "REST" else self._grpc(number)
            said = await asyncio.wait_for(work, ANSWER_SECONDS)
        except asyncio.TimeoutError:
            said = NO_ANSWER
        said, _, why = said.partition(": ")
        outcome = Outcome(interface, sent, time.monotonic(), said, why)
        self.outcomes.setdefault(number, []).append(outcome)

    def _judge(self, number: int, answer: float) -> str:
        right = [number / 2 + offset for offset in self._offsets]
        return "fine" if answer in right else f"somebody else's answer: {answer} for {number}"

    async def _rest(self, number: int) -> str:
        body = json.dumps({"instances": [float(number)]}).encode()
        head = (
            f"POST /v1/models/{self._model}:predict HTTP/1.1\r\nHost: localhost\r\n"
            f"Authorization: Bearer {self._entry.token}\r\nContent-Length: {len(body)}\r\n\r\n"
        )
        while True:
            fresh = not self._idle
            if fresh:
                reader, writer = await asyncio.open_connection(self._entry.host, self._entry.port)
            else:
                reader, writer = self._idle.pop()
                if reader.at_eof() or writer.is_closing():
                    # Closed while nothing was asked: no request is lost with it.
                    writer.close()
                    continue
            break
        try:
            writer.write(head.encode() + body)
            status, answer = await _read_response(reader)
        except (OSError, asyncio.IncompleteReadError):
            writer.close()
            return "connection lost"
        except BaseException:
            writer.close()
            raise
        if reader._buffer:  # type: ignore[attr-defined]
            return "answered twice"
        self._idle.append((reader, writer))
        if status != 200:
            return f"{status}: {answer.decode()}"
        return self._judge(number, json.loads(answer)["predictions"][0])

    async def _grpc(self, number: int) -> str:
        request = field(1, field(1, self._model.encode()))
        request += encode_tensors(2, {"x": np.array([number], np.float32)})
        try:
            response = await self._predict(
                request,
                timeout=ANSWER_SECONDS - 5,
                metadata=[("authorization", f"Bearer {self._entry.token}")],
            )
        except grpc.aio.AioRpcError as error:
            return f"{error.code().name}: {error.details()}"
        tensor = decode_tensor(submessage(submessage(response, 1), 2))
        return self._judge(number, float(tensor[0]))


async def _read_response(reader: asyncio.StreamReader) -> tuple[int, bytes]:
    head = (await reader.readuntil(b"\r\n\r\n")).decode()
    length = next(
        int(line.split(":")[1]) for line in head.split("\r\n") if line.startswith("Content-Length")
    )
    return int(head.split(" ", 2)[1]), await reader.readexactly(length)
