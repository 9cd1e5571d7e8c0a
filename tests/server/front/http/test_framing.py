"""Requests that mean different things to different servers are refused, before any body is read."""

from __future__ import annotations

import asyncio
import time

import pytest
import uvloop
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.server.front.http.test_connection import Wire, later
from tests.server.front.http.test_listener import CLOSE, client, exchange, ok, refused, run, serving
from workbench.server.front.access import LOOPBACK_HOSTS, AccessPolicy
from workbench.server.front.http.client_limits import HttpLimits
from workbench.server.front.http.connection import Connection
from workbench.server.front.http.framing import OpenChunk, split_absolute
from workbench.server.front.http.listener import HttpServer

HOST = b"Host: localhost\r\n"
POST = b"POST /p HTTP/1.1\r\n" + HOST
GET = b"GET /g HTTP/1.1\r\n" + HOST
CHUNKED = b"Transfer-Encoding: chunked\r\n"
NO_NAME = (
    b"Host '%b' is not one of this server's names. Call it by the address it listens on, or allow "
    b"the name when starting it."
)
BAD = b"400 Bad Request"


def malformed(why: bytes) -> bytes:
    return refused(BAD, b"Malformed HTTP: " + why + b".")


TWO_HOSTS = refused(BAD, b"The request has more than one Host header.")
STRANGE_HOST = {
    "absolute target": b"GET http://evil/v1/models/m HTTP/1.1\r\n" + HOST,
    "absolute target with a port": b"GET http://evil:8501/ HTTP/1.1\r\n" + HOST,
    "absolute target without a path": b"GET http://evil HTTP/1.1\r\n" + HOST,
    "absolute target with a query alone": b"GET http://evil?localhost HTTP/1.1\r\n" + HOST,
    "absolute target in HTTP/1.0": b"GET http://evil/ HTTP/1.0\r\n",
    "absolute target beside an upgrade": b"GET http://evil/ HTTP/1.1\r\n"
    + HOST
    + b"Connection: Upgrade\r\nUpgrade: h2c\r\n",
    "Host beside a good absolute target": b"GET http://localhost/ HTTP/1.1\r\nHost: evil\r\n",
}


@pytest.mark.parametrize("head", STRANGE_HOST.values(), ids=STRANGE_HOST)
def test_a_strange_name_is_refused_wherever_it_stands(head: bytes) -> None:
    async def scenario() -> None:
        async with serving(access=AccessPolicy(None, LOOPBACK_HOSTS)) as (_, port):
            answer = await exchange(port, head + b"\r\n")
        name = b"evil:8501" if b":8501" in head else b"evil"
        assert answer == refused(b"403 Forbidden", NO_NAME % name)

    run(scenario())


def test_a_user_in_the_target_does_not_make_a_name() -> None:
    async def scenario() -> None:
        async with serving(access=AccessPolicy(None, LOOPBACK_HOSTS)) as (_, port):
            head = b"GET http://localhost@evil/ HTTP/1.1\r\n" + HOST + b"\r\n"
            answer = await exchange(port, head)
        assert answer == refused(b"403 Forbidden", NO_NAME % b"localhost@evil")

    run(scenario())


@pytest.mark.parametrize(
    ("target", "host", "path"),
    [
        (b"http://h:80/x/y?z", b"h:80", b"/x/y?z"),
        (b"HTTPS://h", b"h", b"/"),
        (b"http://h?q=/", b"h", b"/?q=/"),
        (b"http:///x", b"", b"/x"),
        (b"http://h/a://b", b"h", b"/a://b"),
    ],
)
def test_absolute_targets(target: bytes, host: bytes, path: bytes) -> None:
    assert split_absolute(target) == (host, path)


