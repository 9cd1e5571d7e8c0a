"""The data client against a server that answers, or fails to, in every way."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest

from workbench.client.asking.data_client import DataClient, Target
from workbench.core.status import Code, ServingError
from workbench.ipc import TENSORS
from workbench.ipc.frames import decode_message, encode_message
from workbench.processes.lifetime import ProcessId
from workbench.processes.registry import Entry

Answer = Callable[[socket.socket, bytes], None]


class FakeServer:
    """Accepts connections one after the other; each request's head and body go to the next of
    `answers`, after which the connection is kept, or closed where the answer closed it."""

    def __init__(self) -> None:
        self.answers: list[Answer] = []
        self.requests: list[bytes] = []
        self.connections = 0
        self.reads_bodies = True
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        self._thread = threading.Thread(target=self._serve)
        self._thread.start()

    def stop(self) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self._thread.join(10)

    def _serve(self) -> None:
        while True:
            try:
                sock, _ = self._listener.accept()
            except OSError:
                return
            self.connections += 1
            with sock:
                sock.settimeout(10)
                self._converse(sock)

    def _converse(self, sock: socket.socket) -> None:
        while sock.fileno() >= 0:
            data = b""
            while b"\r\n\r\n" not in data:
                piece = sock.recv(65536)
                if not piece:
                    return
                data += piece
            head, _, body = data.partition(b"\r\n\r\n")
            if self.reads_bodies:
                lengths = [v for k, v in _headers(head) if k == "content-length"]
                while len(body) < int(lengths[0]):
                    body += sock.recv(65536)
            self.requests.append(head + b"\r\n\r\n" + body)
            self.answers.pop(0)(sock, body)


def _headers(head: bytes) -> list[tuple[str, str]]:
    lines = head.decode().split("\r\n")[1:]
    return [(k.lower(), v.strip()) for k, _, v in (line.partition(":") for line in lines)]


def says(status: int, body: bytes) -> Answer:
    def answer(sock: socket.socket, _: bytes) -> None:
        sock.sendall(b"HTTP/1.1 %d X\r\nContent-Length: %d\r\n\r\n" % (status, len(body)) + body)

    return answer


def doubles(sock: socket.socket, body: bytes) -> None:
    _, inputs = decode_message(body)
    says(200, encode_message({"version": 3}, {"y": inputs["x"] * 2}))(sock, body)


def hangs_up(sock: socket.socket, _: bytes) -> None:
    sock.close()


@pytest.fixture
def server() -> Iterator[FakeServer]:
    server = FakeServer()
    yield server
    server.stop()


@pytest.fixture
def client() -> Iterator[DataClient]:
    client = DataClient()
    yield client
    client.close()


def entry(port: int, token: str | None = None) -> Entry:
    me = ProcessId.me()
    return Entry("digits", me, me, "127.0.0.1", port, token, "", "")


PLAIN = Target("m", None, None, "s")


def predict(
    client: DataClient, server: FakeServer, token: str | None = None, model: str = "m", **more: Any
) -> dict[str, np.ndarray]:
    target = Target(model, more.get("version"), more.get("label"), "s")
    inputs = {"x": np.array([1.0, 2.0], np.float32)}
    return client.predict(entry(server.port, token), target, inputs, more.get("outputs", ()), "d")


def test_a_request_and_its_answer(server: FakeServer, client: DataClient) -> None:
    server.answers = [doubles]
    outputs = predict(client, server, "secret", outputs=["y"])
    assert (list(outputs), outputs["y"].tolist()) == (["y"], [2.0, 4.0])
    head, _, body = server.requests[0].partition(b"\r\n\r\n")
    assert head.startswith(b"POST /v1/models/m:predict HTTP/1.1\r\n")
    headers = dict(_headers(head))
    assert (headers["content-type"], headers["authorization"]) == (TENSORS, "Bearer secret")
    header, inputs = decode_message(body)
    assert (header["signature"], header["outputs"]) == ("s", ["y"])
    assert inputs["x"].tolist() == [1.0, 2.0]


def test_where_a_request_goes(server: FakeServer, client: DataClient) -> None:
    server.answers = [doubles] * 3
    predict(client, server, version=7)
    predict(client, server, label="a/b")
    predict(client, server, model="my model")
    lines = [request.partition(b" HTTP")[0] for request in server.requests]
    assert lines == [
        b"POST /v1/models/m/versions/7:predict",
        b"POST /v1/models/m/labels/a%2Fb:predict",
        b"POST /v1/models/my%20model:predict",
    ]
    assert "authorization" not in dict(_headers(server.requests[0].partition(b"\r\n\r\n")[0]))


def test_one_connection_is_kept_for_each_thread(server: FakeServer, client: DataClient) -> None:
    server.answers = [doubles] * 3
    predict(client, server)
    predict(client, server)
    assert server.connections == 1
    client.close()
    thread = threading.Thread(target=lambda: (predict(client, server), client.close()))
    thread.start()
    thread.join(10)
    assert server.connections == 2


@pytest.mark.parametrize(
    ("status", "code"),
    [
        (400, Code.INVALID_ARGUMENT), (401, Code.UNAUTHENTICATED), (403, Code.PERMISSION_DENIED),
        (404, Code.NOT_FOUND), (413, Code.INVALID_ARGUMENT), (429, Code.RESOURCE_EXHAUSTED),
        (499, Code.CANCELLED), (500, Code.UNKNOWN), (501, Code.UNIMPLEMENTED),
        (503, Code.UNAVAILABLE), (504, Code.DEADLINE_EXCEEDED),
    ],
)  # fmt: skip
def test_a_refusal_has_the_servers_code_and_words(
    server: FakeServer, client: DataClient, status: int, code: Code
) -> None:
    server.answers = [says(status, b'{"error": "in its words"}')]
    with pytest.raises(ServingError) as refused:
        predict(client, server)
    assert refused.value == ServingError(code, "in its words")


@pytest.mark.parametrize("body", [b"<html>", b"[]", b"{}"])
def test_a_refusal_without_words(server: FakeServer, client: DataClient, body: bytes) -> None:
    server.answers = [says(500, body)]
    with pytest.raises(ServingError) as refused:
        predict(client, server)
    assert refused.value == ServingError(Code.UNKNOWN, "HTTP status 500")


def test_a_kept_connection_that_was_closed_is_opened_again(
    server: FakeServer, client: DataClient
) -> None:
    def answers_and_closes(sock: socket.socket, body: bytes) -> None:
        doubles(sock, body)
        sock.close()

    server.answers = [answers_and_closes, doubles]
    predict(client, server)
    assert list(predict(client, server)) == ["y"]
    assert server.connections == 2


def test_a_request_that_may_have_been_looked_at_is_not_sent_again(
    server: FakeServer, client: DataClient
) -> None:
    server.answers = [hangs_up]
    with pytest.raises(ServingError) as refused:
        predict(client, server)
    assert refused.value == ServingError(
        Code.UNAVAILABLE,
        f"Server 'digits' at http://127.0.0.1:{server.port} does not answer: "
        "Remote end closed connection without response",
    )
    assert len(server.requests) == 1


def test_an_answer_that_is_no_http(server: FakeServer, client: DataClient) -> None:
    server.answers = [lambda sock, _: sock.sendall(b"hello\r\n\r\n")]
    with pytest.raises(ServingError) as refused:
        predict(client, server)
    assert refused.value.code is Code.UNAVAILABLE
    assert refused.value.message.endswith("does not answer: hello\r\n")


def test_nobody_listens(client: DataClient) -> None:
    with socket.create_server(("127.0.0.1", 0)) as sock:
        port = sock.getsockname()[1]
    with pytest.raises(ServingError) as refused:
        client.predict(entry(port), PLAIN, {}, (), "d")
    assert refused.value == ServingError(
        Code.UNAVAILABLE,
        f"Server 'digits' at http://127.0.0.1:{port} does not answer: "
        "[Errno 111] Connection refused",
    )


def test_a_large_body_that_is_refused_before_it_was_taken(
    server: FakeServer, client: DataClient
) -> None:
    def refuses(sock: socket.socket, body: bytes) -> None:
        says(413, b'{"error": "too large"}')(sock, body)
        sock.shutdown(socket.SHUT_WR)
        sock.close()

    server.reads_bodies = False
    server.answers = [refuses]
    with pytest.raises(ServingError) as refused:
        inputs = {"x": np.zeros(16_000_000, np.float32)}
        client.predict(entry(server.port), PLAIN, inputs, (), "d")
    assert refused.value == ServingError(Code.INVALID_ARGUMENT, "too large")


def test_a_connection_that_breaks_while_a_body_is_sent(
    server: FakeServer, client: DataClient
) -> None:
    server.reads_bodies = False
    server.answers = [hangs_up]
    with pytest.raises(ServingError) as refused:
        inputs = {"x": np.zeros(16_000_000, np.float32)}
        client.predict(entry(server.port), PLAIN, inputs, (), "d")
    assert refused.value.code is Code.UNAVAILABLE
    assert refused.value.message.startswith(
        f"Server 'digits' at http://127.0.0.1:{server.port} does not answer: [Errno "
    )
