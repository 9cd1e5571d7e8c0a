"""A server of a fleet follows plans, keeps what it had when it cannot, and ends with its owner."""

from __future__ import annotations

import json
import shutil
import signal
import subprocess
import sys
import threading
import time
import urllib.request
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import psutil
import pytest

from tests.deploy.node.conftest import TOKENS
from workbench.core.batching.parameters import BatchingParameters
from workbench.core.model_settings import ModelConfig
from workbench.core.status import Code, ServingError
from workbench.core.versions.version_policy import VersionPolicy
from workbench.deploy.node.fleet_secret import SECRET_VARIABLE, tokens_here, tokens_of
from workbench.deploy.node.owned_server import OwnedServer
from workbench.deploy.plan.plan import Plan, PlannedModel
from workbench.deploy.plan.plan_differences import differences

Own = Callable[..., OwnedServer]


def plan_of(folder: Path, versions: tuple[int, ...], **settings: object) -> Plan:
    config = ModelConfig("half", str(folder), **settings)  # type: ignore[arg-type]
    return Plan("shop", (PlannedModel(config, versions),))


def status(server: OwnedServer) -> dict[str, object]:
    return {**server.control.describe_server(), "models": server.control.describe_models()}


def ask(server: OwnedServer, path: str = "", token: str = TOKENS.data) -> float:
    address = server.address
    request = urllib.request.Request(
        f"http://{address.host}:{address.rest_port}/v1/models/half{path}:predict",
        json.dumps({"instances": [1.0]}).encode(),
        {"Authorization": f"Bearer {token}"},
    )
    with urllib.request.urlopen(request, timeout=20) as response:
        answer: float = json.load(response)["predictions"][0]
        return answer


@pytest.mark.parametrize("transition", ["smooth", "unload_first", "staged+hold"])
def test_it_follows_one_plan_after_another(own: Own, half: Path, transition: str) -> None:
    server = own()
    batching = BatchingParameters(max_batch_size=16, batch_timeout_micros=100)
    plans = (
        plan_of(half, (1,), transition=transition, labels={"stable": 1}),
        plan_of(half, (2,), transition=transition, labels={"stable": 2}, batching=batching),
        plan_of(half, (1, 2), transition=transition, labels={"stable": 1, "new": 2}),
        plan_of(half, (1,), transition="smooth", hang_seconds=30.0),
    )
    for plan, answer in zip(plans, (2.5, 3.5, 3.5, 2.5), strict=True):
        server.follow(plan)
        assert differences(plan, status(server)) == []
        assert ask(server) == answer
    # The same plan again changes nothing.
    last = server.control.describe_server()["last_seq"]
    server.follow(plans[-1])
    assert server.control.describe_server()["last_seq"] == last


def test_a_labelled_request_finds_its_version_at_every_moment(own: Own, half: Path) -> None:
    server = own()
    server.follow(plan_of(half, (1,), labels={"stable": 1}))
    answers: list[float] = []
    done = threading.Event()

    def caller() -> None:
        while not done.is_set():
            answers.append(ask(server, "/labels/stable"))

    thread = threading.Thread(target=caller)
    thread.start()
    for version in (2, 1, 2):
        server.follow(plan_of(half, (version,), labels={"stable": version}))
    done.set()
    thread.join()
    # A request that failed would have ended the thread, and the last answers would be missing.
    assert answers[-1] == 3.5
    assert set(answers) == {2.5, 3.5}


@pytest.mark.parametrize("transition", ["smooth", "unload_first"])
def test_a_broken_version_leaves_everything_as_it_was(
    own: Own, half: Path, transition: str
) -> None:
    server = own()
    good = plan_of(half, (1,), transition=transition, labels={"stable": 1})
    server.follow(good)
    broken = plan_of(half, (3,), transition=transition, labels={"stable": 3})
    with pytest.raises(ServingError, match="Version 3 of half did not load"):
        server.follow(broken)
    deadline = time.monotonic() + 30
    while differences(good, status(server)) and time.monotonic() < deadline:
        time.sleep(0.1)
    assert differences(good, status(server)) == []
    assert ask(server, "/labels/stable") == 2.5


def test_a_folder_that_this_node_does_not_see(own: Own, half: Path) -> None:
    server = own()
    server.follow(plan_of(half, (1,)))
    with pytest.raises(ServingError, match=r"no version 9 of half in .* every node") as refused:
        server.follow(plan_of(half, (9,)))
    assert refused.value.code is Code.NOT_FOUND
    assert ask(server) == 2.5


