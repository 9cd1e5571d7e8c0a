"""What the HTTP front costs: requests per second of `HttpServer` against a bare echo.

    python -m benchmarks.http_front [--seconds 0.4] [--connections 32] [--body 6144]

The bare protocol is httptools on uvloop with the callbacks of any echo and nothing else: no
limits, no access check, no ordering. Both answer the same POST with the same small body; each
runs in a process of its own, and so does the load: uvloop connections that send prepared bytes
and wait for the whole answer (closed loop, so one request a connection is under way). The two
are measured in turns, and the ratio is the median over pairs of neighbouring rounds.
"""

from __future__ import annotations

import argparse
import asyncio
import multiprocessing
import socket
import statistics
import time
from multiprocessing.connection import Connection as Pipe

import httptools
import uvloop

from workbench.server.front.access import LOOPBACK_HOSTS, AccessPolicy
from workbench.server.front.http.listener import HttpServer
from workbench.server.front.http.message import Reply, Request

TOKEN = "0123456789abcdef0123456789abcdef"
ANSWER = b'{\n    "predictions": [2.5, 3.0, 4.5\n    ]\n}'
ROUNDS = 7


class BareEcho(asyncio.Protocol):
    """The least that answers a POST."""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        self._transport = transport
        self._parser = httptools.HttpRequestParser(self)

    def data_received(self, data: bytes) -> None:
        self._parser.feed_data(data)

    def on_message_begin(self) -> None:
        self._pieces: list[bytes] = []

    def on_url(self, url: bytes) -> None:
        self._url = url

    def on_header(self, name: bytes, value: bytes) -> None:
        pass

    def on_body(self, piece: bytes) -> None:
        self._pieces.append(piece)

    def on_message_complete(self) -> None:
        self._transport.write(
            b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%b"
            % (len(ANSWER), ANSWER)
        )


def answer(_request: Request, reply: Reply) -> None:
    reply.send(200, ANSWER)


async def serve(kind: str, sock: socket.socket, ready: Pipe) -> None:
    if kind == "bare":
        loop = asyncio.get_running_loop()
        await loop.create_server(BareEcho, sock=sock)
    else:
        await HttpServer(answer, access=AccessPolicy(TOKEN, LOOPBACK_HOSTS)).start(sock)
    ready.send("ready")
    await asyncio.Event().wait()


def server_process(kind: str, sock: socket.socket, ready: Pipe) -> None:
    uvloop.run(serve(kind, sock, ready))


class Caller(asyncio.Protocol):
    """One keep-alive connection in closed loop."""

    def __init__(self, request: bytes, counts: list[int]) -> None:
        self._request, self._counts, self._left = request, counts, 0

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        self._transport = transport
        transport.write(self._request)

    def data_received(self, data: bytes) -> None:
        # Every answer of a run has the same size; the head tells it once.
        if data.endswith(ANSWER):
            self._counts[0] += 1
            self._transport.write(self._request)


async def load(port: int, connections: int, body: int, seconds: float) -> float:
    request = (
        f"POST /v1/models/digits:predict HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\n"
        f"Authorization: Bearer {TOKEN}\r\nContent-Type: application/json\r\n"
        f"Accept: */*\r\nUser-Agent: front\r\nContent-Length: {body}\r\n\r\n"
    ).encode() + b"1" * body
    counts = [0]
    loop = asyncio.get_running_loop()
    transports = [
        (await loop.create_connection(lambda: Caller(request, counts), "127.0.0.1", port))[0]
        for _ in range(connections)
    ]
    await asyncio.sleep(0.1)
    before, start = counts[0], time.perf_counter()
    await asyncio.sleep(seconds)
    rate = (counts[0] - before) / (time.perf_counter() - start)
    for transport in transports:
        transport.abort()
    return rate


async def measure(ports: dict[str, int], args: argparse.Namespace) -> dict[str, list[float]]:
    rates: dict[str, list[float]] = {kind: [] for kind in ports}
    for _ in range(ROUNDS):
        for kind, port in ports.items():
            rates[kind].append(await load(port, args.connections, args.body, args.seconds))
    return rates


def load_process(ports: dict[str, int], args: argparse.Namespace, result: Pipe) -> None:
    result.send(uvloop.run(measure(ports, args)))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seconds", type=float, default=0.4, help="of each measurement")
    parser.add_argument("--connections", type=int, default=32)
    parser.add_argument("--body", type=int, default=6144, help="bytes of the request's body")
    args = parser.parse_args()

    context = multiprocessing.get_context("spawn")
    servers, ports = [], {}
    for kind in ("bare", "workbench"):
        sock = socket.create_server(("127.0.0.1", 0))
        ours, theirs = context.Pipe()
        server = context.Process(target=server_process, args=(kind, sock, theirs), daemon=True)
        server.start()
        if not ours.poll(20):
            raise SystemExit(f"the {kind} server did not start")
        servers.append(server)
        ports[kind] = sock.getsockname()[1]
        sock.close()

    ours, theirs = context.Pipe()
    caller = context.Process(target=load_process, args=(ports, args, theirs))
    caller.start()
    if not ours.poll(30 + 4 * ROUNDS * args.seconds):
        raise SystemExit("the load did not end")
    rates = ours.recv()
    caller.join()
    for server in servers:
        server.terminate()
        server.join()

    print(f"POST of {args.body} bytes, {args.connections} keep-alive connections, closed loop")
    for kind, values in rates.items():
        shown = " ".join(f"{value:8,.0f}" for value in values)
        print(f"  {kind:<10} {statistics.median(values):8,.0f} requests/s   (rounds: {shown})")
    ratios = [ours / bare for ours, bare in zip(rates["workbench"], rates["bare"], strict=True)]
    print(f"  ratio      {statistics.median(ratios):8.2f}")


if __name__ == "__main__":
    main()
