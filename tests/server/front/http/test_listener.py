"""Whole exchanges with an `HttpServer` over real sockets."""

from __future__ import annotations

import asyncio
import contextlib
import gzip
import re
import socket
import struct
from collections.abc import AsyncIterator, Coroutine
from dataclasses import replace
from typing import Any

import pytest
import uvloop

from tests.descriptors import assert_none_left, open_descriptors
from workbench.server.front.access import LOOPBACK_HOSTS, NEEDS_TOKEN, AccessPolicy
from workbench.server.front.http.body import Spool
from workbench.server.front.http.client_limits import HttpLimits
from workbench.server.front.http.listener import HttpServer
from workbench.server.front.http.message import NOT_FOUND_PAGE, Handler, Reply, Request

DATE = re.compile(rb"Date: [A-Z][a-z]{2}, \d\d [A-Z][a-z]{2} \d{4} \d\d:\d\d:\d\d GMT\r\n")
CLOSE = b"Connection: close\r\n"


def run(scenario: Coroutine[Any, Any, None]) -> None:
    """Run a test's coroutine under uvloop; no descriptor may be left after it."""
    uvloop.run(asyncio.sleep(0))  # the first loop of a process opens what libuv keeps
    before = open_descriptors()
    uvloop.run(asyncio.wait_for(scenario, 30))
    assert_none_left(before)


def echo(request: Request, reply: Reply) -> None:
    body = request.body if request.spool is None else bytes(request.spool.view())
    reply.send(200, f"{request.method} {request.target} ".encode() + body, "text/plain")


class Held:
    """A handler that keeps its requests until the test answers them."""

    def __init__(self) -> None:
        self.calls: list[tuple[Request, Reply]] = []
        self._arrived = asyncio.Event()

    def __call__(self, request: Request, reply: Reply) -> None:
        self.calls.append((request, reply))
        self._arrived.set()

    async def arrival(self, count: int) -> None:
        while len(self.calls) < count:
            self._arrived.clear()
            await self._arrived.wait()


@contextlib.asynccontextmanager
async def serving(
    handler: Handler = echo, limits: HttpLimits | None = None, access: AccessPolicy | None = None
) -> AsyncIterator[tuple[HttpServer, int]]:
    sock = socket.create_server(("127.0.0.1", 0))
    server = HttpServer(handler, limits, access)
    await server.start(sock)
    try:
        yield server, sock.getsockname()[1]
    finally:
        await server.stop(0)


class Client:
    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader, self.writer = reader, writer

    def send(self, data: bytes) -> None:
        self.writer.write(data)

    async def to_end(self) -> bytes:
        """All that arrives until the server closes, without the Date lines."""
        data = await self._reader.read()
        return DATE.sub(b"", data)

    async def exactly(self, expected: bytes) -> None:
        """The next bytes (with Date lines left out) are `expected`."""
        got = b""
        while len(got) < len(expected):
            got += DATE.sub(b"", await self._reader.readuntil(b"\r\n\r\n"))
            length = (
                int(re.findall(rb"Content-Length: (\d+)\r\n", got)[-1]) if b"Length" in got else 0
            )
            got += await self._reader.readexactly(length)
        assert got == expected


@contextlib.asynccontextmanager
async def client(port: int) -> AsyncIterator[Client]:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        yield Client(reader, writer)
    finally:
        writer.close()
        with contextlib.suppress(OSError):
            await writer.wait_closed()


async def exchange(port: int, data: bytes) -> bytes:
    async with client(port) as caller:
        caller.send(data)
        return await caller.to_end()


def post(body: bytes, extra: bytes = b"", target: bytes = b"/") -> bytes:
    head = b"POST %b HTTP/1.1\r\nHost: h\r\nContent-Length: %d\r\n%b\r\n"
    return head % (target, len(body), extra) + body


def ok(body: bytes, extra: bytes = b"", content_type: bytes = b"text/plain") -> bytes:
    head = b"HTTP/1.1 200 OK\r\nContent-Type: %b\r\nContent-Length: %d\r\n%b\r\n"
    return head % (content_type, len(body), extra) + body


