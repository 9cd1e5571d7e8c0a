"""Versions beyond 2^53 - 1 pass through Jupyter Server to the digit, there and back."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from tornado.httpclient import HTTPClientError

import workbench as wb

LAST = 2**63 - 1
BEFORE = LAST - 1
NAME = "exact"
MODEL = f"workbench/api/servers/{NAME}/models/{NAME}"


@pytest.fixture
def served(jp_environ: None, models: Path, tmp_path: Path) -> Iterator[wb.Server]:
    for version in (BEFORE, LAST):
        shutil.copytree(models / "half_plus_two", tmp_path / "base" / str(version))
    with wb.serve(tmp_path / "base", NAME, version_policy="all") as server:
        server.wait_for(BEFORE)
        yield server
    assert wb.servers() == []


async def test_versions_pass_through(jp_fetch: Any, served: wb.Server) -> None:
    async def ask(route: str, method: str = "GET", body: Any = None) -> Any:
        text = None if body is None else json.dumps(body)
        answer = (await jp_fetch(route, method=method, body=text)).body
        # A page reads every number as a double.
        return json.loads(answer, parse_int=float)

    both = [str(LAST), str(BEFORE)]
    assert [v["version"] for v in (await ask(f"{MODEL}/versions"))["versions"]] == both
    assert [v["version"] for v in (await ask(MODEL))["versions"]] == both
    (listed,) = (await ask("workbench/api/servers"))["servers"]
    assert [v["version"] for v in listed["models"][0]["versions"]] == both
    ledger = await ask(f"workbench/api/servers/{NAME}/memory")
    parts = ledger["devices"][0]["parts"]
    assert {p["version"] for p in parts if p["version"] is not None} == set(both)
    log = await ask(f"workbench/api/servers/{NAME}/events")
    assert {e["version"] for e in log["events"] if "version" in e} >= set(both)

    labels = {"new": str(LAST), "old": str(BEFORE)}
    told = await ask(MODEL, "PATCH", {"labels": labels})
    assert told["message"] == f"new is version {LAST}, old is version {BEFORE}."
    assert served.labels == {"new": LAST, "old": BEFORE}
    assert (await ask(MODEL))["labels"] == labels
    told = await ask(f"{MODEL}/rollback", "POST", {"to": str(BEFORE)})
    assert told["message"].startswith(f"Version {BEFORE} serves again")
    assert served.versions.available == [BEFORE]
    with pytest.raises(HTTPClientError) as refused:
        await ask(f"{MODEL}/rollback", "POST", {"to": str(2**63)})
    assert refused.value.response is not None
    assert json.loads(refused.value.response.body)["message"] == (
        f"'to' must be a version's number; was '{2**63}'"
    )


async def test_a_model_whose_name_has_a_slash(
    http_server_client: Any, jp_base_url: str, jp_auth_header: Any, served: wb.Server
) -> None:
    served.control.put_model("a/b", {"base_path": str(served.base_path), "version_policy": "all"})
    other = wb.Server(NAME, "a/b")
    other.wait_for(LAST)
    assert other.predict([2.0], version=LAST).tolist() == [3.0]  # type: ignore[union-attr]
    assert other.url.endswith("/v1/models/a%2Fb")
    path = f"{jp_base_url}workbench/api/servers/{NAME}/models/a%2Fb/versions"
    answer = await http_server_client.fetch(path, headers=jp_auth_header)
    assert len(json.loads(answer.body)["versions"]) == 2
