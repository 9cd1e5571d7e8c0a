"""A version that crashed, as callers over REST and gRPC see it: 503, a time, and never 404."""

from __future__ import annotations

import asyncio
import threading
import time
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.server.conftest import Answer, Planes
from tests.server.engine.versions.test_setting_aside import kill, ready
from tests.server.front.grpc.test_services import _MODEL, Client
from tests.servers import Server
from workbench.core.status import Code, ServingError, unavailable
from workbench.core.versions import quarantine
from workbench.core.versions.outage import OutOfService
from workbench.formats.wire.protobuf import field
from workbench.server.engine.versions import source
from workbench.server.engine.versions.life import revival
from workbench.server.engine.versions.model import Model

PREDICT = ("POST", "/v1/models/half:predict", {"instances": [2.0]})
SPEC = field(1, field(1, b"half"))
INPUTS = {"x": np.array([2.0], np.float32)}


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(source, "SETTLE_SECONDS", -1.0)
    monkeypatch.setattr(quarantine, "ALONE_FIRST_PAUSE_SECONDS", 1.5)
    monkeypatch.setattr(revival, "_REPLACEMENT_PAUSES", (0.0,))


def crash(server: Server, base: Path, **settings: Any) -> Model:
    """A model whose one version has been set aside."""

    async def crash() -> Model:
        model, served = await server.serve(base, "half_plus_two", name="half", **settings)
        for _ in range(3):
            await kill(server, served)
        await server.until(lambda: ready(model) is None, "it is set aside")
        return model

    return server.run(crash())


