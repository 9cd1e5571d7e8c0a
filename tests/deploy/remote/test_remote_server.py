"""A server that is reached over TCP has the methods of one on this machine."""

from __future__ import annotations

import http.server
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.deploy.node.conftest import TOKENS, half, own  # noqa: F401
from tests.deploy.node.conftest import runtime as runtime
from workbench.core.model_settings import ModelConfig
from workbench.core.status import Code, ServingError
from workbench.deploy.node.owned_server import OwnedServer
from workbench.deploy.plan.plan import Plan, PlannedModel
from workbench.deploy.remote.ray_head import RayHead
from workbench.deploy.remote.remote_control import RemoteAddress, RemoteControl
from workbench.deploy.remote.remote_server import RemoteServer


@pytest.fixture
def remote(own: Callable[..., OwnedServer], half: Path) -> RemoteServer:  # noqa: F811
    served = own()
    config = ModelConfig("half", str(half))
    served.follow(Plan("shop", (PlannedModel(config, (1,)),)))
    return RemoteServer(RemoteControl(served.address, TOKENS.data, TOKENS.control), "half")


def test_it_is_asked_and_steered(remote: RemoteServer) -> None:
    assert remote.running
    assert remote.predict([1.0, 2.0]).tolist() == [2.5, 3.0]
    assert [v["state"] for v in remote.describe_versions().values()] == ["AVAILABLE"]
    remote.transition = "unload_first"
    assert remote.transition == "unload_first"
    assert set(remote.memory()["role"]) >= {"server", "worker"}
    assert "server_ready" in set(remote.events()["kind"])
    assert remote.status()["options"]["host"] == "127.0.0.1"
    assert "control_token" not in remote.status()["options"]
    with pytest.raises(ServingError, match="belongs to a fleet"):
        remote.stop()
    assert TOKENS.data not in repr(remote)


def test_a_server_that_has_ended(remote: RemoteServer, own: object) -> None:  # noqa: F811
    address = remote.control.address
    gone = RemoteAddress("gone", "127.0.0.1", 1, control_port=1)
    server = RemoteServer(RemoteControl(gone, TOKENS.data, TOKENS.control), "half")
    assert not server.running
    with pytest.raises(ServingError, match="'gone' does not answer at 127") as refused:
        server.describe()
    assert refused.value.code is Code.UNAVAILABLE
    wrong = RemoteServer(RemoteControl(address, TOKENS.data, "wrong"), "half")
    with pytest.raises(ServingError, match="needs its own token") as denied:
        wrong.describe()
    assert denied.value.code is Code.UNAUTHENTICATED


@pytest.fixture
def page() -> Iterator[str]:
    """A web server that is no head of a Ray cluster."""

    class Page(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(401 if self.headers["Authorization"] is None else 200)
            self.end_headers()
            self.wfile.write(b"<html>hello</html>")

        def log_message(self, *args: object) -> None:
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Page)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    thread.join()
    server.server_close()


def test_a_head_that_is_none(page: str) -> None:
    with pytest.raises(ServingError, match="is not a Ray head: its answer is not JSON"):
        RayHead(page, "token").version()
    with pytest.raises(ServingError, match="refused GET /api/version: 401") as refused:
        RayHead(page).version()
    assert refused.value.code is Code.UNAUTHENTICATED
    with pytest.raises(ServingError, match="does not answer") as away:
        RayHead("http://127.0.0.1:1").version()
    assert away.value.code is Code.UNAVAILABLE
    with pytest.raises(ServingError, match="must be the URL of its head's dashboard"):
        RayHead("10.0.0.2:6379")
