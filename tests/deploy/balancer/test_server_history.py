"""What a balancer remembers of its servers, and how it is asked for it."""

from __future__ import annotations

import json
import urllib.error
import urllib.request
from typing import Any

import pytest

from workbench.deploy.balancer.haproxy_socket import ServerStatistics
from workbench.deploy.balancer.server_history import ServerHistory
from workbench.deploy.ray.balancer_agent import BalancerAgent


def report(server: str, version: int = 1) -> dict[str, Any]:
    return {"server": server, "node": "10.0.0.2", "began": 90.0, "serves": {"half": [version]}}


def counts(requests: int, failed: int = 0) -> list[ServerStatistics]:
    return [
        ServerStatistics("rest", "s1", "UP", 0, requests, failed, 0),
        ServerStatistics("grpc", "s1", "UP", 0, 10, 0, 0),
    ]


def test_a_server_that_is_gone_is_remembered_with_what_it_served() -> None:
    history = ServerHistory()
    history.saw(100.0, [report("a"), report("b")])
    history.saw(101.0, [report("a"), report("b", 2)])
    history.saw(102.0, [report("a")])
    found = {each["server"]: each for each in history.to_json()["servers"]}
    assert found["b"] == {
        "server": "b",
        "node": "10.0.0.2",
        "began": 90.0,
        "serves": [[100.0, {"half": [1]}], [101.0, {"half": [2]}]],
        "seen": 101.0,
    }
    assert found["a"]["serves"] == [[100.0, {"half": [1]}]]
    assert found["a"]["seen"] == 102.0


def test_requests_are_differences_of_haproxys_counts() -> None:
    history = ServerHistory()
    history.counted(100.0, {"a": counts(1000)})
    history.counted(101.0, {"a": counts(1005, failed=1)})
    # A time without requests has no row.
    history.counted(102.0, {"a": counts(1005, failed=1), "b": counts(1005)})
    history.counted(103.0, {"a": counts(1007, failed=1), "b": counts(1045)})
    # `b` took a place with counts of an earlier server.
    assert history.to_json()["requests"] == [
        ("a", 100.0, 101.0, 5, 1),
        ("a", 102.0, 103.0, 2, 0),
        ("b", 102.0, 103.0, 40, 0),
    ]


def test_the_memory_is_bounded() -> None:
    history = ServerHistory(rows=3)
    for second in range(300):
        history.saw(float(second), [report(f"s{second}", second), report("always", second)])
        history.counted(float(second), {"always": counts(second)})
    kept = history.to_json()
    assert [row[3] for row in kept["requests"]] == [1, 1, 1]
    assert len(kept["servers"]) == 200
    # The oldest are forgotten; one that is still there never is.
    assert {each["server"] for each in kept["servers"]} >= {"always", "s299", "s101"}
    always = next(each for each in kept["servers"] if each["server"] == "always")
    assert len(always["serves"]) == 100
    assert always["serves"][-1] == [299.0, {"half": [299]}]


def test_only_who_has_the_token_is_answered() -> None:
    history = ServerHistory()
    history.saw(100.0, [report("a")])
    agent = BalancerAgent("127.93.7.1", 8503, "right", lambda: {"servers": []}, history.to_json)
    agent.start()

    def get(path: str, token: str) -> Any:
        request = urllib.request.Request(
            f"http://127.93.7.1:8503/{path}", headers={"Authorization": f"Bearer {token}"}
        )
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        with opener.open(request, timeout=10) as response:
            return json.load(response)

    try:
        assert get("history", "right")["servers"] == [
            {**report("a"), "serves": [[100.0, {"half": [1]}]], "seen": 100.0}
        ]
        assert get("servers", "right") == {"servers": []}
        for path in ("history", "servers"):
            with pytest.raises(urllib.error.HTTPError) as refused:
                get(path, "wrong")
            assert refused.value.code == 401
            refused.value.close()
    finally:
        agent.stop()
