"""How a stream of bytes is cut into pieces makes no difference."""

from __future__ import annotations

import asyncio
import gzip
import itertools
import re
from collections.abc import Callable

import uvloop
from hypothesis import given, settings
from hypothesis import strategies as st

from workbench.server.front.access import AccessPolicy
from workbench.server.front.http.client_limits import HttpLimits
from workbench.server.front.http.connection import Connection
from workbench.server.front.http.listener import HttpServer
from workbench.server.front.http.message import Reply, Request

LIMITS = HttpLimits(
    max_body_bytes=600, max_header_bytes=300, max_pipelined=2, spool_threshold_bytes=100
)
HOST = b"Host: h\r\n"
REQUESTS = [
    b"GET /get?x=%20 HTTP/1.1\r\n" + HOST + b"\r\n",
    b"\r\nHEAD /head HTTP/1.1\r\n" + HOST + b"\r\n",
    b"GET /old HTTP/1.0\r\nConnection: keep-alive\r\n\r\n",
    b"POST /small HTTP/1.1\r\n" + HOST + b"Content-Length: 5\r\n\r\nhello",
    b"POST /large HTTP/1.1\r\n" + HOST + b"Content-Length: 150\r\n\r\n" + b"0123456789" * 15,
    b"POST /chunks HTTP/1.1\r\n" + HOST + b"Transfer-Encoding: chunked\r\n\r\n"
    b"3;a=b\r\nabc\r\n" + b"64\r\n" + b"d" * 100 + b"\r\n0\r\nHost: trailer\r\n\r\n",
    b"POST /gzip HTTP/1.1\r\n" + HOST + b"Content-Encoding: gzip\r\nContent-Length: %d\r\n\r\n%b"
    % (len(gzip.compress(b"z" * 99, mtime=0)), gzip.compress(b"z" * 99, mtime=0)),
    b"POST /expect HTTP/1.1\r\n" + HOST + b"Expect: 100-continue\r\nContent-Length: 2\r\n\r\nok",
    b"POST /h2c HTTP/1.1\r\n" + HOST + b"Connection: Upgrade, HTTP2-Settings\r\n"
    b"Upgrade: h2c\r\nHTTP2-Settings: AA\r\nContent-Length: 4\r\n\r\nbody",
]  # fmt: skip
LAST = [
    b"GET /bye HTTP/1.1\r\n" + HOST + b"Connection: close\r\n\r\nGET /unseen HTTP/1.1\r\n\r\n",
    b"GET /no-host HTTP/1.1\r\n\r\n",
    b"!! malformed\r\n\r\n",
    b"POST /declared HTTP/1.1\r\n" + HOST + b"Content-Length: 601\r\n\r\n" + b"x" * 601,
    b"POST /grown HTTP/1.1\r\n" + HOST + b"Transfer-Encoding: chunked\r\n\r\n1f4\r\n"
    + b"x" * 500 + b"\r\n1f4\r\n" + b"x" * 500 + b"\r\n0\r\n\r\n",
    b"GET /big-head HTTP/1.1\r\n" + HOST + b"X: " + b"x" * 400 + b"\r\n\r\n",
]  # fmt: skip


class Wire:
    """The transport of a client that takes everything at once."""

    def __init__(self) -> None:
        self.sent = b""
        self.reading = True
        self.ended = asyncio.Event()

    def write(self, data: bytes) -> None:
        self.sent += data

    def write_eof(self) -> None:
        self.ended.set()

    def pause_reading(self) -> None:
        self.reading = False

    def resume_reading(self) -> None:
        self.reading = True

    def is_closing(self) -> bool:
        return False


def later(request: Request, reply: Reply) -> None:
    """Answer at once, or a turn of the loop later, by the request's method."""
    body = request.body if request.spool is None else bytes(request.spool.view())
    names = sorted(name.decode() for name in request.raw_headers)
    answer = f"{request.method} {request.target} {names} ".encode() + body
    if request.method == "GET":
        reply.send(200, answer, "text/plain")
    else:
        asyncio.get_running_loop().call_soon(reply.send, 200, answer, "text/plain")


async def answers(pieces: list[bytes]) -> bytes:
    server = HttpServer(later, LIMITS, AccessPolicy())
    server.loop = asyncio.get_running_loop()
    wire, connection = Wire(), Connection(server)
    connection.connection_made(wire)  # type: ignore[arg-type]
    for piece in pieces:
        while not wire.reading:
            await asyncio.sleep(0)
        connection.data_received(piece)
    await asyncio.wait_for(wire.ended.wait(), 10)
    connection.connection_lost(None)
    return wire.sent


def in_pieces(stream: bytes, cuts: list[int]) -> list[bytes]:
    at = sorted({cut % (len(stream) + 1) for cut in cuts} | {0, len(stream)})
    return [stream[start:end] for start, end in itertools.pairwise(at)]


@settings(deadline=None, max_examples=150)
@given(
    st.lists(st.sampled_from(REQUESTS), max_size=6),
    st.sampled_from(LAST),
    st.lists(st.integers(0, 5000), max_size=30),
)
def test_any_split_of_the_stream_gives_the_same_answers(
    requests: list[bytes], last: bytes, cuts: list[int]
) -> None:
    stream = b"".join(requests) + last
    whole = uvloop.run(answers([stream]))
    split = uvloop.run(answers(in_pieces(stream, cuts)))
    assert without_continue(split) == without_continue(whole)
    assert len(re.findall(rb"HTTP/1.1 [2-5]", whole)) == len(requests) + 1


def test_byte_by_byte() -> None:
    stream = b"".join(REQUESTS) + LAST[0]
    whole = uvloop.run(answers([stream]))
    split = uvloop.run(answers([bytes([byte]) for byte in stream]))
    assert without_continue(split) == without_continue(whole)
    assert b"trailer" not in whole
    assert b"unseen" not in whole


def without_continue(sent: bytes) -> bytes:
    """A body that is there already may spare its client the interim answer."""
    return sent.replace(b"HTTP/1.1 100 Continue\r\n\r\n", b"")


class Clock:
    """The loop as a connection sees it: what is to be called at once, and what after a while."""

    def __init__(self) -> None:
        self.soon: list[Callable[[], None]] = []
        self.later: list[tuple[float, Callable[[], None]]] = []

    def call_soon(self, callback: Callable[[], None]) -> None:
        self.soon.append(callback)

    def call_later(self, delay: float, callback: Callable[[], None]) -> None:
        self.later.append((delay, callback))


def test_a_large_body_is_read_in_pieces_with_rests_where_others_are_connected() -> None:
    server, clock = HttpServer(later, LIMITS, AccessPolicy()), Clock()
    server.loop = clock  # type: ignore[assignment]
    wire, connection = Wire(), Connection(server)
    connection.connection_made(wire)  # type: ignore[arg-type]
    connection.data_received(
        b"POST /large HTTP/1.1\r\n" + HOST + b"Content-Length: 400\r\n\r\n" + b"x" * 100
    )
    assert (wire.reading, len(clock.soon), clock.later) == (False, 1, [])
    clock.soon.pop()()
    assert wire.reading

    other_wire, other = Wire(), Connection(server)
    other.connection_made(other_wire)  # type: ignore[arg-type]
    connection.data_received(b"x" * 100)
    assert (wire.reading, clock.soon, [delay for delay, _ in clock.later]) == (False, [], [0.001])
    assert other_wire.reading
    clock.later.pop()[1]()
    assert wire.reading
    connection.connection_lost(None)
    other.connection_lost(None)