def test_models_come_and_go(own: Own, half: Path, models: Path) -> None:
    server = own()
    one = plan_of(half, (1,))
    second = PlannedModel(replace(one.models[0].config, name="other"), (2,))
    server.follow(replace(one, models=(*one.models, second), options={"num_batch_threads": 3}))
    found = {m["name"]: m["version_policy"] for m in server.control.describe_models()}
    # A folder that gets one more version changes nothing by itself.
    assert found == {"half": {"specific": [1]}, "other": {"specific": [2]}}
    assert server.control.describe_server()["num_batch_threads"] == 3
    server.follow(one)
    assert [m["name"] for m in server.control.describe_models()] == ["half"]


def test_a_new_model_that_cannot_be_loaded_is_not_kept(own: Own, half: Path) -> None:
    server = own()
    with pytest.raises(ServingError, match="Version 3 of half did not load"):
        server.follow(plan_of(half, (3,)))
    assert server.control.describe_models() == []


def test_a_plan_that_is_not_wanted_any_more_is_abandoned(
    own: Own, half: Path, models: Path
) -> None:
    shutil.copytree(models / "never_loads", half / "4")
    server = own()
    server.follow(plan_of(half, (1,)))
    with pytest.raises(ServingError, match="Version 4 of half is not wanted any more"):
        server.follow(plan_of(half, (4,)), abandoned=lambda: True)
    assert ask(server) == 2.5
    server.follow(plan_of(half, (2,)))
    assert ask(server) == 3.5


def test_both_planes_need_their_own_token(own: Own, half: Path) -> None:
    server = own()
    server.follow(plan_of(half, (1,)))
    with pytest.raises(urllib.error.HTTPError, match="401"):
        ask(server, token=TOKENS.control)
    url = f"http://127.0.0.1:{server.address.control_port}"
    for token, path in (("", "/server"), (TOKENS.data, "/server"), (TOKENS.data, "/nothing")):
        request = urllib.request.Request(url + path, headers={"Authorization": f"Bearer {token}"})
        with pytest.raises(urllib.error.HTTPError, match="401") as refused:
            urllib.request.urlopen(request, timeout=5)
        refused.value.close()
    stream = urllib.request.Request(
        f"{url}/events/stream",
        headers={
            "Upgrade": "websocket", "Connection": "Upgrade", "Sec-WebSocket-Version": "13",
            "Sec-WebSocket-Key": "dGhlIHNhbXBsZSBub25jZQ==",
        },
    )  # fmt: skip
    with pytest.raises(urllib.error.HTTPError, match="401") as refused:
        urllib.request.urlopen(stream, timeout=5)
    refused.value.close()


def test_counts_are_what_was_asked(own: Own, half: Path) -> None:
    server = own()
    server.follow(plan_of(half, (1,)))
    for _ in range(3):
        ask(server)
    counts = server.counts()
    assert (counts["answered"], counts["failed"], counts["rejected"]) == (3, 0, 0)


_OWNER = """
import sys
from tests.deploy.node.conftest import TOKENS
from workbench.deploy.node.owned_server import OwnedServer
server = OwnedServer("shop-owned", "127.0.0.1", TOKENS, {})
print(server.address.rest_port, flush=True)
sys.stdin.read()
"""


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
def test_nothing_outlives_the_owner(runtime: Path, number: signal.Signals) -> None:
    owner = subprocess.Popen(
        [sys.executable, "-c", _OWNER], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    assert owner.stdout is not None
    assert owner.stdin is not None
    assert owner.stdout.readline().strip().isdigit()
    family = psutil.Process(owner.pid).children(recursive=True)
    assert len(family) >= 2
    owner.send_signal(number)
    owner.wait(10)
    _, alive = psutil.wait_procs(family, timeout=10)
    assert alive == []
    owner.stdin.close()
    owner.stdout.close()


def test_tokens_of_a_fleet(monkeypatch: pytest.MonkeyPatch) -> None:
    tokens = tokens_of("s", "shop")
    others = {tokens_of("s", "other").data, tokens_of("t", "shop").data, tokens.control}
    assert tokens.data not in others
    assert len(tokens.data) == 64
    assert tokens.data not in repr(tokens)
    monkeypatch.setenv(SECRET_VARIABLE, "s")
    assert tokens_here("shop") == tokens
    monkeypatch.delenv(SECRET_VARIABLE)
    with pytest.raises(ServingError, match=SECRET_VARIABLE):
        tokens_here("shop")


def test_a_plan_pins_its_versions(half: Path) -> None:
    policy = plan_of(half, (2, 1)).models[0].pinned.version_policy
    assert policy == VersionPolicy("specific", versions=(1, 2))