def refused(status: bytes, message: bytes, extra: bytes = b"") -> bytes:
    body = b'{\n    "error": "%b"\n}' % message
    head = b"HTTP/1.1 %b\r\nContent-Type: application/json\r\nContent-Length: %d\r\n%b%b\r\n"
    return head % (status, len(body), extra, CLOSE) + body


# --- exchanges ----------------------------------------------------------------------------------


def test_keep_alive_answers_one_request_after_the_other() -> None:
    async def scenario() -> None:
        async with serving() as (_, port), client(port) as caller:
            caller.send(post(b"one"))
            await caller.exactly(ok(b"POST / one"))
            caller.send(post(b"two", CLOSE, b"/a?b=%20"))
            assert await caller.to_end() == ok(b"POST /a?b=%20 two", CLOSE)

    run(scenario())


def test_every_answer_carries_the_date() -> None:
    async def scenario() -> None:
        async with serving() as (server, port):
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            writer.write(post(b"", CLOSE))
            assert DATE.search(await reader.read()) is not None
            assert DATE.fullmatch(server.date_line) is not None
            writer.close()
            await writer.wait_closed()

    run(scenario())


@pytest.mark.parametrize(
    ("data", "answer"),
    [
        (b"GET /x HTTP/1.0\r\n\r\n", ok(b"GET /x ", CLOSE)),
        (
            b"GET /x HTTP/1.0\r\nConnection: keep-alive\r\n\r\nGET /y HTTP/1.0\r\n\r\n",
            ok(b"GET /x ", b"Connection: keep-alive\r\n") + ok(b"GET /y ", CLOSE),
        ),
        (
            b"HEAD /x HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n",
            ok(b"HEAD /x ", CLOSE)[: -len(b"HEAD /x ")],
        ),
        (
            b"GET http://h:80/x?y HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n",
            ok(b"GET /x?y ", CLOSE),
        ),
        (
            b"POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\nConnection: close\r\n\r\n"
            b"3;ext=1\r\nabc\r\n2\r\nde\r\n0\r\nTrailer: x\r\n\r\n",
            ok(b"POST / abcde", CLOSE),
        ),
        (
            post(gzip.compress(b"inflated"), b"Content-Encoding: gzip\r\n" + CLOSE),
            ok(b"POST / inflated", CLOSE),
        ),
        (post(b"no gzip", b"Content-Encoding: gzip\r\n" + CLOSE), ok(b"POST / ", CLOSE)),
        (
            post(b"body", b"Connection: Upgrade\r\nUpgrade: h2c\r\n") + post(b"", CLOSE),
            ok(b"POST / body") + ok(b"POST / ", CLOSE),
        ),
        (
            post(b"hello", b"Expect: 100-continue\r\n" + CLOSE),
            b"HTTP/1.1 100 Continue\r\n\r\n" + ok(b"POST / hello", CLOSE),
        ),
    ],
    ids=[
        "HTTP/1.0", "HTTP/1.0 keep-alive", "HEAD", "absolute form", "chunked", "gzip",
        "no gzip after all", "upgrade is ignored", "100-continue",
    ],
)  # fmt: skip
def test_exchange(data: bytes, answer: bytes) -> None:
    async def scenario() -> None:
        async with serving() as (_, port):
            assert await exchange(port, data) == answer

    run(scenario())


def test_it_serves_on_the_standard_event_loop_too() -> None:
    async def scenario() -> None:
        async with serving() as (_, port):
            body = b"x" * 3_000_000
            assert await exchange(port, post(body, CLOSE)) == ok(b"POST / " + body, CLOSE)

    asyncio.run(asyncio.wait_for(scenario(), 30))


