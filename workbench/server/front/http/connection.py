"""One client's connection: hands its requests on, and sends the answers in their order.

Answers may come in any order, and go out in the order of the requests. Time and the number of
requests at once are bounded here; `request_reader`, which reads the requests, bounds their bytes.
"""

from __future__ import annotations

import asyncio
import functools
import logging
from collections import deque
from typing import Protocol, cast

from workbench.server.front.access import Refusal
from workbench.server.front.http.body import Spool, inflate
from workbench.server.front.http.message import Handler, Reply, Request
from workbench.server.front.http.request_reader import (
    BODY,
    HEAD,
    IDLE,
    LINGER,
    ReaderServer,
    RequestReader,
)

logger = logging.getLogger(__name__)

# How long the last bytes on a closed connection are read: closing a socket with unread bytes
# resets it, and the client could lose the answer that says why.
_LINGER_S = 1.0

# How long the next piece of a large body is left unread while others are connected. A piece of
# 256 KiB takes a third of that, so a fast sender gets a quarter of the processor.
_REST_S = 0.001


class Server(ReaderServer, Protocol):
    """What a connection needs of the server it belongs to."""

    handler: Handler
    loop: asyncio.AbstractEventLoop
    connections: set[Connection]
    date_line: bytes

    def make_room(self, newcomer: Connection) -> bool:
        """Close connections that are idle for a newcomer; whether there were any."""

    def forget(self, connection: Connection) -> None:
        """The connection is closed."""


