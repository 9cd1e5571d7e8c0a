"""A request as the handler sees it, its reply, and the bytes of the answer.

Answers look like those of libevent's server in TensorFlow Serving: its reason phrases, its HTML
page where there is no handler, no `Server` header.
"""

from __future__ import annotations

import functools
import logging
import time
from collections.abc import Callable, Iterable
from typing import Protocol, TypeAlias

from workbench.formats.http_status import reason_phrase
from workbench.server.front.admission import Admission
from workbench.server.front.http.body import Spool

logger = logging.getLogger(__name__)

_JOINED_BYTES = 16 * 1024  # up to here one write of head and body costs less than two


def error_page(status: int) -> bytes:
    """The HTML page libevent answers with where TensorFlow Serving has no handler."""
    phrase = reason_phrase(status)
    return (
        f"<HTML><HEAD>\n<TITLE>{status} {phrase}</TITLE>\n</HEAD>"
        f"<BODY>\n<H1>{phrase}</H1>\n</BODY></HTML>\n"
    ).encode()


NOT_FOUND_PAGE = error_page(404)


class Request:
    """One request: `method` and `target` (path and query, undecoded) as they were sent.

    The body is in `body`, or in `spool` if it is large (then `body` is empty). The spool is
    closed when the reply is sent or the client has gone.
    """

    __slots__ = ("body", "method", "raw_headers", "spool", "target")

    def __init__(
        self, method: str, target: str, headers: dict[bytes, bytes], body: bytes | Spool
    ) -> None:
        self.method = method
        self.target = target
        self.raw_headers = headers
        self.body: bytes
        self.spool: Spool | None
        self.set_body(body)

    @property
    def body_size(self) -> int:
        """Bytes of the body, wherever it is."""
        return len(self.body) if self.spool is None else self.spool.size

    def set_body(self, body: bytes | Spool) -> None:
        """Replace the body, as after inflating it."""
        if isinstance(body, Spool):
            self.body, self.spool = b"", body
        else:
            self.body, self.spool = body, None

    def header(self, name: str) -> str | None:
        """A header by its lower-case name, repeated ones joined by a comma; None for none."""
        value = self.raw_headers.get(name.encode("latin-1"))
        return None if value is None else value.decode("latin-1")


class Reply:
    """Where the answer to one request goes: `send` it once, from the loop's thread.

    If the client goes away first, `closed` becomes true, `on_abandon` is called, and sending
    does nothing. A client that half-closes its connection counts as gone, because TCP cannot
    distinguish it from a client that gave up waiting.

    Attributes:
        received: monotonic microseconds at which the request had been read.
    """

    __slots__ = (
        "_admission",
        "_connection",
        "_request",
        "_size",
        "_without_body",
        "answer",
        "closed",
        "keep_alive",
        "on_abandon",
        "persistence",
        "received",
    )

    def __init__(
        self,
        connection: Flushable,
        request: Request | None,
        keep_alive: bool,
        persistence: bytes = b"",
        without_body: bool = False,
        admission: Admission | None = None,
        size: int = 0,
    ) -> None:
        """Made by the connection; `persistence` is the header line that an HTTP/1.0 client
        needs to see that its connection stays open. `admission` counts it, with a body of
        `size` bytes, until it is answered."""
        self._admission = admission
        self._size = size
        self._connection = connection
        self._request = request
        self._without_body = without_body
        self.answer: _Answer | None = None
        self.keep_alive = keep_alive
        self.persistence = persistence
        self.received = time.monotonic_ns() // 1000
        self.closed = False
        self.on_abandon: Callable[[], object] | None = None

    def send(
        self,
        status: int,
        body: bytes | Spool,
        content_type: str = "application/json",
        headers: Iterable[tuple[str, str]] = (),
    ) -> None:
        """Answer the request; a `Spool` given as body is closed by this.

        Raises:
            RuntimeError: the request has been answered already.
            ValueError: a header's name or value contains a line break.
        """
        if self.answer is not None:
            raise RuntimeError("This request has been answered already.")
        self.answer = (status, body, content_type, _header_lines(headers) if headers else b"")
        self.on_abandon = None
        self._close_request_body()
        if self.closed:
            self._close_answer_body()
        else:
            self._connection.flush()

    def abandon(self) -> None:
        """Called by the connection when the client has gone."""
        self.closed = True
        self._close_answer_body()
        callback, self.on_abandon = self.on_abandon, None
        if callback is not None:
            try:
                callback()
            except Exception:
                logger.exception("A handler failed to give up an abandoned request")
        self._close_request_body()

    def encode(self, date_line: bytes) -> tuple[bytes | memoryview, ...]:
        """The answer as buffers to be written one after the other; called once."""
        assert self.answer is not None
        status, body, content_type, extra = self.answer
        size = body.size if isinstance(body, Spool) else len(body)
        connection_line = self.persistence if self.keep_alive else b"Connection: close\r\n"
        head = b"%b%bContent-Length: %d\r\n%b%b\r\n" % (
            _first_lines(status, content_type),
            date_line,
            size,
            extra,
            connection_line,
        )
        if self._without_body:
            self._close_answer_body()
            return (head,)
        if isinstance(body, Spool):
            view = body.view()
            body.close()
            return (head, view)
        return (head + body,) if size <= _JOINED_BYTES else (head, body)

    def _close_request_body(self) -> None:
        admission, self._admission = self._admission, None
        if admission is not None:
            admission.leave(self._size)
        request, self._request = self._request, None
        if request is not None and request.spool is not None:
            request.spool.close()

    def _close_answer_body(self) -> None:
        if self.answer is not None and isinstance(self.answer[1], Spool):
            self.answer[1].close()


Handler: TypeAlias = Callable[[Request, Reply], None]
_Answer: TypeAlias = tuple[int, bytes | Spool, str, bytes]


class Flushable(Protocol):
    """The connection a reply belongs to."""

    def flush(self) -> None:
        """Send every answer that is there and whose turn it is."""


@functools.lru_cache(maxsize=64)
def _first_lines(status: int, content_type: str) -> bytes:
    return f"HTTP/1.1 {status} {reason_phrase(status)}\r\nContent-Type: {content_type}\r\n".encode()


def _header_lines(headers: Iterable[tuple[str, str]]) -> bytes:
    text = "".join(f"{name}: {value}\n" for name, value in headers)
    if "\r" in text or text.count("\n") != len(text.splitlines()):
        raise ValueError("A header may not contain a line break.")
    return text.replace("\n", "\r\n").encode("latin-1")