@pytest.mark.parametrize(
    ("data", "answer"),
    [
        (
            b"nonsense\r\n\r\n",
            refused(b"400 Bad Request", b"Malformed HTTP: Invalid method encountered."),
        ),
        (
            b"GET / HTTP/1.1\r\nHost h\r\n\r\n",
            refused(b"400 Bad Request", b"Malformed HTTP: Invalid header token."),
        ),
        (b"GET / HTTP/1.1\r\n\r\n", refused(b"400 Bad Request", b"Host header is missing.")),
        (
            b"POST / HTTP/1.1\r\nHost: h\r\n"
            b"Content-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n",
            refused(
                b"400 Bad Request",
                b"Malformed HTTP: Transfer-Encoding can't be present with Content-Length.",
            ),
        ),
        (
            b"POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n",
            refused(b"400 Bad Request", b"Malformed HTTP: Duplicate Content-Length."),
        ),
        (
            b"POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: gzip, chunked\r\n\r\n",
            refused(
                b"501 Not Implemented", b"The only transfer coding this server knows is chunked."
            ),
        ),
        (
            post(b"", b"Expect: miracles\r\n"),
            refused(
                b"417 Expectation Failed",
                b"The only expectation this server meets is 100-continue.",
            ),
        ),
        (
            b"CONNECT h:1 HTTP/1.1\r\nHost: h\r\n\r\n",
            b"HTTP/1.1 501 Not Implemented\r\nContent-Type: text/html\r\nContent-Length: 102\r\n"
            b"Connection: close\r\n\r\n"
            b"<HTML><HEAD>\n<TITLE>501 Not Implemented</TITLE>\n</HEAD>"
            b"<BODY>\n<H1>Not Implemented</H1>\n</BODY></HTML>\n",
        ),
        (
            b"POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 1001\r\nExpect: 100-continue\r\n\r\n",
            refused(
                b"413 Request Entity Too Large", b"The request's body is larger than 1000 bytes."
            ),
        ),
        (
            b"POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n"
            b"3e9\r\n" + b"x" * 1001,
            refused(
                b"413 Request Entity Too Large", b"The request's body is larger than 1000 bytes."
            ),
        ),
        (
            b"GET / HTTP/1.1\r\nHost: h\r\nX: " + b"x" * 500 + b"\r\n\r\n",
            refused(b"431 Client Error", b"The request's head is larger than 400 bytes."),
        ),
        (
            b"GET / HTTP/1.1\r\nHost: h\r\nX: " + b"x" * 500,
            refused(b"431 Client Error", b"The request's head is larger than 400 bytes."),
        ),
        (
            post(b"first") + b"nonsense\r\n\r\n" + post(b"never read"),
            ok(b"POST / first")
            + refused(b"400 Bad Request", b"Malformed HTTP: Invalid method encountered."),
        ),
    ],
    ids=[
        "no HTTP", "bad header", "no Host", "length and chunks", "two lengths", "transfer coding",
        "expectation", "CONNECT", "declared too large", "grown too large", "large head",
        "endless header", "after a good one",
    ],
)  # fmt: skip
def test_refused(data: bytes, answer: bytes) -> None:
    async def scenario() -> None:
        limits = HttpLimits(max_body_bytes=1000, max_header_bytes=400)
        async with serving(limits=limits) as (_, port):
            assert await exchange(port, data) == answer

    run(scenario())


def test_a_refusal_arrives_though_the_client_goes_on_sending() -> None:
    async def scenario() -> None:
        async with serving(limits=HttpLimits(max_body_bytes=1000)) as (_, port):
            answer = await exchange(port, post(b"x" * 2_000_000))
            assert answer == refused(
                b"413 Request Entity Too Large", b"The request's body is larger than 1000 bytes."
            )

    run(scenario())


def test_the_token_is_asked_for_before_the_body_is_read() -> None:
    async def scenario() -> None:
        access = AccessPolicy("secret", LOOPBACK_HOSTS)
        async with serving(access=access) as (_, port):
            head = (
                b"POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: 5\r\n"
                b"Expect: 100-continue\r\n"
            )
            assert await exchange(port, head + b"\r\n") == refused(
                b"401 Unauthorized", NEEDS_TOKEN.encode(), b"WWW-Authenticate: Bearer\r\n"
            )
            token = b"Authorization: Bearer secret\r\n" + CLOSE
            assert await exchange(port, head + token + b"\r\nhello") == (
                b"HTTP/1.1 100 Continue\r\n\r\n" + ok(b"POST / hello", CLOSE)
            )

    run(scenario())


