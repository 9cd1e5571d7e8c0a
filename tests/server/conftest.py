"""The data plane and the control plane, attached to the session's server, over real sockets."""

from __future__ import annotations

import asyncio
import http.client
import json
import socket
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from tests.servers import Server
from workbench.core.versions.version_policy import VersionPolicy
from workbench.server.control.control_plane import ControlPlane
from workbench.server.front.access import LOOPBACK_HOSTS, AccessPolicy
from workbench.server.front.codec.converter import CodecProcess
from workbench.server.front.http.listener import HttpServer
from workbench.server.front.rest.rest import RestApi

TOKEN = "a-token-for-tests"
_ANSWER_SECONDS = 60.0


class Answer(NamedTuple):
    status: int
    headers: Mapping[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)

    @property
    def error(self) -> str:
        """The message of a refusal, in TensorFlow Serving's layout."""
        assert list(self.json) == ["error"]
        return str(self.json["error"])


class UnixConnection(http.client.HTTPConnection):
    def __init__(self, path: str) -> None:
        super().__init__("localhost", timeout=_ANSWER_SECONDS)
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(self.timeout)
        self.sock.connect(self._path)


class Planes:
    """Both planes of a server, and one way to ask each.

    `rest`, `hasty` (whose requests time out after 50 ms, and which web pages may call) and
    `guarded` (which wants `TOKEN`) are data planes of the same core.
    """

    def __init__(self, server: Server, folder: Path) -> None:
        self.server = server
        self.socket = str(folder / "control.sock")
        self.changes = 0
        self.shutdowns: list[str] = []
        self.ports: dict[str, int] = {}

    async def start(self) -> None:
        core = self.server.core
        self.codec = CodecProcess()
        self.rest = RestApi(core.manager, core.scheduler, self.codec)
        hasty = RestApi(core.manager, core.scheduler, self.codec, timeout_seconds=0.05)
        self._https = {
            "rest": HttpServer(self.rest),
            "hasty": HttpServer(hasty, access=AccessPolicy(allowed_origins={"*"})),
            "guarded": HttpServer(self.rest, access=AccessPolicy(TOKEN, LOOPBACK_HOSTS)),
        }
        for name, http_server in self._https.items():
            sock = socket.create_server(("127.0.0.1", 0))
            self.ports[name] = sock.getsockname()[1]
            await http_server.start(sock)
        self.control_plane = ControlPlane(
            core, lambda: {"name": "test"}, self._changed, self.shutdowns.append
        )
        self.control_plane.start(self.socket)

    async def stop(self) -> None:
        for http_server in self._https.values():
            await http_server.stop(0)
        await self.codec.close()
        await self.control_plane.stop()

    def _changed(self) -> None:
        self.changes += 1

    def ask(
        self,
        method: str,
        target: str,
        body: Any = None,
        headers: Mapping[str, str] | None = None,
        plane: str = "rest",
    ) -> Answer:
        """One request to a data plane; `body` is sent as JSON unless it is bytes."""
        connection = http.client.HTTPConnection(
            "127.0.0.1", self.ports[plane], timeout=_ANSWER_SECONDS
        )
        return _exchange(connection, method, target, body, headers or {})

    def control(self, method: str, target: str, body: Any = None) -> Answer:
        """One request to the control plane."""
        return _exchange(UnixConnection(self.socket), method, target, body, {})

    def connect(self, plane: str = "rest") -> socket.socket:
        return socket.create_connection(("127.0.0.1", self.ports[plane]), timeout=_ANSWER_SECONDS)

    def until(self, holds: Any, what: str) -> None:
        self.server.run(self.server.until(holds, what))


def _exchange(
    connection: http.client.HTTPConnection,
    method: str,
    target: str,
    body: Any,
    headers: Mapping[str, str],
) -> Answer:
    if body is not None and not isinstance(body, bytes):
        body = json.dumps(body).encode()
    try:
        connection.request(method, target, body, dict(headers))
        response = connection.getresponse()
        return Answer(response.status, dict(response.getheaders()), response.read())
    finally:
        connection.close()


@pytest.fixture(scope="session")
def planes(shared_server: Server, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Planes]:
    planes = Planes(shared_server, tmp_path_factory.mktemp("control"))
    shared_server.run(planes.start())
    try:
        yield planes
    finally:
        shared_server.run(asyncio.wait_for(planes.stop(), 20))


@pytest.fixture(scope="module")
def catalog(shared_server: Server, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """The server with models to ask, each under its export's name; `half` has two versions
    (x/2 + 2 and x/2 + 3) and the labels `stable` and `new`; `broken` cannot load its second."""
    folder = tmp_path_factory.mktemp("catalog")

    async def serve() -> None:
        for name in ("text", "multi", "rows", "slow", "identity", "digits", "counter"):
            shared_server.put(folder / name, 1, name)
            shared_server.set_model(name, folder / name)
        for name, second in (("half", "half_plus_three"), ("broken", "bad_graph")):
            shared_server.put(folder / name, 1, "half_plus_two")
            shared_server.put(folder / name, 2, second)
        everything = VersionPolicy("all")
        labels = {"stable": 1, "new": 2, "future": 3}
        shared_server.set_model("half", folder / "half", version_policy=everything, labels=labels)
        shared_server.set_model("broken", folder / "broken", version_policy=everything)
        for name in shared_server.core.manager.models:
            await shared_server.available(name, 1)
        await shared_server.available("half", 2)
        broken = shared_server.core.manager.models["broken"]
        await shared_server.until(
            lambda: broken.versions[2].harness.error is not None, "the broken version has failed"
        )

    shared_server.run(serve())
    yield shared_server
    shared_server.clear()
