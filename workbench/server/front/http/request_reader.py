"""Reads one client's requests from its bytes, and bounds what reading them costs.

The parser (httptools over llhttp) calls the `on_...` methods. A request is handed on when its body
is complete. Whatever a client may send too much of is refused here.
"""

from __future__ import annotations

import logging
from typing import Protocol

import httptools

from workbench.server.front.access import AccessPolicy, Refusal
from workbench.server.front.admission import Admission
from workbench.server.front.http.body import BodyTooLarge, BodyWriter, Spool
from workbench.server.front.http.client_limits import (
    HttpLimits,
    body_too_large,
    head_too_large,
    too_many_headers,
)
from workbench.server.front.http.framing import (
    OpenChunk,
    misframed,
    split_absolute,
    unmet,
    wrong_version,
)
from workbench.server.front.http.message import Request, error_page

logger = logging.getLogger(__name__)

# What libevent parses; it answers TRACE, CONNECT and the rest itself, with a 501 page.
_METHODS = {
    name.encode(): name for name in ("GET", "POST", "HEAD", "PUT", "DELETE", "PATCH", "OPTIONS")
}

# What a connection is waiting for.
IDLE, HEAD, BODY, LINGER = range(4)

_SLASH = ord("/")


class ReaderServer(Protocol):
    """What reading requests needs of the server."""

    limits: HttpLimits
    access: AccessPolicy
    now: float
    draining: bool
    admission: Admission


class _Refused(Exception):
    """Raised in a parser's callback: the request is refused, and nothing after it is read."""

    def __init__(self, refusal: Refusal, without_body: bool = False) -> None:
        self.refusal = refusal
        self.without_body = without_body