def test_the_page_without_a_handler_is_libevents() -> None:
    assert NOT_FOUND_PAGE == (
        b"<HTML><HEAD>\n<TITLE>404 Not Found</TITLE>\n</HEAD>"
        b"<BODY>\n<H1>Not Found</H1>\n</BODY></HTML>\n"
    )


# --- handlers and replies -----------------------------------------------------------------------


def test_headers_are_decoded_and_repeated_ones_joined() -> None:
    seen: list[Request] = []

    def handler(request: Request, reply: Reply) -> None:
        seen.append(request)
        reply.send(200, b"{}", headers=[("X-Answer", "a"), ("X-More", "b")])

    async def scenario() -> None:
        async with serving(handler) as (_, port):
            data = post(b"", b"X-Name: a\r\nx-name: b\r\n" + CLOSE)
            assert await exchange(port, data) == ok(
                b"{}", b"X-Answer: a\r\nX-More: b\r\n" + CLOSE, b"application/json"
            )

    run(scenario())
    assert seen[0].raw_headers == {
        b"host": b"h", b"content-length": b"0", b"x-name": b"a, b", b"connection": b"close",
    }  # fmt: skip
    assert seen[0].header("x-name") == "a, b"
    assert seen[0].header("absent") is None


def test_a_failing_handler_answers_500_and_the_connection_goes_on(
    caplog: pytest.LogCaptureFixture,
) -> None:
    def handler(request: Request, reply: Reply) -> None:
        raise LookupError("broken")

    async def scenario() -> None:
        async with serving(handler) as (_, port):
            answer = await exchange(port, post(b"") + post(b"", CLOSE))
            body = b'{\n    "error": "Internal error: see the server\'s log."\n}'
            head = (
                b"HTTP/1.1 500 Internal Server Error\r\nContent-Type: application/json\r\n"
                b"Content-Length: %d\r\n" % len(body)
            )
            assert answer == head + b"\r\n" + body + head + CLOSE + b"\r\n" + body

    run(scenario())
    assert [record.message for record in caplog.records] == ["The handler of POST / failed"] * 2


def test_a_reply_is_sent_once_and_its_headers_are_single_lines() -> None:
    failures: list[str] = []

    def handler(request: Request, reply: Reply) -> None:
        with pytest.raises(ValueError) as broken:
            reply.send(200, b"", headers=[("X", "a\r\nY: b")])
        reply.send(200, b"")
        with pytest.raises(RuntimeError) as repeated:
            reply.send(200, b"")
        failures.extend([str(broken.value), str(repeated.value)])

    async def scenario() -> None:
        async with serving(handler) as (_, port):
            answer = await exchange(port, post(b"", CLOSE))
            assert answer == ok(b"", CLOSE, b"application/json")

    run(scenario())
    assert failures == [
        "A header may not contain a line break.",
        "This request has been answered already.",
    ]


def test_a_large_body_arrives_in_a_spool_that_the_reply_closes() -> None:
    spools: list[Spool] = []

    def handler(request: Request, reply: Reply) -> None:
        assert request.spool is not None
        assert request.body == b""
        spools.append(request.spool)
        answer = Spool.create()
        answer.append(bytes(request.spool.view())[::-1])
        spools.append(answer)
        reply.send(200, answer, "text/plain")

    async def scenario() -> None:
        body = bytes(range(256)) * 20_000
        chunks = b"".join(b"%x\r\n%b\r\n" % (100_000, body[i : i + 100_000].ljust(100_000))
                          for i in range(0, len(body), 100_000))  # fmt: skip
        padded = b"".join(
            body[i : i + 100_000].ljust(100_000) for i in range(0, len(body), 100_000)
        )
        async with serving(handler) as (_, port), client(port) as caller:
            caller.send(post(body))
            await caller.exactly(ok(body[::-1]))
            caller.send(
                b"POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n"
                + chunks
                + b"0\r\n\r\n"
            )
            await caller.exactly(ok(padded[::-1]))
            caller.send(post(gzip.compress(body), b"Content-Encoding: gzip\r\n" + CLOSE))
            assert await caller.to_end() == ok(body[::-1], CLOSE)

    run(scenario())
    assert [spool.closed for spool in spools] == [True] * 6


