"""The token is where it must be and nowhere else, whatever has gone wrong meanwhile."""

from __future__ import annotations

import http.client
import json
import os
import signal
import stat
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import grpc
import pytest

import workbench as wb
from tests.security.house import NAME, House, house
from workbench.core.status import ServingError
from workbench.processes import registry
from workbench.processes.lifetime import ProcessId
from workbench.processes.server_options import ServerOptions, StartRequest
from workbench.server.supervision.server_spec import ServerSpec

TOKEN = "MARKED-token-that-must-not-be-seen-4711"
WAIT_SECONDS = 60.0


@pytest.fixture(scope="module")
def guarded(models: Path) -> Iterator[House]:
    with house(models, TOKEN) as opened:
        cause_trouble(opened)
        yield opened


def until(holds: Callable[[], Any], what: str) -> None:
    end = time.monotonic() + WAIT_SECONDS
    while not holds():
        assert time.monotonic() < end, f"waited in vain until {what}"
        time.sleep(0.05)


def ask(method: str, target: str, headers: dict[str, str], body: bytes | None = None) -> int:
    entry = registry.find(NAME)
    connection = http.client.HTTPConnection(entry.host, entry.port, timeout=WAIT_SECONDS)
    try:
        connection.request(method, target, body, headers)
        response = connection.getresponse()
        answer = response.read() + str(response.getheaders()).encode()
        assert TOKEN.encode() not in answer, (method, target, answer)
        return response.status
    finally:
        connection.close()


def cause_trouble(opened: House) -> None:
    """Refusals of every kind, deaths of every kind, and versions that cannot be loaded."""
    right = {"Authorization": f"Bearer {TOKEN}"}
    assert ask("GET", "/v1/models", right) == 200
    assert ask("GET", "/v1/models", {}) == 401
    assert ask("GET", "/v1/models", {"X-Workbench-Token": TOKEN}) == 200
    assert ask("GET", "/v1/models", {"X-Workbench-Token": f"{TOKEN}x"}) == 401
    assert ask("GET", "/v1/models", {"X-Workbench-Token": TOKEN, "Host": "evil.example"}) == 403
    assert ask("GET", "/v1/models", {"Authorization": f"Bearer {TOKEN}x"}) == 401
    assert ask("GET", "/v1/models", {**right, "Host": "evil.example"}) == 403
    assert ask("GET", "/v1/models", {**right, "Origin": "https://evil.example"}) == 403
    assert ask("POST", f"/v1/models/{NAME}:predict", right, b"not json") == 400
    assert ask("POST", f"/v1/models/{NAME}:predict", right, b'{"inputs": "text"}') == 400
    assert ask("GET", "/v1/models/nothing", right) == 404
    assert ask("GET", "/" + "x" * 70_000, right) == 431
    assert ask("TRACE", "/v1/models", right) == 501
    assert ask("GET", "/monitoring/prometheus/metrics", right) == 200
    entry = registry.find(NAME)
    with grpc.insecure_channel(str(entry.grpc_address)) as channel:
        predict = channel.unary_unary("/tensorflow.serving.PredictionService/Predict")
        for metadata in (
            [],
            [("authorization", f"Bearer {TOKEN}")],
            [("authorization", TOKEN)],
            [("x-workbench-token", TOKEN)],
            [("x-workbench-token", f"{TOKEN}x")],
        ):
            error = predict.future(b"\xff", metadata=metadata, timeout=WAIT_SECONDS).exception()
            assert TOKEN not in str(error).replace(str(metadata), "")
    for role in ("worker", "zygote", "server"):
        pids = {sample["role"]: sample["pid"] for sample in memory(opened)}
        os.kill(int(pids[role]), signal.SIGKILL)
        until(lambda: answers(opened), f"the {role} has been replaced")
    for model in ("bad_graph", "corrupt"):
        with pytest.raises(ServingError) as refused:
            opened.server.publish(str(opened.models / model))
        assert TOKEN not in str(refused.value)


def memory(opened: House) -> list[dict[str, Any]]:
    samples: list[dict[str, Any]] = opened.server.control.memory()
    return samples


def answers(opened: House) -> bool:
    try:
        return bool(opened.server.predict([1.0]).tolist() == [2.5])  # type: ignore[union-attr]
    except ServingError:
        return False


def test_no_file_but_the_private_ones_has_it(guarded: House) -> None:
    holders = {p.name: p for p in guarded.files() if p.is_file() and holds(p)}
    # The entry, from which the user's own clients know it.
    assert set(holders) == {f"workbench-{NAME}.json"}
    for path in guarded.files():
        assert stat.S_IMODE(path.lstat().st_mode) & 0o077 == 0 or is_model(path), path
    folder = guarded.runtime / f"workbench-{NAME}"
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    assert {"server.log", "events.jsonl", "desired.json"} <= {p.name for p in folder.iterdir()}


def holds(path: Path) -> bool:
    return TOKEN.encode() in path.read_bytes()


def is_model(path: Path) -> bool:
    """A published model lies in the private folder; its own files are as they were copied."""
    return "models" in path.parts or path.name in ("saved_model.pb",) or "variables" in path.parts


def test_the_control_plane_does_not_tell_it(guarded: House) -> None:
    control = guarded.server.control
    told = [control.describe_server(), control.describe_models(), control.memory()]
    events = control.events()
    assert len(events["events"]) > 20
    assert TOKEN not in json.dumps([*told, events])
    with pytest.raises(ServingError) as unknown:
        control.describe_model("nothing")
    assert TOKEN not in str(unknown.value)


def test_no_command_line_and_no_environment_has_it(guarded: House) -> None:
    ours = {process.pid for process in guarded.tree()}
    assert len(ours) >= 4  # supervisor, server, zygote, worker
    seen = set()
    for pid in filter(str.isdigit, os.listdir("/proc")):
        try:
            line = Path(f"/proc/{pid}/cmdline").read_bytes()
            environment = Path(f"/proc/{pid}/environ").read_bytes()
        except OSError:
            continue
        assert TOKEN.encode() not in line, line
        assert TOKEN.encode() not in environment, (pid, line)
        seen.add(int(pid))
    missing = [f"{p} {p.parent()}" for p in guarded.tree() if p.pid in ours - seen]
    # What has ended meanwhile has nothing to show; what is there must have been looked at.
    assert missing == []


def test_nothing_shows_it_of_itself(guarded: House) -> None:
    entry = registry.find(NAME)
    assert entry.token == TOKEN
    me = ProcessId.me()
    shown = [
        repr(guarded.server),
        str(guarded.server),
        repr(guarded.server.versions),
        repr(guarded.server.outcome),
        repr(entry),
        repr(wb.servers()),
        repr(wb.connect(NAME)),
        repr(StartRequest(ServerOptions(NAME, token=TOKEN))),
        repr(ServerSpec(ServerOptions(NAME, token=TOKEN), "/f", "/s", me)),
        guarded.server._repr_html_(),
    ]
    assert [text for text in shown if TOKEN in text] == []