class Connection(RequestReader, asyncio.Protocol):
    """One client: reads requests, hands them to the handler, sends answers in their order."""

    __slots__ = (
        "_flushing",
        "_loop",
        "_reading",
        "_replies",
        "_resting",
        "_stalled_since",
        "_transport",
        "_undispatched",
        "_unsent",
        "_write_paused",
    )

    def __init__(self, server: Server) -> None:
        super().__init__(server.now)
        self._server: Server = server
        self._loop = server.loop
        # Requests read and not yet answered, in order; the last of them may wait their turn.
        self._replies: deque[Reply] = deque()
        self._undispatched: deque[tuple[Request, Reply]] = deque()
        self._flushing = False
        # Flow control.
        self._reading = True
        self._resting = False
        self._write_paused = False
        self._unsent = 0
        self._stalled_since = server.now

    # --- asyncio.Protocol -----------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Called by the loop; a connection beyond the limit is refused."""
        self._transport = cast(asyncio.Transport, transport)
        server = self._server
        server.connections.add(self)
        limit = server.limits.max_connections
        if len(server.connections) > limit and not server.make_room(self):
            self._refuse(Refusal(503, f"This server has reached its limit of {limit} connections."))
            self._transport.close()

    def connection_lost(self, exc: Exception | None) -> None:
        """Called by the loop; requests without an answer are abandoned."""
        self._input_closed = True
        self._parser = None  # it holds our methods
        self._undispatched.clear()
        self._discard_body()
        replies, self._replies = self._replies, deque()
        for reply in replies:
            reply.abandon()
        self._server.forget(self)

    def pause_writing(self) -> None:
        """Called by the loop while the client does not take its answers."""
        self._write_paused = True
        self._regulate_reading()

    def resume_writing(self) -> None:
        """Called by the loop when the client takes its answers again."""
        self._write_paused = False
        self._regulate_reading()

    # --- requests and answers --------------------------------------------------------------

    def _took(self, request: Request, keep_alive: bool, persistence: bytes, size: int) -> None:
        admission, limits = self._server.admission, self._server.limits
        admission.enter()
        without_body = request.method == "HEAD"
        reply = Reply(self, request, keep_alive, persistence, without_body, admission, size)
        self._replies.append(reply)
        if len(self._replies) > limits.max_pipelined:
            self._undispatched.append((request, reply))
        elif b"content-encoding" in request.raw_headers:
            self._dispatch(request, reply)
        else:
            self._handle(request, reply)
        if self._reading and len(self._replies) >= limits.max_pipelined:
            self._regulate_reading()

    def _took_piece(self) -> None:
        """Pause reading, so that a large body delays nobody."""
        if not self._resting:
            self._resting = True
            if len(self._server.connections) > 1:
                self._loop.call_later(_REST_S, self._rested)
            else:
                self._loop.call_soon(self._rested)
            self._regulate_reading()

    def _dispatch(self, request: Request, reply: Reply) -> None:
        encoding = request.raw_headers.get(b"content-encoding")
        if encoding is not None and b"gzip" in encoding:
            self._inflate(request, reply)
        else:
            self._handle(request, reply)

    def _inflate(self, request: Request, reply: Reply) -> None:
        body = request.spool or request.body
        request.set_body(b"")  # the thread owns it
        limits = self._server.limits
        self._loop.run_in_executor(
            None, inflate, body, limits.max_inflated_bytes, limits.spool_threshold_bytes
        ).add_done_callback(functools.partial(self._inflated, request, reply))

    def _inflated(self, request: Request, reply: Reply, job: asyncio.Future[bytes | Spool]) -> None:
        if (error := job.exception()) is not None:
            refusal = Refusal(503, f"No memory for the request's inflated body: {error}.")
            reply.send(refusal.status, refusal.body)
            return
        body = job.result()
        if not reply.closed:
            request.set_body(body)
            self._handle(request, reply)
        elif isinstance(body, Spool):
            body.close()

    def _handle(self, request: Request, reply: Reply) -> None:
        try:
            self._server.handler(request, reply)
        except Exception:
            logger.exception("The handler of %s %s failed", request.method, request.target)
            if reply.answer is None:
                reply.send(500, Refusal(500, "Internal error: see the server's log.").body)

    def flush(self) -> None:
        """Send every answer that is there and whose turn it is."""
        # Flushing: a handler answered at once, from the loop below.
        if self._flushing or self._transport.is_closing():
            return
        self._flushing = True
        replies, undispatched = self._replies, self._undispatched
        while replies and replies[0].answer is not None:
            reply = replies.popleft()
            for part in reply.encode(self._server.date_line):
                self._transport.write(part)
            if not reply.keep_alive:
                self._linger()
            elif undispatched:
                self._dispatch(*undispatched.popleft())
        self._flushing = False
        if not replies:
            if self._stage == IDLE:
                self.since = self._server.now
            if self._continue_due:
                self._send_continue()
        if not self._reading:
            self._regulate_reading()

    def _send_continue(self) -> None:
        """Ask for the body once all answers before it have been sent."""
        if not self._replies:
            self._continue_due = False
            self.since = self._server.now
            self._transport.write(b"HTTP/1.1 100 Continue\r\n\r\n")

    def _refuse(self, refusal: Refusal, without_body: bool = False) -> None:
        self._input_closed = True
        self._continue_due = False
        self._discard_body()
        reply = Reply(self, None, keep_alive=False, without_body=without_body)
        self._replies.append(reply)
        reply.send(refusal.status, refusal.body, refusal.content_type, refusal.headers)

    # --- limits -----------------------------------------------------------------------------

    def _regulate_reading(self) -> None:
        busy = len(self._replies) >= self._server.limits.max_pipelined
        wanted = not (busy or self._write_paused or self._resting)
        if wanted == self._reading or self._transport.is_closing():
            return
        self._reading = wanted
        if wanted:
            self.since = self._server.now  # the client is not to blame for the pause
            self._transport.resume_reading()
        else:
            self._transport.pause_reading()

    def _rested(self) -> None:
        self._resting = False
        self._regulate_reading()

    def _linger(self) -> None:
        """Close our side, and read for a moment what the client still sends."""
        self._stage = LINGER
        self.since = self._server.now
        if not self._transport.is_closing():
            self._transport.write_eof()

    def sweep(self, now: float) -> None:
        """Called about once a second with the loop's time: end what takes too long."""
        limits, waited = self._server.limits, now - self.since
        unsent = self._transport.get_write_buffer_size()
        if unsent:
            if unsent != self._unsent:
                self._unsent, self._stalled_since = unsent, now
            elif now - self._stalled_since > limits.body_idle_timeout_s:
                self._transport.abort()
            if self._stage == LINGER:
                self.since = now
            return
        self._unsent = 0
        if self._stage == LINGER:
            if waited > _LINGER_S:
                self._transport.abort()
        elif self._input_closed or self._continue_due or not self._reading:
            return
        elif self._stage == HEAD and waited > limits.header_timeout_s:
            self._refuse(Refusal(408, "The request's head took too long to arrive."))
        elif self._stage == BODY and waited > limits.body_idle_timeout_s:
            self._refuse(Refusal(408, "The request's body stopped arriving."))
        elif self.is_idle and waited > (limits.keep_alive_s if self._known else limits.strange_s):
            self._transport.close()

    @property
    def is_idle(self) -> bool:
        """Whether nothing is being read or answered."""
        return self._stage == IDLE and not self._replies and not self._input_closed

    def drain(self) -> None:
        """The server stops: answer what has been read or is being read, then close."""
        if self._stage != IDLE:
            return  # this request's answer, or its refusal, will be the last
        if self._replies:
            self._input_closed = True
            self._replies[-1].keep_alive = False
        else:
            self._transport.close()

    def abort(self) -> None:
        """Close the connection at once, whatever is in progress."""
        self._transport.abort()