REFUSED = {
    "the same length twice": (
        POST + b"Content-Length: 5\r\nContent-Length: 5\r\n\r\nhello",
        malformed(b"Duplicate Content-Length"),
    ),
    "a list of lengths": (
        POST + b"Content-Length: 5, 5\r\n\r\nhello",
        malformed(b"Invalid character in Content-Length"),
    ),
    "a length with a sign": (
        POST + b"Content-Length: +5\r\n\r\nhello",
        malformed(b"Invalid character in Content-Length"),
    ),
    "a negative length": (
        POST + b"Content-Length: -5\r\n\r\nhello",
        malformed(b"Invalid character in Content-Length"),
    ),
    "no length": (POST + b"Content-Length: \r\n\r\n", malformed(b"Empty Content-Length")),
    "a length beyond 64 bits": (
        POST + b"Content-Length: 99999999999999999999\r\n\r\n",
        malformed(b"Content-Length overflow"),
    ),
    "length, then chunks": (
        POST + b"Content-Length: 5\r\n" + CHUNKED + b"\r\n0\r\n\r\n",
        malformed(b"Transfer-Encoding can't be present with Content-Length"),
    ),
    "chunks, then length": (
        POST + CHUNKED + b"Content-Length: 5\r\n\r\n0\r\n\r\n",
        malformed(b"Content-Length can't be present with Transfer-Encoding"),
    ),
    "chunked twice": (
        POST + CHUNKED + CHUNKED + b"\r\n0\r\n\r\n",
        malformed(b"Invalid `Transfer-Encoding` header value"),
    ),
    "chunks in HTTP/1.0": (
        b"POST /p HTTP/1.0\r\n" + CHUNKED + b"\r\n5\r\nhello\r\n0\r\n\r\n",
        refused(BAD, b"Transfer-Encoding needs HTTP/1.1."),
    ),
    "a blank before the colon": (
        POST + b"Transfer-Encoding : chunked\r\n\r\n0\r\n\r\n",
        malformed(b"Invalid header field char"),
    ),
    "a folded header": (
        GET + b"X: a\r\n b\r\n\r\n",
        malformed(b"Unexpected whitespace after header value"),
    ),
    "a header folded with a tab": (
        GET + b"X: a\r\n\tb\r\n\r\n",
        malformed(b"Unexpected whitespace after header value"),
    ),
    "a bare CR in a header": (
        GET + b"X: a\rY: b\r\n\r\n",
        malformed(b"Missing expected LF after header value"),
    ),
    "bare LF": (b"GET / HTTP/1.1\nHost: h\n\n", malformed(b"Expected CRLF after version")),
    "a NUL in a header": (GET + b"X: a\0b\r\n\r\n", malformed(b"Invalid header value char")),
    "the same Host twice": (GET + HOST + b"\r\n", TWO_HOSTS),
    "two Hosts": (GET + b"Host: evil\r\n\r\n", TWO_HOSTS),
    "two Hosts in HTTP/1.0": (b"GET / HTTP/1.0\r\n" + HOST + HOST + b"\r\n", TWO_HOSTS),
    "a chunk size with a sign": (
        POST + CHUNKED + b"\r\n+3\r\nabc\r\n0\r\n\r\n",
        malformed(b"Invalid character in chunk size"),
    ),
    "a chunk size with 0x": (
        POST + CHUNKED + b"\r\n0x3\r\nabc\r\n0\r\n\r\n",
        malformed(b"Invalid character in chunk size"),
    ),
    "a chunk size beyond 64 bits": (
        POST + CHUNKED + b"\r\nffffffffffffffffff\r\n",
        malformed(b"Chunk size overflow"),
    ),
    "too many headers": (
        GET + b"a:\r\n" * 256 + b"\r\n",
        refused(b"431 Client Error", b"The request has more than 256 headers."),
    ),
    "too many trailers": (
        POST + CHUNKED + b"\r\n1\r\nx\r\n0\r\n" + b"a:\r\n" * 258 + b"\r\n",
        refused(b"431 Client Error", b"The request has more than 256 headers."),
    ),
    "HTTP/2.0 in a request line": (
        b"GET / HTTP/2.0\r\n" + HOST + b"\r\n",
        refused(
            b"505 Server Error", b"This server supports HTTP/1.1 and HTTP/1.0, not HTTP/2.0."
        ),
    ),
    "HTTP/1.2": (b"GET / HTTP/1.2\r\n\r\n", malformed(b"Invalid HTTP version")),
}  # fmt: skip


@pytest.mark.parametrize(("data", "answer"), REFUSED.values(), ids=REFUSED)
def test_ambiguous_requests_are_refused(data: bytes, answer: bytes) -> None:
    async def scenario() -> None:
        async with serving() as (_, port):
            assert await exchange(port, data) == answer

    run(scenario())


@pytest.mark.parametrize(
    "data",
    [
        b"GET /secret\r\n\r\n",
        b"GET /secret HTTP/0.9\r\n\r\n",
        b"POST /\r\nContent-Length: 1\r\n\r\nx",
    ],
)
def test_http_0_9_gets_no_content(data: bytes) -> None:
    async def scenario() -> None:
        async with serving() as (_, port):
            answer = await exchange(port, data)
        assert answer == (
            b"HTTP/1.1 505 Server Error\r\nContent-Type: application/json\r\n"
            b"Content-Length: 0\r\nConnection: close\r\n\r\n"
        )

    run(scenario())


