"""One client's connection: parses its requests, keeps their order, and bounds what it costs.

The parser (httptools over llhttp) calls the `on_...` methods. A request is handed to the
handler when its body is complete; answers may come in any order and go out in the order of the
requests. Whatever a client may do too much of (bytes, time, requests at once) is bounded here.
"""

from __future__ import annotations

import asyncio
import functools
import logging
from collections import deque
from typing import Protocol, cast

import httptools

from workbench.server.front.access import AccessPolicy, Refusal
from workbench.server.front.admission import RETRY_AFTER, Admission
from workbench.server.front.http.body import BodyTooLarge, BodyWriter, Spool, inflate
from workbench.server.front.http.client_limits import (
    HttpLimits,
    body_too_large,
    head_too_large,
    too_many_headers,
)
from workbench.server.front.http.framing import OpenChunk, misframed, split_absolute, wrong_version
from workbench.server.front.http.message import Handler, Reply, Request, error_page

logger = logging.getLogger(__name__)

# What libevent parses; it answers TRACE, CONNECT and the rest itself, with a 501 page.
_METHODS = {
    name.encode(): name for name in ("GET", "POST", "HEAD", "PUT", "DELETE", "PATCH", "OPTIONS")
}

# How long a closed connection's last bytes are read: closing a socket with unread bytes
# resets it, and the client could lose the answer that tells it why.
_LINGER_S = 1.0

# How long the next piece of a large body is left unread where others are connected. A piece of
# 256 KiB takes a third of that: who sends quickly gets a fourth of the processor.
_REST_S = 0.001


class Server(Protocol):
    """What a connection needs of the server it belongs to."""

    handler: Handler
    limits: HttpLimits
    access: AccessPolicy
    loop: asyncio.AbstractEventLoop
    connections: set[Connection]
    now: float
    date_line: bytes
    draining: bool
    admission: Admission

    def make_room(self, newcomer: Connection) -> bool:
        """Close connections that are idle for a newcomer; whether there were any."""

    def forget(self, connection: Connection) -> None:
        """The connection is closed."""


# What a connection is waiting for.
_IDLE, _HEAD, _BODY, _LINGER = range(4)


_SLASH = ord("/")


class _StopParsing(Exception):
    """Raised in a parser's callback: nothing after this point will be looked at."""