def test_it_is_shown_and_it_is_waited_for(
    server: Server, planes: Planes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(quarantine, "ALONE_FIRST_PAUSE_SECONDS", 5.0)
    model = crash(server, tmp_path / "half")
    # What has no time to wait is refused at once; this plane gives a request 50 ms.
    for path in ("", "/versions/1"):
        answer = planes.ask("POST", f"/v1/models/half{path}:predict", PREDICT[2], plane="hasty")
        assert answer.status == 503
        assert 1 <= int(answer.headers["Retry-After"]) <= 5
        assert answer.error.startswith("Version 1 of half crashed and is started again in ")
    with pytest.raises(OutOfService):
        Client(server).predict(SPEC, INPUTS, seconds=0.05)
    assert planes.ask("GET", "/v1/models/half/metadata").status == 503
    assert planes.ask("GET", "/health/ready").status == 503
    # The model is not gone.
    (status,) = planes.ask("GET", "/v1/models/half").json["model_version_status"]
    assert (status["version"], status["state"]) == ("1", "END")
    assert status["status"]["error_code"] == "UNAVAILABLE"
    assert "died 3 times within 60 s" in status["status"]["error_message"]
    told = Client(server).call(_MODEL + "GetModelStatus", "GetModelStatus",
                               model_spec={"name": "half"})  # fmt: skip
    assert [v.version for v in told.model_version_status] == [1]
    assert planes.ask("POST", "/v1/models/other:predict", PREDICT[2]).status == 404
    # What has the time is answered.
    answers: list[Any] = []
    asked = [
        lambda: planes.ask(*PREDICT),
        lambda: planes.ask("POST", "/v1/models/half/versions/1:predict", PREDICT[2]),
        lambda: planes.ask("POST", "/v1/models/half:predict", {"instances": [2.0] * 40_000}),
        lambda: Client(server).predict(SPEC, INPUTS, seconds=20.0)[0]["y"].tolist(),
        lambda: Client(server).predict(SPEC, INPUTS)[0]["y"].tolist(),
    ]
    callers = [
        threading.Thread(target=lambda ask=ask: answers.append(ask()))  # type: ignore[misc]
        for ask in asked
    ]
    for caller in callers:
        caller.start()
    planes.until(lambda: len(model.held) == 5 or ready(model) == 1, "they are held")
    assert ready(model) is None
    for caller in callers:
        caller.join(60)
    rest = [answer for answer in answers if isinstance(answer, Answer)]
    assert sorted((a.status, len(a.json["predictions"])) for a in rest) == [
        (200, 1), (200, 1), (200, 40_000),
    ]  # fmt: skip
    assert [a for a in answers if not isinstance(a, Answer)] == [[3.0], [3.0]]
    assert planes.ask("GET", "/v1/models/half/metadata").status == 200


def test_who_waits_is_told_when_the_next_attempt_fails(
    server: Server, planes: Planes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = crash(server, tmp_path / "half", max_load_retries=0)
    # The next pause is the longest.
    model.failing[1].doublings = 10

    async def fail(*_: Any) -> Any:
        raise unavailable("no luck")

    monkeypatch.setattr(server.core.manager.loader, "load", fail)
    began = time.monotonic()
    answer = planes.ask(*PREDICT)
    assert time.monotonic() - began < 15
    assert (answer.status, answer.headers["Retry-After"]) == (503, "30")
    assert answer.error == "Version 1 of half crashed and is started again in 30.0 s: no luck"


def test_a_request_that_waits_too_long_hears_of_its_own_time(
    server: Server, planes: Planes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The next start takes longer than the last one did."""
    model = crash(server, tmp_path / "half")
    original = server.core.manager.loader.load
    release = threading.Event()

    async def late(*arguments: Any) -> Any:
        while not release.is_set():
            await asyncio.sleep(0.05)
        return await original(*arguments)

    monkeypatch.setattr(server.core.manager.loader, "load", late)
    try:
        with pytest.raises(ServingError) as raised:
            Client(server).predict(SPEC, INPUTS, seconds=3.0)
        assert raised.value.code is Code.DEADLINE_EXCEEDED
        # Now it is known to be late.
        answer = planes.ask(*PREDICT, plane="hasty")
        assert answer.status == 503
        assert "and is being started again, which takes about" in answer.error
    finally:
        release.set()
    planes.until(lambda: ready(model) == 1, "it is back")


def test_a_poison_input_among_callers_of_both_interfaces(
    server: Server, planes: Planes, tmp_path: Path
) -> None:
    async def serve() -> None:
        await server.serve(tmp_path / "half", "aborts", name="half")

    server.run(serve())
    outcomes: Counter[Any] = Counter()
    refusals: list[tuple[int, str]] = []
    stop = threading.Event()

    def rest(number: int) -> None:
        for step in range(40):
            x = 100.0 * number + step
            answer = planes.ask("POST", "/v1/models/half:predict", {"instances": [x]})
            right = answer.status == 200 and answer.json == {"predictions": [x / 2 + 2]}
            outcomes["fine" if right else (answer.status, answer.body)] += 1

    def grpc(number: int) -> None:
        client = Client(server)
        for step in range(40):
            x = 100.0 * number + step
            try:
                tensors, _ = client.predict(SPEC, {"x": np.array([x], np.float32)}, seconds=30.0)
                outcomes["fine" if tensors["y"].tolist() == [x / 2 + 2] else "wrong"] += 1
            except ServingError as error:
                outcomes[repr(error)] += 1

    def poisoner() -> None:
        while not stop.is_set() or len(refusals) < 4:
            answer = planes.ask("POST", "/v1/models/half:predict", {"instances": [13.0]})
            refusals.append((answer.status, answer.error))
            time.sleep(0.02)

    callers = [threading.Thread(target=rest, args=(n,)) for n in range(1, 4)]
    callers += [threading.Thread(target=grpc, args=(n,)) for n in range(4, 7)]
    bad = threading.Thread(target=poisoner)
    for thread in (*callers, bad):
        thread.start()
    for thread in callers:
        thread.join(100)
    stop.set()
    bad.join(60)
    assert outcomes == {"fine": 6 * 40}
    # The first request met two crashes; the third crash is the last.
    assert refusals[0][0] == 503
    assert {status for status, _ in refusals[1:]} == {400}
    assert all("it is refused until the version is loaded again" in e for _, e in refusals[1:])
    exits = [e for e in server.events() if e.kind == "worker_exited"]
    assert len(exits) == 3
