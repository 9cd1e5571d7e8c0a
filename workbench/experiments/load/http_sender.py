"""Sends the load generator's requests over HTTP/1.1, built once, on keep-alive connections."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping
from typing import cast

import httptools

from workbench.experiments.load.load_connection import Sender

_LONGEST_REFUSAL = 10_000
"""Bytes of a refusal's body that are kept."""


def request_bytes(method: str, target: str, headers: Mapping[str, str], body: bytes) -> bytes:
    """A whole HTTP/1.1 request, built once and sent many times."""
    lines = [
        f"{method} {target} HTTP/1.1",
        *(f"{name}: {value}" for name, value in headers.items()),
    ]
    if body or method not in ("GET", "HEAD"):
        lines.append(f"Content-Length: {len(body)}")
    return "\r\n".join([*lines, "", ""]).encode("latin-1") + body


class HttpConnection(asyncio.Protocol):
    """One keep-alive connection: at most one request in flight."""

    def __init__(self, run: Sender, address: tuple[str, int] | str) -> None:
        self._run = run
        self._address = address
        self._transport: asyncio.Transport | None = None
        self.request: int | None = None
        """The number of the request that is in flight or being connected for."""
        self._gave_up = ""  # why the request in flight was abandoned, if it was

    async def connect(self) -> None:
        """Connect; raises OSError where that is not possible."""
        address, loop = self._address, asyncio.get_running_loop()
        if isinstance(address, str):
            await loop.create_unix_connection(lambda: self, address)
        else:
            await loop.create_connection(lambda: self, *address)

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Start with a fresh parser."""
        self._transport = cast("asyncio.Transport", transport)
        self._parser = httptools.HttpResponseParser(self)

    def send(self, request: int) -> None:
        """Send a request over this connection, which must be idle."""
        assert self._transport is not None
        self.request = request
        self._size = self._version = 0
        self._refusal = b""
        self._transport.write(self._run.bytes_of(request))

    def abandon(self, reason: str) -> None:
        """Fail the request in flight; its late answer must not be taken for another's."""
        if self._transport is not None:
            self._gave_up = reason
            self._transport.abort()
        elif self.request is not None:  # It continues to connect for a later request.
            request, self.request = self.request, None
            self._run.failed(request, reason)

    def data_received(self, data: bytes) -> None:
        """Parse a piece of the answer; an answer that is not HTTP fails the request."""
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserError as error:
            self.abandon(type(error).__name__)

    def on_header(self, name: bytes, value: bytes) -> None:
        """Note the version that answers."""
        if name.lower() == b"x-workbench-version" and value.isdigit():
            self._version = int(value)

    def on_body(self, body: bytes) -> None:
        """Count the bytes of the body, and keep that of a refusal."""
        self._size += len(body)
        if self._parser.get_status_code() >= 400 and len(self._refusal) < _LONGEST_REFUSAL:
            self._refusal += body

    def on_message_complete(self) -> None:
        """Report the answer, then keep the connection or close it."""
        if self.request is None or self._gave_up:
            return
        request, self.request = self.request, None
        status = self._parser.get_status_code()
        if status >= 400:
            self._run.refused(status, _refusal_text(self._refusal))
        self._run.answered(request, status, self._size, self._version)
        if self._parser.should_keep_alive():
            self._run.idle(self)
        else:
            assert self._transport is not None
            self._transport.close()
        self._run.client_is_free()

    def connection_lost(self, error: Exception | None) -> None:
        """Report the end of the connection, with the request in flight."""
        self._transport = None
        reason = self._gave_up or (type(error).__name__ if error else "ConnectionClosed")
        request, self.request, self._gave_up = self.request, None, ""
        self._run.lost(self, request, reason)


def _refusal_text(body: bytes) -> str:
    """The error in a refusal's body; the body itself if it is not TensorFlow Serving's JSON."""
    try:
        return str(json.loads(body)["error"])
    except (ValueError, KeyError, TypeError):
        return body[:300].decode(errors="replace")