# --- pipelining and flow ------------------------------------------------------------------------


def test_pipelined_answers_go_out_in_the_order_of_the_requests() -> None:
    async def scenario() -> None:
        held = Held()
        async with serving(held) as (_, port), client(port) as caller:
            caller.send(b"".join(post(b"", target=b"/%d" % i) for i in range(5)) + post(b"", CLOSE))
            await held.arrival(6)
            assert [request.target for request, _ in held.calls] == [
                "/0", "/1", "/2", "/3", "/4", "/",
            ]  # fmt: skip
            for index in (3, 0, 5, 4, 2, 1):
                held.calls[index][1].send(200, b"%d" % index, "text/plain")
            assert await caller.to_end() == b"".join(ok(b"%d" % index) for index in range(5)) + ok(
                b"5", CLOSE
            )

    run(scenario())


def test_no_more_than_the_allowed_requests_are_in_progress() -> None:
    async def scenario() -> None:
        held = Held()
        async with serving(held, HttpLimits(max_pipelined=2)) as (_, port), client(port) as caller:
            caller.send(post(b"") * 9 + post(b"", CLOSE))
            for done in range(10):
                await held.arrival(min(done + 2, 10))
                assert len(held.calls) == min(done + 2, 10)
                held.calls[done][1].send(200, b"%d" % done, "text/plain")
            assert await caller.to_end() == b"".join(ok(b"%d" % index) for index in range(9)) + ok(
                b"9", CLOSE
            )

    run(scenario())


def test_a_client_that_does_not_read_is_not_read_from() -> None:
    async def scenario() -> None:
        answered = 0

        def handler(request: Request, reply: Reply) -> None:
            nonlocal answered
            answered += 1
            reply.send(200, b"x" * 1_000_000, "text/plain")

        async with serving(handler) as (server, port):
            sock = socket.create_connection(("127.0.0.1", port))
            sock.setblocking(False)
            loop = asyncio.get_running_loop()
            for _ in range(100):
                await loop.sock_sendall(sock, post(b""))
            while not any(c._write_paused for c in server.connections):
                await asyncio.sleep(0.01)
            paused_at = answered
            await loop.sock_sendall(sock, post(b"", CLOSE))
            assert answered == paused_at
            expected = ok(b"x" * 1_000_000) * 100 + ok(b"x" * 1_000_000, CLOSE)
            received = bytearray()
            while piece := await loop.sock_recv(sock, 2**20):
                received += piece
            sock.close()
            assert DATE.sub(b"", received) == expected

    run(scenario())


def test_a_client_that_disconnects_abandons_its_requests() -> None:
    async def scenario() -> None:
        held = Held()
        abandoned: list[str] = []
        async with serving(held) as (server, port):
            sock = socket.create_connection(("127.0.0.1", port))
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            sock.setblocking(False)
            loop = asyncio.get_running_loop()
            data = post(b"a", target=b"/a") + post(b"b" * 100_000, target=b"/b") + post(b"")[:-8]
            await loop.sock_sendall(sock, data)
            await held.arrival(2)
            for request, reply in held.calls:
                reply.on_abandon = lambda target=request.target: abandoned.append(target)
            held.calls[1][1].send(200, b"answered, and waiting for the first")
            sock.close()  # with a reset
            while server.connections:
                await asyncio.sleep(0.01)
            assert abandoned == ["/a"]
            assert [reply.closed for _, reply in held.calls] == [True, True]
            assert held.calls[1][0].spool is not None
            assert held.calls[1][0].spool.closed
            held.calls[0][1].send(200, b"harmless")

    run(scenario())


def test_a_connection_beyond_the_limit_is_told_so() -> None:
    async def scenario() -> None:
        limits = HttpLimits(max_connections=1)
        held = Held()
        async with serving(held, limits) as (_, port), client(port) as first:
            first.send(post(b"1", CLOSE))
            await held.arrival(1)
            async with client(port) as second:
                assert await second.to_end() == refused(
                    b"503 Service Unavailable",
                    b"This server has reached its limit of 1 connections.",
                )
            echo(*held.calls[0])
            assert await first.to_end() == ok(b"POST / 1", CLOSE)

    run(scenario())