def test_as_many_headers_as_are_allowed_pass() -> None:
    async def scenario() -> None:
        async with serving() as (_, port):
            data = b"GET /g HTTP/1.0\r\n" + b"a:\r\n" * 256 + b"\r\n"
            assert await exchange(port, data) == ok(b"GET /g ", CLOSE)

    run(scenario())


# --- the size of a chunk ------------------------------------------------------------------------

LIMITS = HttpLimits(max_body_bytes=1000)
TOO_LARGE = refused(
    b"413 Request Entity Too Large", b"The request's body is larger than 1000 bytes."
)


@pytest.mark.parametrize(
    "pieces",
    [
        [b"7fffffff\r\n"],
        [b"7fffffff\r\nabc"],
        [b"7fff", b"ffff\r", b"\n"],
        [b"3e9;", b"name=" + b"v" * 50, b"\r\nx"],
        [b"1f4\r\n" + b"x" * 500 + b"\r\n1f5\r\n"],
        [b"1f4\r\n", b"x" * 500, b"\r\n1", b"f5\r\n", b"y"],
        [b"3E9\r\n"],
    ],
    ids=["alone", "with data", "in pieces", "extension", "second", "second in pieces", "upper"],
)
def test_a_chunk_larger_than_a_body_is_refused_before_it_comes(pieces: list[bytes]) -> None:
    async def scenario() -> None:
        async with serving(limits=LIMITS) as (_, port), client(port) as caller:
            began = time.monotonic()
            caller.send(POST + CHUNKED + b"\r\n")
            for piece in pieces:
                await asyncio.sleep(0.02)
                caller.send(piece)
            # The client waits, and would be waited for 30 seconds.
            assert await caller.to_end() == TOO_LARGE
            assert time.monotonic() - began < 5

    run(scenario())


def test_a_chunk_beyond_what_the_server_holds_is_refused_before_it_comes() -> None:
    async def scenario() -> None:
        async with serving() as (server, port), client(port) as caller:
            server.admission.max_bytes = 5000
            caller.send(POST + CHUNKED + b"\r\n2000\r\nabc")
            answer = await caller.to_end()
        assert answer.startswith(b"HTTP/1.1 503 Service Unavailable\r\n")
        assert b"8189 more would be beyond its limit of 5000." in answer

    run(scenario())


def test_chunks_up_to_the_limit_pass() -> None:
    async def scenario() -> None:
        async with serving(limits=LIMITS) as (_, port):
            body = b"x" * 500
            data = POST + CLOSE + CHUNKED + b"\r\n" + (b"1f4\r\n" + body + b"\r\n") * 2
            assert await exchange(port, data + b"0\r\n\r\n") == ok(b"POST /p " + 2 * body, CLOSE)

    run(scenario())


@settings(max_examples=200, deadline=None)
@given(
    sizes=st.lists(st.integers(1, 40), max_size=4),
    large=st.integers(101, 2**40),
    cuts=st.sets(st.integers(1, 400)),
)
def test_however_the_stream_is_cut_the_size_is_read(
    sizes: list[int], large: int, cuts: set[int]
) -> None:
    """A large chunk after small ones is refused with the last byte of its size line, whatever came
    in the same piece: another request, other chunks, half a line."""
    before = b"".join(map(_chunk, sizes))
    stream = POST + b"Content-Length: 4\r\n\r\n\r\n\r\n" + POST + CHUNKED + b"\r\n" + before
    stream += b"%x\r\n" % large
    ends = sorted({cut for cut in cuts if cut < len(stream)} | {len(stream)})

    async def scenario() -> None:
        server = HttpServer(later, HttpLimits(max_body_bytes=100 + sum(sizes)))
        server.loop = asyncio.get_running_loop()
        connection, wire = Connection(server), Wire()
        connection.connection_made(wire)  # type: ignore[arg-type]
        start = 0
        for end in ends:
            assert b"413" not in wire.sent
            connection.data_received(stream[start:end])
            start = end
            await asyncio.sleep(0)
        await asyncio.sleep(0)
        assert wire.sent.count(b"HTTP/1.1 413 ") == 1
        connection.connection_lost(None)

    uvloop.run(scenario())


def _chunk(size: int) -> bytes:
    """One whose content looks like size lines itself."""
    return b"%x\r\n%b\r\n" % (size, (b"f\r\n" * size)[:size])


def test_an_open_chunk_is_asked_only_once_for_its_size() -> None:
    chunk = OpenChunk()
    assert chunk.missing(b"HEAD\r\n\r\n1") == 0
    chunk.begin()
    chunk.add(3)
    assert chunk.missing(b"0\r\nabc") == 13
    chunk.add(5)
    assert chunk.missing(b"defgh") == 0
    chunk.end()
    assert chunk.missing(b"\r\n") == 0