class RequestReader:
    """The reading half of a `Connection`, which has the hooks at the end."""

    __slots__ = (
        "_chunk",
        "_continue_due",
        "_dropped_upgrade",
        "_head_offset_bytes",
        "_headers",
        "_input_closed",
        "_known",
        "_parser",
        "_pieces",
        "_progress",
        "_read_bytes",
        "_repeated_headers",
        "_request_headers",
        "_server",
        "_silent_bytes",
        "_stage",
        "_url",
        "_writer",
        "since",
    )

    _server: ReaderServer

    def __init__(self, now: float) -> None:
        self._parser: httptools.HttpRequestParser | None = httptools.HttpRequestParser(self)
        self._stage = IDLE
        self.since = now
        """When it began to do what it does now."""
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
        # Whether any request of this client has passed the access checks.
        self._known = False
        # Bytes of the body that is being read.
        self._read_bytes = 0

    def data_received(self, data: bytes) -> None:
        """Called by the loop with the next bytes of the client."""
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
            # A chunk that declares more than may come is refused as such a Content-Length is.
            limits = self._server.limits
            if self._read_bytes + missing > limits.max_body_bytes:
                refusal: Refusal | None = body_too_large(limits)
            else:
                refusal = self._server.admission.refusal(missing)
            if refusal is not None:
                self._refuse(refusal)
                return
        if self._progress:
            self._silent_bytes = 0
            # The next head may have begun anywhere in this piece.
            self._head_offset_bytes = len(data) if self._stage == HEAD else 0
        elif self._silent_bytes > self._server.limits.max_header_bytes:
            self._refuse(head_too_large(self._server.limits))  # an endless header or trailer

    # --- httptools ------------------------------------------------------------------------

    def on_message_begin(self) -> None:
        """Called by the parser at a request's first byte."""
        if self._input_closed:
            raise EOFError  # nothing after the last request is looked at
        self._stage = HEAD
        self.since = self._server.now
        self._url = b""
        self._headers = {}
        self._repeated_headers = 0

    def on_url(self, url: bytes) -> None:
        """Called by the parser with a piece of the target."""
        self._url += url

    def on_header(self, name: bytes, value: bytes) -> None:
        """Called by the parser with a header or a trailer; repeated ones are joined."""
        name = name.lower()
        headers = self._headers
        if name in headers:
            self._repeated_headers += 1
            if self._repeated_headers > self._server.limits.max_headers:
                raise _Refused(too_many_headers(self._server.limits))
            value = headers[name] + b", " + value
        headers[name] = value

    def on_headers_complete(self) -> None:
        """Called by the parser: admit or refuse the request by its head."""
        self._progress = True
        parser, headers, limits = self._parser, self._headers, self._server.limits
        assert parser is not None
        method = parser.get_method()
        # If few bytes came since the last request, the head is small and need not be measured.
        if (
            self._silent_bytes + self._head_offset_bytes > limits.max_header_bytes
            and self._head_size() > limits.max_header_bytes
        ):
            raise _Refused(head_too_large(limits))
        if len(headers) + self._repeated_headers > limits.max_headers:
            raise _Refused(too_many_headers(limits))
        if method not in _METHODS:
            raise _Refused(Refusal(501, "", page=error_page(501)))
        version = parser.get_http_version()
        if version != "1.1" and version != "1.0":
            raise _Refused(wrong_version(version))
        authority = None
        if self._url[0] != _SLASH and b"://" in self._url:
            authority, self._url = split_absolute(self._url)
        refusal = misframed(headers, version) or self._server.access.check(
            method, self._url, headers, authority
        )
        expected = int(headers.get(b"content-length", 0))
        chunked, expects = b"transfer-encoding" in headers, b"expect" in headers
        if refusal is None and expected > limits.max_body_bytes:
            refusal = body_too_large(limits)
        if refusal is None:
            self._known = True
            refusal = self._server.admission.refusal(expected)
        if refusal is None and (chunked or expects):
            refusal = unmet(headers)
        if refusal is not None:
            raise _Refused(refusal, without_body=method == b"HEAD")

        self._request_headers = headers
        self._stage = BODY
        if b"upgrade" in headers and parser.should_upgrade():
            self._dropped_upgrade = True
            return
        if chunked:
            self._chunk = OpenChunk()
            self._headers = {}  # for trailers, which nothing here needs
        if expected > limits.spool_threshold_bytes or chunked:
            self._writer = BodyWriter(limits.max_body_bytes, limits.spool_threshold_bytes, expected)
        if expects and version == "1.1":
            self._continue_due = True
            self._send_continue()

    def _head_size(self) -> int:
        """About the bytes of a complete head (four a header for ': ' and the line's end)."""
        return len(self._url) + sum(len(n) + len(v) + 4 for n, v in self._headers.items())

    def on_chunk_header(self) -> None:
        """Called by the parser after a chunk's size line."""
        if self._chunk is not None:
            self._chunk.begin()

    def on_chunk_complete(self) -> None:
        """Called by the parser after a chunk's last byte."""
        if self._chunk is not None:
            self._chunk.end()

    def on_body(self, piece: bytes) -> None:
        """Called by the parser with a piece of the body."""
        self._progress = True
        self.since = self._server.now
        if self._chunk is not None:
            self._chunk.add(len(piece))
        writer, admission = self._writer, self._server.admission
        if writer is not None and (full := admission.refusal(len(piece))) is not None:
            raise _Refused(full)
        self._read_bytes += len(piece)
        admission.bytes += len(piece)
        if writer is None:
            self._pieces.append(piece)
            return
        try:
            writer.add(piece)
        except BodyTooLarge:
            raise _Refused(body_too_large(self._server.limits)) from None
        except OSError as error:
            why = f"No memory for the request's body: {error.strerror}."
            raise _Refused(Refusal(503, why)) from None
        if writer.spool is not None:
            self._took_piece()

    def on_message_complete(self) -> None:
        """Called by the parser: hand the request on."""
        if self._dropped_upgrade:
            return
        self._progress = True
        self._continue_due = False
        self._chunk = None
        parser, writer, pieces = self._parser, self._writer, self._pieces
        headers = self._request_headers
        assert parser is not None
        body: bytes | Spool = b"".join(pieces)
        pieces.clear()
        if writer is not None:
            self._writer = None
            body = writer.finish()
        self._stage = IDLE
        keep_alive = parser.should_keep_alive() and not self._server.draining
        persistence = b""
        if not keep_alive:
            self._input_closed = True
        elif b"connection" in headers and parser.get_http_version() == "1.0":
            persistence = b"Connection: keep-alive\r\n"
        method = _METHODS[parser.get_method()]
        request = Request(method, self._url.decode("latin-1"), headers, body)
        size, self._read_bytes = self._read_bytes, 0
        self._took(request, keep_alive, persistence, size)

    # --- refusals -------------------------------------------------------------------------

    def _discard_body(self) -> None:
        """Drop what has been read of a body."""
        if self._writer is not None:
            self._writer.discard()
        self._server.admission.bytes -= self._read_bytes
        self._read_bytes = 0

    def _refuse_unparsable(self, error: httptools.HttpParserError) -> None:
        cause = error.__context__
        if self._input_closed:
            return  # bytes after the last request: they are not looked at
        if isinstance(cause, _Refused):
            self._refuse(cause.refusal, cause.without_body)
        elif isinstance(error, httptools.HttpParserCallbackError) and cause is not None:
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

    # --- hooks ------------------------------------------------------------------------------

    def _took(self, request: Request, keep_alive: bool, persistence: bytes, size: int) -> None:
        """A request is complete, with a body of `size` bytes. `persistence` is the header line that
        tells an HTTP/1.0 client that its connection stays open."""
        raise NotImplementedError

    def _took_piece(self) -> None:
        """A piece of a large body has been taken."""
        raise NotImplementedError

    def _send_continue(self) -> None:
        """Ask for the body once all answers before it have been sent."""
        raise NotImplementedError

    def _refuse(self, refusal: Refusal, without_body: bool = False) -> None:
        """Answer what is being read with `refusal`, after the answers before it, and close."""
        raise NotImplementedError