def test_at_the_limit_the_connection_that_was_idle_longest_makes_room() -> None:
    async def scenario() -> None:
        limits = HttpLimits(max_connections=2)
        async with (
            serving(limits=limits) as (server, port),
            client(port) as first,
            client(port) as second,
        ):
            first.send(post(b"1"))
            await first.exactly(ok(b"POST / 1"))
            server.now += 1.0
            second.send(post(b"2"))
            await second.exactly(ok(b"POST / 2"))
            server.now += 1.0
            async with client(port) as third:
                third.send(post(b"3", CLOSE))
                assert await third.to_end() == ok(b"POST / 3", CLOSE)
            assert await first.to_end() == b""
            second.send(post(b"4", CLOSE))
            assert await second.to_end() == ok(b"POST / 4", CLOSE)

    run(scenario())


def test_who_has_not_been_let_in_is_not_waited_for_as_long() -> None:
    async def scenario() -> None:
        limits = HttpLimits(strange_s=0.1, keep_alive_s=60.0)
        async with (
            serving(limits=limits, access=AccessPolicy("token")) as (_, port),
            client(port) as known,
            client(port) as stranger,
        ):
            known.send(post(b"1", b"Authorization: Bearer token\r\n"))
            await known.exactly(ok(b"POST / 1"))
            assert await stranger.to_end() == b""
            known.send(post(b"2", b"Authorization: Bearer token\r\n" + CLOSE))
            assert await known.to_end() == ok(b"POST / 2", CLOSE)

    run(scenario())


def test_more_requests_than_are_taken_on_at_a_time_are_refused_at_once() -> None:
    async def scenario() -> None:
        held = Held()
        async with serving(held) as (server, port), client(port) as first, client(port) as other:
            server.admission.max_requests = 1
            first.send(post(b"1", CLOSE))
            await held.arrival(1)
            other.send(post(b"2"))
            assert await other.to_end() == refused(
                b"503 Service Unavailable",
                b"This server has reached its limit of 1 requests in progress.",
                b"Retry-After: 1\r\n",
            )
            echo(*held.calls[0])
            assert await first.to_end() == ok(b"POST / 1", CLOSE)
            assert (server.admission.requests, server.admission.bytes) == (0, 0)
            assert server.admission.refused == 1

    run(scenario())


def test_bodies_take_so_much_memory_and_no_more() -> None:
    async def scenario() -> None:
        held = Held()
        async with serving(held) as (server, port), client(port) as first, client(port) as other:
            server.admission.max_bytes = 100
            first.send(post(b"x" * 90, CLOSE))
            await held.arrival(1)
            assert server.admission.bytes == 90
            other.send(post(b"y" * 11))
            assert await other.to_end() == refused(
                b"503 Service Unavailable",
                b"This server holds 90 bytes of requests in progress; 11 more would be beyond its "
                b"limit of 100.",
                b"Retry-After: 1\r\n",
            )
            async with client(port) as third:
                third.send(
                    b"POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\nb\r\n"
                    + b"z" * 11 + b"\r\n"
                )  # fmt: skip
                assert b"11 more would be beyond" in await third.to_end()
            echo(*held.calls[0])
            assert await first.to_end() == ok(b"POST / " + b"x" * 90, CLOSE)
            assert server.admission.bytes == 0

    run(scenario())


# --- time ---------------------------------------------------------------------------------------

QUICK = HttpLimits(header_timeout_s=0.05, body_idle_timeout_s=0.05, keep_alive_s=0.05)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("data", "answer"),
    [
        (b"", b""),
        (post(b"done"), ok(b"POST / done")),
        (
            b"POST / HTTP/1.1\r\nHos",
            refused(b"408 Request Time-out", b"The request's head took too long to arrive."),
        ),
        (
            post(b"body")[:-1],
            refused(b"408 Request Time-out", b"The request's body stopped arriving."),
        ),
        (
            post(b"b" * 100_000)[:-1],
            refused(b"408 Request Time-out", b"The request's body stopped arriving."),
        ),
    ],
    ids=["nothing", "idle", "head", "body", "large body"],
)
def test_a_slow_client_is_not_waited_for(data: bytes, answer: bytes) -> None:
    async def scenario() -> None:
        async with serving(limits=QUICK) as (_, port):
            assert await exchange(port, data) == answer

    run(scenario())


