"""A server behind a hub's proxy: called by the hub's name, with the token in its own header."""

from __future__ import annotations

import http.client
import json
import os
import signal
import time
from pathlib import Path

import pytest

import workbench as wb
from workbench.core.status import Code, ServingError
from workbench.processes import registry
from workbench.processes.hosts import host_names

HUB = "hub.example.org"


def ask(server: wb.Server, host: str, headers: dict[str, str]) -> int:
    entry = registry.find(server.name)
    connection = http.client.HTTPConnection(entry.host, entry.port, timeout=30)
    try:
        body = json.dumps({"instances": [2.0]})
        connection.request("POST", "/v1/models/hubbed:predict", body, {"Host": host, **headers})
        return connection.getresponse().status
    finally:
        connection.close()


def check(server: wb.Server) -> None:
    through_hub = {"Authorization": "token of-the-hub", "X-Workbench-Token": str(server.token)}
    assert ask(server, HUB, through_hub) == 200
    assert ask(server, f"{HUB.upper()}:443", through_hub) == 200
    assert ask(server, "localhost", through_hub) == 200
    assert ask(server, "evil.example", through_hub) == 403
    assert ask(server, HUB, {"Authorization": "token of-the-hub"}) == 401


def test_a_server_behind_a_hub(runtime: Path, models: Path) -> None:
    path = models / "half_plus_two"
    with wb.serve(path, "hubbed", allowed_hosts=[HUB]) as server:
        check(server)
        before = registry.find("hubbed")
        assert before.allowed_hosts == (HUB,)
        os.kill(before.server.pid, signal.SIGKILL)
        end = time.monotonic() + 60
        while registry.find("hubbed").server == before.server or not _answers(server):
            assert time.monotonic() < end, "the server process was not replaced"
            time.sleep(0.05)
        check(server)

        again = wb.serve(path, "hubbed", allowed_hosts=[HUB])
        assert "keeps its" not in str(again.outcome)
        other = wb.serve(path, "hubbed", allowed_hosts=["other.example.org"])
        assert str(other.outcome).endswith(
            f"a running server keeps its allowed_hosts (they are: {HUB}): stop it first to change "
            "that"
        )
        assert str(server.token) not in (Path(before.folder) / "server.log").read_text()


def _answers(server: wb.Server) -> bool:
    try:
        return bool(server.versions.available)
    except ServingError:
        return False


@pytest.mark.parametrize(
    "given",
    ["hub.example.org", b"hub", 5, ["https://hub"], ["hub:443"], ["hub/x"], [""], [None], ["büro"]],
)
def test_what_is_no_list_of_host_names_is_refused_before_a_server_starts(
    runtime: Path, models: Path, given: object
) -> None:
    with pytest.raises(ServingError) as refused:
        wb.serve(models / "half_plus_two", "unborn", allowed_hosts=given)  # type: ignore[arg-type]
    assert refused.value.code is Code.INVALID_ARGUMENT
    assert refused.value.message.startswith("allowed_hosts must ")
    shown = given[0] if isinstance(given, list) else given
    assert refused.value.message.endswith(f"; was {shown!r}")
    assert registry.read("unborn") is None


def test_host_names() -> None:
    names = ["hub.example.org", "10.0.0.7", "[fd00::7]", "a", "*"]
    assert host_names(names) == tuple(names)