class Connection(asyncio.Protocol):
    """One client: parses requests, hands them to the handler, sends answers in their order."""

    __slots__ = (
        "_chunk",
        "_continue_due",
        "_dropped_upgrade",
        "_flushing",
        "_head_offset_bytes",
        "_headers",
        "_input_closed",
        "_known",
        "_loop",
        "_parser",
        "_pieces",
        "_progress",
        "_read_bytes",
        "_reading",
        "_repeated_headers",
        "_replies",
        "_request_headers",
        "_resting",
        "_server",
        "_silent_bytes",
        "_since",
        "_stage",
        "_stalled_since",
        "_transport",
        "_undispatched",
        "_unsent",
        "_url",
        "_write_paused",
        "_writer",
    )

    def __init__(self, server: Server) -> None:
        self._server = server
        self._loop = server.loop
        self._parser: httptools.HttpRequestParser | None = httptools.HttpRequestParser(self)
        # The request being read.
        self._stage = _IDLE
        self._since = server.now
        self._url = b""
        self._headers: dict[bytes, bytes] = {}
        self._repeated_headers = 0
        self._request_headers = self._headers
        self._pieces: list[bytes] = []
        self._writer: BodyWriter | None = None
        self._chunk: OpenChunk | None = None
        self._continue_due = False
        self._dropped_upgrade = False
        self._progress = False
        self._silent_bytes = 0
        self._head_offset_bytes = 0
        self._input_closed = False
        # Requests read and not yet answered, in order; the last of them may wait their turn.
        self._replies: deque[Reply] = deque()
        self._undispatched: deque[tuple[Request, Reply]] = deque()
        self._flushing = False
        # Whether anybody has been let in here; bytes of a body that is being read.
        self._known = False
        self._read_bytes = 0
        # Flow control.
        self._reading = True
        self._resting = False
        self._write_paused = False
        self._unsent = 0
        self._stalled_since = server.now

    # --- asyncio.Protocol -----------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        server = self._server
        server.connections.add(self)
        limit = server.limits.max_connections
        if len(server.connections) > limit and not server.make_room(self):
            self._refuse(Refusal(503, f"This server has its limit of {limit} connections."))
            self._transport.close()

    def connection_lost(self, exc: Exception | None) -> None:
        self._input_closed = True
        self._parser = None  # it holds our methods
        self._undispatched.clear()
        if self._writer is not None:
            self._writer.discard()
        self._forget_body()
        replies, self._replies = self._replies, deque()
        for reply in replies:
            reply.abandon()
        self._server.forget(self)

    def data_received(self, data: bytes) -> None:
        if self._input_closed or self._parser is None:
            return
        self._progress = False
        self._silent_bytes += len(data)
        while True:
            try:
                self._parser.feed_data(data)
                break
            except httptools.HttpParserUpgrade as upgrade:
                data = self._without_upgrade(data[upgrade.args[0] :])
            except httptools.HttpParserError as error:
                self._refuse_unparsable(error)
                return
        if self._chunk is not None and (missing := self._chunk.missing(data)):
            self._check_chunk(missing)
            if self._input_closed:
                return
        if self._progress:
            self._silent_bytes = 0
            # The next head may have begun anywhere in this piece.
            self._head_offset_bytes = len(data) if self._stage == _HEAD else 0
        elif self._silent_bytes > self._server.limits.max_header_bytes:
            self._refuse(head_too_large(self._server.limits))  # an endless header or trailer
        if self._reading and len(self._replies) >= self._server.limits.max_pipelined:
            self._regulate_reading()

    def pause_writing(self) -> None:
        self._write_paused = True
        self._regulate_reading()

    def resume_writing(self) -> None:
        self._write_paused = False
        self._regulate_reading()

    # --- httptools ------------------------------------------------------------------------

    def on_message_begin(self) -> None:
        if self._input_closed:
            raise _StopParsing
        self._stage = _HEAD
        self._since = self._server.now
        self._url = b""
        self._headers = {}
        self._repeated_headers = 0

    def on_url(self, url: bytes) -> None:
        self._url += url

    def on_header(self, name: bytes, value: bytes) -> None:
        name = name.lower()
        headers = self._headers
        if name in headers:
            self._repeated_headers += 1
            if self._repeated_headers > self._server.limits.max_headers:
                self._refuse(too_many_headers(self._server.limits))
                raise _StopParsing
            value = headers[name] + b", " + value
        headers[name] = value

    def on_headers_complete(self) -> None:
        self._progress = True
        parser, headers, limits = self._parser, self._headers, self._server.limits
        assert parser is not None
        method = parser.get_method()
        # Few bytes since the last request mean a small head; only else is it worth adding up.
        if (
            self._silent_bytes + self._head_offset_bytes > limits.max_header_bytes
            and self._head_size() > limits.max_header_bytes
        ):
            self._refuse(head_too_large(limits))
            raise _StopParsing
        if len(headers) + self._repeated_headers > limits.max_headers:
            self._refuse(too_many_headers(limits))
            raise _StopParsing
        if method not in _METHODS:
            self._refuse_with(501, error_page(501), "text/html")
            raise _StopParsing
        version = parser.get_http_version()
        if version != "1.1" and version != "1.0":
            self._refuse_version(version)
            raise _StopParsing
        authority = None
        if self._url[0] != _SLASH and b"://" in self._url:
            authority, self._url = split_absolute(self._url)
        refusal = misframed(headers, version)
        if refusal is None:
            refusal = self._server.access.check(method, self._url, headers, authority)
        expected = int(headers.get(b"content-length", 0))
        if refusal is None and expected > limits.max_body_bytes:
            refusal = body_too_large(limits)
        if refusal is None:
            self._known = True
            if (full := self._server.admission.refusal(expected)) is not None:
                refusal = Refusal(503, full, RETRY_AFTER)
        coding = headers.get(b"transfer-encoding")
        if refusal is None and coding is not None and coding.lower() != b"chunked":
            refusal = Refusal(501, "The only transfer coding this server knows is chunked.")
        expect = headers.get(b"expect")
        if refusal is None and expect is not None and expect.lower() != b"100-continue":
            refusal = Refusal(417, "The only expectation this server meets is 100-continue.")
        if refusal is not None:
            self._refuse(refusal, without_body=method == b"HEAD")
            raise _StopParsing

        self._request_headers = headers
        self._stage = _BODY
        if b"upgrade" in headers and parser.should_upgrade():
            self._dropped_upgrade = True
            return
        if coding is not None:
            self._chunk = OpenChunk()
            self._headers = {}  # for trailers, which nothing here needs
        if expected > limits.spool_threshold_bytes or coding is not None:
            self._writer = BodyWriter(limits.max_body_bytes, limits.spool_threshold_bytes, expected)
        if expect is not None and version == "1.1":
            self._continue_due = True
            self._send_continue()

    def _head_size(self) -> int:
        """About the bytes of a complete head (four a header for ': ' and the line's end)."""
        return len(self._url) + sum(len(n) + len(v) + 4 for n, v in self._headers.items())

    def on_chunk_header(self) -> None:
        if self._chunk is not None:
            self._chunk.begin()

    def on_chunk_complete(self) -> None:
        if self._chunk is not None:
            self._chunk.end()

    def _check_chunk(self, missing: int) -> None:
        """Refuse a chunk that declares more than may come, as such a Content-Length is."""
        if self._input_closed:
            return
        if self._read_bytes + missing > self._server.limits.max_body_bytes:
            self._refuse(body_too_large(self._server.limits))
        elif (full := self._server.admission.refusal(missing)) is not None:
            self._refuse(Refusal(503, full, RETRY_AFTER))

    def on_body(self, piece: bytes) -> None:
        self._progress = True
        self._since = self._server.now
        if self._chunk is not None:
            self._chunk.add(len(piece))
        writer, admission = self._writer, self._server.admission
        if writer is not None and (full := admission.refusal(len(piece))) is not None:
            self._refuse(Refusal(503, full, RETRY_AFTER))
            raise _StopParsing
        self._read_bytes += len(piece)
        admission.bytes += len(piece)
        if writer is None:
            self._pieces.append(piece)
            return
        try:
            writer.add(piece)
        except BodyTooLarge:
            self._refuse(body_too_large(self._server.limits))
            raise _StopParsing from None
        except OSError as error:
            self._refuse(Refusal(503, f"No memory for the request's body: {error.strerror}."))
            raise _StopParsing from None
        if writer.spool is not None and not self._resting:
            # A piece at a time, so that a large body holds up nobody.
            self._resting = True
            if len(self._server.connections) > 1:
                self._loop.call_later(_REST_S, self._rested)
            else:
                self._loop.call_soon(self._rested)
            self._regulate_reading()

    def on_message_complete(self) -> None:
        if self._dropped_upgrade:
            return
        self._progress = True
        self._continue_due = False
        self._chunk = None
        parser, writer, pieces = self._parser, self._writer, self._pieces
        headers = self._request_headers
        assert parser is not None
        body: bytes | Spool
        if writer is not None:
            self._writer = None
            body = writer.finish()
        elif pieces:
            body = pieces[0] if len(pieces) == 1 else b"".join(pieces)
            self._pieces = []
        else:
            body = b""
        self._stage = _IDLE
        keep_alive = parser.should_keep_alive() and not self._server.draining
        persistence = b""
        if not keep_alive:
            self._input_closed = True
        elif b"connection" in headers and parser.get_http_version() == "1.0":
            persistence = b"Connection: keep-alive\r\n"
        method = _METHODS[parser.get_method()]
        request = Request(method, self._url.decode("latin-1"), headers, body)
        admission = self._server.admission
        admission.enter()
        reply = Reply(
            self, request, keep_alive, persistence, method == "HEAD", admission, self._read_bytes
        )
        self._read_bytes = 0
        self._replies.append(reply)
        if len(self._replies) > self._server.limits.max_pipelined:
            self._undispatched.append((request, reply))
        elif b"content-encoding" in headers:
            self._dispatch(request, reply)
        else:
            self._handle(request, reply)

    # --- requests and answers --------------------------------------------------------------

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
            if self._stage == _IDLE:
                self._since = self._server.now
            if self._continue_due:
                self._send_continue()
        if not self._reading:
            self._regulate_reading()

    def _send_continue(self) -> None:
        """Ask for the body, once it is this request's turn to be written about."""
        if not self._replies:
            self._continue_due = False
            self._since = self._server.now
            self._transport.write(b"HTTP/1.1 100 Continue\r\n\r\n")

    def _refuse(self, refusal: Refusal, without_body: bool = False) -> None:
        """Answer what is being read with `refusal`, after the answers before it, and close."""
        self._refuse_with(
            refusal.status, refusal.body, "application/json", refusal.headers, without_body
        )

    def _refuse_with(
        self,
        status: int,
        body: bytes,
        content_type: str,
        headers: tuple[tuple[str, str], ...] = (),
        without_body: bool = False,
    ) -> None:
        self._input_closed = True
        self._continue_due = False
        if self._writer is not None:
            self._writer.discard()
        self._forget_body()
        reply = Reply(self, None, keep_alive=False, without_body=without_body)
        self._replies.append(reply)
        reply.send(status, body, content_type, headers)

    def _refuse_version(self, version: str) -> None:
        """A client of HTTP/0.9 would take everything that is sent for the content it asked for, so
        it gets a status line alone."""
        refusal = wrong_version(version)
        body = b"" if version == "0.9" else refusal.body
        self._refuse_with(refusal.status, body, "application/json")

    def _forget_body(self) -> None:
        """What has been read of a body will not be handed on."""
        self._server.admission.bytes -= self._read_bytes
        self._read_bytes = 0

    def _refuse_unparsable(self, error: httptools.HttpParserError) -> None:
        cause = error.__context__
        if self._input_closed:
            return  # refused already, or bytes after the last request: they are not looked at
        if isinstance(error, httptools.HttpParserCallbackError) and cause is not None:
            logger.error("Reading a request failed", exc_info=cause)
            self._refuse(Refusal(500, "Internal error: see the server's log."))
        else:
            self._refuse(Refusal(400, f"Malformed HTTP: {error}."))

    def _without_upgrade(self, rest: bytes) -> bytes:
        """The request to be read again, as if it had not offered another protocol.

        A server may ignore `Upgrade` (RFC 9110, 7.8), and clients that offer HTTP/2 with every
        first request rely on it, but llhttp stops at such a head.
        """
        assert self._parser is not None
        method, headers = self._parser.get_method(), self._headers
        lines = [b"%b %b HTTP/1.1" % (method, self._url)]
        lines += [b"%b: %b" % item for item in headers.items() if item[0] != b"upgrade"]
        self._dropped_upgrade = False
        self._parser = httptools.HttpRequestParser(self)
        return b"\r\n".join(lines) + b"\r\n\r\n" + rest

    # --- limits -----------------------------------------------------------------------------

    def _regulate_reading(self) -> None:
        busy = len(self._replies) >= self._server.limits.max_pipelined
        wanted = not (busy or self._write_paused or self._resting)
        if wanted == self._reading or self._transport.is_closing():
            return
        self._reading = wanted
        if wanted:
            self._since = self._server.now  # the client is not to blame for the pause
            self._transport.resume_reading()
        else:
            self._transport.pause_reading()

    def _rested(self) -> None:
        self._resting = False
        self._regulate_reading()

    def _linger(self) -> None:
        """Close our side, and read for a moment what the client still sends."""
        self._stage = _LINGER
        self._since = self._server.now
        if not self._transport.is_closing():
            self._transport.write_eof()

    def sweep(self, now: float) -> None:
        """Called about once a second with the loop's time: end what takes too long."""
        limits, waited = self._server.limits, now - self._since
        unsent = self._transport.get_write_buffer_size()
        if unsent:
            if unsent != self._unsent:
                self._unsent, self._stalled_since = unsent, now
            elif now - self._stalled_since > limits.body_idle_timeout_s:
                self._transport.abort()
            if self._stage == _LINGER:
                self._since = now
            return
        self._unsent = 0
        if self._stage == _LINGER:
            if waited > _LINGER_S:
                self._transport.abort()
        elif self._input_closed or self._continue_due or not self._reading:
            return
        elif self._stage == _HEAD and waited > limits.header_timeout_s:
            self._refuse(Refusal(408, "The request's head took too long to arrive."))
        elif self._stage == _BODY and waited > limits.body_idle_timeout_s:
            self._refuse(Refusal(408, "The request's body stopped arriving."))
        elif self.is_idle and waited > (limits.keep_alive_s if self._known else limits.strange_s):
            self._transport.close()

    @property
    def is_idle(self) -> bool:
        """Whether nothing is being read or answered."""
        return self._stage == _IDLE and not self._replies and not self._input_closed

    @property
    def since(self) -> float:
        """When it began to do what it does now."""
        return self._since

    def drain(self) -> None:
        """The server stops: answer what has been read or is being read, then close."""
        if self._stage != _IDLE:
            return  # this request's answer, or its refusal, will be the last
        if self._replies:
            self._input_closed = True
            self._replies[-1].keep_alive = False
        else:
            self._transport.close()

    def abort(self) -> None:
        self._transport.abort()