def test_a_head_that_drips_has_its_time_and_no_more() -> None:
    """Each byte comes soon after the one before: a slow-loris client."""

    async def scenario() -> None:
        limits = replace(QUICK, header_timeout_s=0.3)
        async with serving(limits=limits) as (server, port), contextlib.AsyncExitStack() as stack:
            crowd = [await stack.enter_async_context(client(port)) for _ in range(100)]
            began = server.now
            dripped = 0
            while server.connections and server.now - began < 20.0:
                for caller in crowd:
                    with contextlib.suppress(OSError):
                        caller.send(b"GET / HTTP/1.1\r\nX: " if not dripped else b"x")
                dripped += 1
                # Meanwhile others are answered.
                assert await exchange(port, post(b"a", CLOSE)) == ok(b"POST / a", CLOSE)
                await asyncio.sleep(0.02)
            assert dripped > 2
            assert not server.connections

    run(scenario())


def test_a_client_that_never_takes_its_answer_is_dropped() -> None:
    async def scenario() -> None:
        def handler(request: Request, reply: Reply) -> None:
            reply.send(200, b"x" * 50_000_000)

        async with serving(handler, QUICK) as (server, port):
            sock = socket.create_connection(("127.0.0.1", port))
            await asyncio.get_running_loop().run_in_executor(None, sock.sendall, post(b""))
            while not server.connections:
                await asyncio.sleep(0.01)
            while server.connections:
                await asyncio.sleep(0.01)
            sock.close()

    run(scenario())


def test_a_handler_may_take_longer_than_any_of_the_limits() -> None:
    async def scenario() -> None:
        held = Held()
        async with serving(held, QUICK) as (server, port), client(port) as caller:
            caller.send(post(b"", CLOSE))
            await held.arrival(1)
            start = server.now
            while server.now - start < 0.2:
                await asyncio.sleep(0.02)
            held.calls[0][1].send(200, b"late", "text/plain")
            assert await caller.to_end() == ok(b"late", CLOSE)

    run(scenario())


# --- stopping -----------------------------------------------------------------------------------


def test_stopping_answers_what_is_in_progress_and_closes_what_is_idle() -> None:
    async def scenario() -> None:
        held = Held()
        async with (
            serving(held) as (server, port),
            client(port) as idle,
            client(port) as busy,
            client(port) as sending,
        ):
            busy.send(post(b"", target=b"/1") + post(b"", target=b"/2"))
            sending.send(post(b"abc", target=b"/3")[:-1])
            await held.arrival(2)
            while len(server.connections) < 3 or any(c._stage == 1 for c in server.connections):
                await asyncio.sleep(0.01)
            while sum(bool(c._pieces) for c in server.connections) < 1:
                await asyncio.sleep(0.01)
            stopping = asyncio.ensure_future(server.stop(10))
            assert await idle.to_end() == b""
            sending.send(b"c")
            await held.arrival(3)
            for request, reply in held.calls:
                reply.send(200, request.target.encode(), "text/plain")
            assert await busy.to_end() == ok(b"/1") + ok(b"/2", CLOSE)
            assert await sending.to_end() == ok(b"/3", CLOSE)
            for caller in (busy, sending):
                caller.writer.close()
            await stopping
            with pytest.raises(ConnectionRefusedError):
                await asyncio.open_connection("127.0.0.1", port)

    run(scenario())


def test_stopping_aborts_what_is_not_answered_in_time() -> None:
    async def scenario() -> None:
        held = Held()
        async with serving(held) as (server, port), client(port) as caller:
            caller.send(post(b""))
            await held.arrival(1)
            await server.stop(0.01)
            with contextlib.suppress(ConnectionResetError):
                assert await caller.to_end() == b""
            assert held.calls[0][1].closed
            assert server.connections == set()

    run(scenario())
