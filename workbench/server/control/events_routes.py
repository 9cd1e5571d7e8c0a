"""The control plane's routes for the event log.

GET /events?since=N               the events after number N
GET /events/stream?since=N        the same, as a WebSocket
"""

from __future__ import annotations

import asyncio
import contextlib
from typing import Any

import orjson
import tornado.web
import tornado.websocket

from workbench.core.events import log_line
from workbench.processes.tokens import Token
from workbench.server.control.handling import Handler, Plane, may_call

_STREAM_SECONDS = 0.1
_STREAM_BACKLOG = 10_000
_SEQ_DIGITS = 18


class _Events(Handler):
    async def get(self) -> None:
        since = int(self.number("since", 0))
        events = self.core.events
        first, last, found = events.first_seq, events.last_seq, list(events.since(since))
        # There may be 20 000 of them: writing these would hold up the event loop.
        await self.answer_from_thread(
            lambda: {
                "first_seq": first,
                "last_seq": last,
                "events": [_event_json(e) for e in found],
            }
        )


class _Stream(tornado.websocket.WebSocketHandler):
    """Events as they happen, gathered ten times a second. A slow reader misses some, and gets the
    sequence number from which it can catch up."""

    def initialize(self, plane: Plane, token: Token | None) -> None:
        self.core = plane.core
        self._token = token
        self._sender: asyncio.Task[None] | None = None

    def prepare(self) -> None:
        if not may_call(self.request, self._token):
            raise tornado.web.HTTPError(401)

    def open(self, *args: str, **kwargs: str) -> None:
        since = self.get_query_argument("since", str(self.core.events.last_seq))
        if not since.isdecimal():
            self.close(1008, "since must be a number")
            return
        seq = int(since[:_SEQ_DIGITS])
        if seq > self.core.events.last_seq:
            # The mark is from before a restart of the server, which began a new log.
            seq = 0
        self._sender = asyncio.get_running_loop().create_task(self._send(seq))

    def on_message(self, message: str | bytes) -> None:
        """Nothing is expected from the reader."""

    def on_close(self) -> None:
        if self._sender is not None:
            self._sender.cancel()

    async def _send(self, seq: int) -> None:
        events = self.core.events
        with contextlib.suppress(tornado.websocket.WebSocketClosedError):
            while True:
                if events.last_seq > seq:
                    batch = [_event_json(e) for e in events.since(seq)][-_STREAM_BACKLOG:]
                    missed = batch[0]["seq"] - seq - 1 if batch else 0
                    await self.write_message(
                        orjson.dumps({"missed": missed, "events": batch}).decode()
                    )
                    seq = batch[-1]["seq"] if batch else events.last_seq
                await asyncio.sleep(_STREAM_SECONDS)


def _event_json(event: Any) -> dict[str, Any]:
    data: dict[str, Any] = event.to_json()
    line = log_line(event)
    if line is not None:
        data["line"] = line
    return data


ROUTES = ((r"/events", _Events), (r"/events/stream", _Stream))
