"""Checks of a request's framing that the HTTP parser leaves out.

The parser (llhttp) refuses most ambiguous requests: two lengths, a length beside chunks, folded
headers, bare line ends. This module checks the host in a target, the Host header, and the size that
a chunk declares.
"""

from __future__ import annotations

from collections.abc import Mapping

from workbench.server.front.access import Refusal


def split_absolute(target: bytes) -> tuple[bytes, bytes]:
    """Host (with its port) and path (with its query) of a target like ``http://host/path``."""
    _, _, rest = target.partition(b"://")
    end = min((i for i in (rest.find(b"/"), rest.find(b"?")) if i >= 0), default=len(rest))
    path = rest[end:]
    return rest[:end], path if path.startswith(b"/") else b"/" + path


def misframed(headers: Mapping[bytes, bytes], version: str) -> Refusal | None:
    """The refusal that RFC 9112 (3.2 and 6.1) asks for; None where nothing is wrong.

    `headers` has lower-case names, and repeated ones joined by a comma.
    """
    host = headers.get(b"host")
    if host is None:
        if version == "1.1":
            return Refusal(400, "Host header is missing.")
    elif b"," in host:
        return Refusal(400, "The request has more than one Host header.")
    if version == "1.0" and b"transfer-encoding" in headers:
        return Refusal(400, "Transfer-Encoding needs HTTP/1.1.")
    return None


def unmet(headers: Mapping[bytes, bytes]) -> Refusal | None:
    """The refusal of a transfer coding or an expectation that this server does not know."""
    if headers.get(b"transfer-encoding", b"chunked").lower() != b"chunked":
        return Refusal(501, "The only transfer coding this server knows is chunked.")
    if headers.get(b"expect", b"100-continue").lower() != b"100-continue":
        return Refusal(417, "The only expectation this server meets is 100-continue.")
    return None


def wrong_version(version: str) -> Refusal:
    """The refusal of another version of HTTP. A client of HTTP/0.9 would take everything that is
    sent for the content it asked for, so it gets a status line alone."""
    message = f"This server supports HTTP/1.1 and HTTP/1.0, not HTTP/{version}."
    return Refusal(505, message, page=b"" if version == "0.9" else None)


class OpenChunk:
    """Knows how many bytes a chunk declares as soon as its size line has arrived.

    The parser says when a chunk begins, but not how large it is, so a chunk of 2 GB would be
    refused only after as many bytes as a body may have. The size line comes right before the first
    bytes of its chunk, and is read from there.

    Call `begin`, `add` and `end` from the parser's callbacks, and `missing` with each piece of
    data after the parser has had it.
    """

    __slots__ = ("_line", "_open", "_seen", "_unread")

    def __init__(self) -> None:
        self._open = False
        # The size line of the open chunk came with the piece that is being parsed.
        self._unread = False
        self._seen = 0
        # The beginning of a size line whose end has not arrived.
        self._line = bytearray()

    def begin(self) -> None:
        """A size line is complete."""
        self._open = self._unread = True
        self._seen = 0

    def add(self, size: int) -> None:
        """So many bytes of the open chunk have arrived."""
        self._seen += size

    def end(self) -> None:
        """The open chunk is complete."""
        self._open = self._unread = False

    def missing(self, data: bytes) -> int:
        """How many bytes the open chunk still lacks, if its size line ended in `data`; else 0.

        `data` is the piece that the parser has just had, to its last byte.
        """
        if not self._open:
            start = data.rfind(b"\n") + 1
            if start:
                self._line.clear()
            self._line += data[start:]
            return 0
        if not self._unread:
            return 0
        self._unread = False
        end = len(data) - self._seen
        if data[end - 1 : end] != b"\n":
            return 0  # it was the last chunk, of size 0, and trailers have begun
        end = max(end - 2, 0)  # before CR and LF, of which this piece may have only the second
        start = data.rfind(b"\n", 0, end) + 1
        line = data[start:end] if start else bytes(self._line) + data[:end]
        self._line.clear()
        digits = line.rstrip(b"\r").partition(b";")[0]
        # A trailer's line, which has a colon, is no size either.
        return 0 if b":" in digits else int(digits, 16) - self._seen
