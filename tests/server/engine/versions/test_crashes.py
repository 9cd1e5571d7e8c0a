"""Versions that crash: nobody hears that the model does not exist, requests wait, and an input that
crashes the worker is found and refused.

The model `aborts` is x / 2 + 2, and an operation in it ends the process where x is 13.
"""

from __future__ import annotations

import asyncio
import os
import re
import signal
import threading
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.server.engine.versions.test_manager import KILLED, kinds
from tests.server.engine.versions.test_setting_aside import kill, ready
from tests.servers import WAIT_SECONDS, Server, floats
from workbench.core.batching.merging import Merging
from workbench.core.batching.parameters import BatchingParameters
from workbench.core.events import Event, log_line
from workbench.core.status import Code, ServingError
from workbench.core.versions import quarantine
from workbench.core.versions.outage import OutOfService
from workbench.core.versions.states import PublicState
from workbench.server.engine.batching.digests import LARGE_BYTES, digest_of
from workbench.server.engine.versions import source
from workbench.server.engine.versions.life import revival
from workbench.server.engine.versions.model import Model
from workbench.server.engine.workers.worker_handle import WORKER_LOST

POISON = {"x": floats(13)}


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(source, "SETTLE_SECONDS", -1.0)
    monkeypatch.setattr(quarantine, "ALONE_FIRST_PAUSE_SECONDS", 0.5)
    monkeypatch.setattr(revival, "_REPLACEMENT_PAUSES", (0.0,))


async def outcome(server: Server, inputs: dict[str, Any], name: str = "m") -> Any:
    """The answer to a request, or what it was refused with, be it at once."""
    try:
        return (await server.predict(name, inputs))["y"].tolist()
    except ServingError as error:
        return error


async def wait_until_back(server: Server, model: Model) -> None:
    await server.until(lambda: model.ready is not None, "it serves")


def told(events: list[Event], kind: str) -> list[Any]:
    return [event.data for event in events if event.kind == kind]


def exits(server: Server, first: int) -> int:
    return kinds(server.events(first)).count("worker_exited")


# Nothing serves.


def test_a_version_that_is_set_aside_alone_is_unavailable_and_not_absent(
    server: Server, tmp_path: Path
) -> None:
    async def test() -> None:
        model, served = await server.serve(tmp_path / "m", "half_plus_two")
        for _ in range(3):
            await kill(server, served)
        await server.until(lambda: ready(model) is None, "it is set aside")
        manager = server.core.manager
        for version in (None, 1):
            with pytest.raises(OutOfService) as raised:
                manager.find("m", version)
            assert raised.value.code is Code.UNAVAILABLE
            assert raised.value.retry_after_seconds == 1
            assert re.fullmatch(
                r"Version 1 of m crashed and is started again in 0\.\d s: Its worker process died "
                "3 times within 60 s, last: " + re.escape(KILLED),
                raised.value.message,
            )
        # The status goes on showing it.
        (shown,) = manager.status("m")
        assert shown.harness.public_state is PublicState.END
        assert shown.harness.error is not None
        (outage,) = model.to_json()["outages"]
        assert (outage["version"], outage["retry_after_seconds"]) == (1, 1)
        assert set(outage["signatures"]) >= {"serving_default"}
        # Also while it is being started.
        await server.until(lambda: bool(model.versions) and model.failing[1].until is None, "begun")
        while model.ready is None:
            with pytest.raises(OutOfService, match="and is being started again, which takes about"):
                manager.find("m")
            (outage,) = model.to_json()["outages"]
            assert set(outage["signatures"]) >= {"serving_default"}
            await asyncio.sleep(0.01)
        assert model.to_json()["outages"] == []
        with pytest.raises(ServingError) as absent:
            manager.find("m", 7)
        assert absent.value.code is Code.NOT_FOUND

    server.run(test())


def test_idle_deaths_do_not_lengthen_the_pause(server: Server, tmp_path: Path) -> None:
    async def test() -> None:
        model, served = await server.serve(tmp_path / "m", "half_plus_two")
        first = server.core.events.last_seq
        for _ in range(3):
            await kill(server, served)
        for _ in range(2):
            await server.until(lambda: ready(model) is None, "it is set aside")
            await wait_until_back(server, model)
            await kill(server, model.versions[1])
        await server.until(lambda: ready(model) is None, "it is set aside")
        pauses = [data["seconds"] for data in told(server.events(first), "quarantined")]
        assert pauses == pytest.approx([0.5, 0.5, 0.5])
        await wait_until_back(server, model)

    server.run(test())


def test_crashes_at_work_lengthen_the_pause(server: Server, tmp_path: Path) -> None:
    async def test() -> None:
        model, _ = await server.serve(tmp_path / "m", "aborts")
        first = server.core.events.last_seq
        # Ever other inputs: none of them is known when it comes.
        for n in range(3):
            await wait_until_back(server, model)
            assert await outcome(server, {"x": floats(13, n)}) == WORKER_LOST
        pauses = [data["seconds"] for data in told(server.events(first), "quarantined")][:3]
        assert pauses == pytest.approx([0.5, 1.0, 2.0])

    server.run(test())


def test_a_folder_that_is_taken_away_is_an_absence(server: Server, tmp_path: Path) -> None:
    base = tmp_path / "m"

    async def test() -> None:
        model, served = await server.serve(
            base, "half_plus_two", servable_versions_always_present=False
        )
        for _ in range(3):
            await kill(server, served)
        await server.until(lambda: ready(model) is None, "it is set aside")
        server.unput(base, 1)
        server.poll("m")
        await server.until(lambda: not model.versions, "it is forgotten")
        with pytest.raises(ServingError) as raised:
            server.core.manager.find("m")
        assert raised.value.code is Code.NOT_FOUND

    server.run(test())


def test_mended_files_are_waited_for_too(server: Server, tmp_path: Path) -> None:
    base = tmp_path / "m"

    async def test() -> None:
        model, served = await server.serve(base, "half_plus_two")
        for _ in range(3):
            await kill(server, served)
        await server.until(lambda: ready(model) is None, "it is set aside")
        server.unput(base, 1)
        server.put(base, 1, "half_plus_three")
        server.poll("m")
        while model.ready is None:
            with pytest.raises(OutOfService):
                server.core.manager.find("m")
            await asyncio.sleep(0.01)
        assert await outcome(server, {"x": floats(1)}) == [3.5]

    server.run(test())


def test_in_the_gap_before_another_version_takes_over(server: Server, tmp_path: Path) -> None:
    async def test() -> None:
        model, served = await server.serve(tmp_path / "m", "half_plus_two", "half_plus_three")
        heard = []
        for _ in range(3):
            await kill(server, served)
        while model.ready is not None:
            await asyncio.sleep(0)
        while model.ready is None:
            with pytest.raises(OutOfService) as raised:
                server.core.manager.find("m")
            heard.append(raised.value)
            await asyncio.sleep(0.01)
        assert ready(model) == 1
        assert {error.retry_after_seconds for error in heard} == {1}
        assert all(", and " in error.message for error in heard), [e.message for e in heard]
        assert "and version 1 is being started in its place" in heard[-1].message
        # By its number, it is away for longer.
        with pytest.raises(OutOfService, match="Version 2 of m crashed and is started again in"):
            server.core.manager.find("m", 2)

    server.run(test())


# Requests wait.


def test_requests_that_wait_for_a_worker_wait_for_the_next_start(
    server: Server, tmp_path: Path
) -> None:
    async def test() -> None:
        model, served = await server.serve(tmp_path / "m", "half_plus_two")
        for _ in range(2):
            await kill(server, served)
        queues = served.queues
        assert queues is not None
        await server.until(lambda: queues.worker is not None, "it is in use")
        assert served.worker is not None
        # Some of them are in the worker when it dies, others wait for their turn.
        os.kill(served.worker.pid, signal.SIGSTOP)
        waiting = []
        for n in range(1, 6):
            waiting.append(server.submit("m", {"x": floats(n)})[1])
            await asyncio.sleep(0.01)
        served.worker.kill()
        task, gone = server.submit("m", {"x": floats(3)})
        await server.until(lambda: ready(model) is None, "it is set aside")
        assert len(model.held) == 6
        server.core.scheduler.cancel(task)
        assert [(await answer)["y"].tolist() for answer in waiting] == [
            [n / 2 + 2] for n in range(1, 6)
        ]
        assert not gone.done()
        assert server.core.scheduler.outstanding == 0
        assert model.versions[1] is not served
        assert (len(model.held), model.held.size) == (0, 0)
        assert model.versions[1].queues is not None
        assert model.versions[1].queues.pending == 0

    server.run(test())


def test_what_cannot_wait_is_refused_at_once(server: Server, tmp_path: Path) -> None:
    async def test() -> None:
        model, served = await server.serve(tmp_path / "m", "half_plus_two")
        served.load_seconds = 20.0
        await kill(server, served)
        began = asyncio.get_running_loop().time()
        with pytest.raises(OutOfService) as raised:
            server.submit("m", {"x": floats(1)}, seconds=5.0)
        assert asyncio.get_running_loop().time() - began < 1
        assert 15 <= raised.value.retry_after_seconds <= 20
        # Whoever has the time waits.
        assert (await server.predict("m", {"x": floats(1)}, seconds=40.0))["y"].tolist() == [2.5]
        assert ready(model) == 1

    server.run(test())


def test_what_waits_for_a_worker_is_bounded_in_bytes(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("workbench.server.engine.batching.scheduler.MAX_HELD_BYTES", 10)

    async def test() -> None:
        _, served = await server.serve(tmp_path / "m", "half_plus_two")
        await kill(server, served)
        waiting = server.submit("m", {"x": floats(1, 2)})[1]
        with pytest.raises(ServingError, match="Requests of 8 bytes wait already"):
            server.submit("m", {"x": floats(1)})
        assert (await waiting)["y"].tolist() == [2.5, 3.0]
        assert await outcome(server, {"x": floats(1, 2, 3)}) == [2.5, 3.0, 3.5]

    server.run(test())


# Poison.


def test_an_input_that_crashes_is_named_and_refused_after_the_third_time(
    server: Server, tmp_path: Path
) -> None:
    async def test() -> None:
        model, _ = await server.serve(tmp_path / "m", "aborts")
        first = server.core.events.last_seq
        digest = digest_of("serving_default", POISON)
        # Alone: once, and once more on the next worker.
        assert await outcome(server, POISON) == WORKER_LOST
        refused = await outcome(server, POISON)
        assert refused == ServingError(
            Code.FAILED_PRECONDITION,
            f"This input ({digest}) was in the worker each of the 3 times that version 1 of m "
            "crashed; it is refused until the version is loaded again",
        )
        await server.until(lambda: exits(server, first) == 3, "its third crash was noticed")
        await wait_until_back(server, model)
        with pytest.raises(ServingError) as raised:
            server.submit("m", POISON)
        assert raised.value == refused
        assert await outcome(server, {"x": floats(1)}) == [2.5]
        assert exits(server, first) == 3
        events = [e for e in server.events(first) if e.kind in ("crash_input", "input_refused")]
        assert [(event.kind, event.data) for event in events] == [
            (kind, {"input": digest, "outline": "serving_default(x: float32 [1])", "crashes": n})
            for kind, n in (("crash_input", 1), ("crash_input", 2), ("input_refused", 3))
        ]
        assert [log_line(event) for event in events[1:]] == [
            f"Input {digest} of serving_default(x: float32 [1]) was alone in the worker of "
            "servable version {name: m version: 1} when it died; crashes blamed on it: 2",
            "Servable version {name: m version: 1} refuses input "
            f"{digest} of serving_default(x: float32 [1]) from now on: it was in the worker each "
            "of the 3 times that it died",
        ]

    server.run(test())


def test_it_is_refused_until_the_version_is_loaded_anew(server: Server, tmp_path: Path) -> None:
    base = tmp_path / "m"

    async def test() -> None:
        model, _ = await server.serve(base, "aborts")
        for _ in range(2):
            await outcome(server, POISON)
        await wait_until_back(server, model)
        poison = model.versions[1].poison
        assert len(poison) == 1
        # Its own new start after the crash is none.
        assert model.versions[1].queues is not None
        assert model.versions[1].queues.poison is poison
        server.unput(base, 1)
        server.put(base, 2, "half_plus_two")
        server.poll("m")
        await server.available("m", 2)
        assert await outcome(server, POISON) == [8.5]

    server.run(test())


@pytest.mark.parametrize(
    "batching", [None, BatchingParameters(max_batch_size=8, batch_timeout_micros=20_000)]
)
def test_among_many_callers_only_the_poison_is_refused(
    server: Server, tmp_path: Path, batching: BatchingParameters | None
) -> None:
    async def test() -> None:
        await server.serve(tmp_path / "m", "aborts", batching=batching)
        first = server.core.events.last_seq
        refusals: list[ServingError] = []
        answered = 0

        async def caller(number: int) -> None:
            nonlocal answered
            for step in range(60):
                x = float(100 * number + step)
                while isinstance(answer := await outcome(server, {"x": floats(x)}), OutOfService):
                    # What the API does: it holds the request.
                    await asyncio.sleep(0.05)
                assert answer == [x / 2 + 2], (x, answer)
                answered += 1
                await asyncio.sleep(0.005)

        async def poisoner() -> None:
            while len(refusals) < 5:
                answer = await outcome(server, POISON)
                if not isinstance(answer, OutOfService):
                    refusals.append(answer)
                await asyncio.sleep(0.05)

        await asyncio.gather(poisoner(), *(caller(n) for n in range(1, 9)))
        assert answered == 8 * 60
        assert refusals[0] == WORKER_LOST
        assert {error.code for error in refusals[1:]} == {Code.FAILED_PRECONDITION}
        assert exits(server, first) == 3
        assert kinds(server.events(first)).count("input_refused") == 1
        assert server.core.scheduler.outstanding == 0

    server.run(test())


def test_many_copies_at_once_cost_three_crashes(server: Server, tmp_path: Path) -> None:
    async def test() -> None:
        model, served = await server.serve(tmp_path / "m", "aborts")
        assert served.queues is not None
        # As one whose rows do not mix, so that all of them are in one batch.
        served.queues.decide("serving_default", Merging(True, "run"))
        first = server.core.events.last_seq
        inputs = [POISON] * 5 + [{"x": floats(n)} for n in range(5)]
        futures = [server.submit("m", each)[1] for each in inputs]
        answers = await asyncio.wait_for(
            asyncio.gather(*futures, return_exceptions=True), WAIT_SECONDS
        )
        assert answers[0] == WORKER_LOST
        codes = {error.code for error in answers[1:5] if isinstance(error, ServingError)}
        assert codes == {Code.FAILED_PRECONDITION}
        assert [a["y"].tolist() for a in answers[5:] if isinstance(a, dict)] == [
            [n / 2 + 2] for n in range(5)
        ]
        assert exits(server, first) == 3
        assert ready(model) == 1

    server.run(test())


def test_a_neighbour_that_is_answered_alone_is_acquitted(server: Server, tmp_path: Path) -> None:
    async def test() -> None:
        model, served = await server.serve(tmp_path / "m", "aborts")
        healthy = {"x": floats(1)}
        for _ in range(2):
            futures = [server.submit("m", each)[1] for each in (healthy, POISON)]
            await asyncio.wait(futures)
            assert (await futures[0])["y"].tolist() == [2.5]
        assert served.poison.strikes(digest_of("serving_default", healthy)) == 0
        assert served.poison.is_refused(digest_of("serving_default", POISON))
        await wait_until_back(server, model)

    server.run(test())


def test_large_inputs_are_hashed_aside(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def test() -> None:
        model, _ = await server.serve(tmp_path / "m", "aborts")
        threads = []
        loop_thread = server._thread

        def hashed(signature: str, inputs: Any) -> str:
            threads.append(threading.current_thread() is loop_thread)
            return digest_of(signature, inputs)

        monkeypatch.setattr("workbench.server.engine.batching.isolation.digest_of", hashed)
        poison = {"x": np.full(LARGE_BYTES, 13.0, np.float32)}
        healthy = {"x": np.ones(LARGE_BYTES, np.float32)}
        seen = []
        while len(seen) < 4:
            await wait_until_back(server, model)
            seen.append(await outcome(server, poison))
            assert isinstance(seen[-1], ServingError)
            if seen[-1].code is Code.FAILED_PRECONDITION:
                break
        assert seen[-1].code is Code.FAILED_PRECONDITION
        await wait_until_back(server, model)
        answer = (await server.predict("m", healthy))["y"]
        assert np.all(answer == 2.5)
        assert threads
        assert not any(threads)

    server.run(test())


def test_in_normal_service_nothing_is_hashed(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def never(*_: Any) -> Any:
        raise AssertionError("an input was looked at")

    monkeypatch.setattr("workbench.server.engine.batching.isolation.digest_of", never)
    monkeypatch.setattr("workbench.server.engine.batching.isolation.outline_of", never)

    async def test() -> None:
        await server.serve(tmp_path / "m", "half_plus_two")
        answers = await asyncio.gather(*(outcome(server, {"x": floats(n)}) for n in range(50)))
        assert answers == [[n / 2 + 2] for n in range(50)]

    server.run(test())


def test_an_input_whose_caller_has_gone_is_named_too(server: Server, tmp_path: Path) -> None:
    """A run that nobody waits for any more is ended with its worker: what it ran had a part in
    that."""

    async def test() -> None:
        model, _ = await server.serve(tmp_path / "m", "slow", hang_seconds=0.5)
        first = server.core.events.last_seq
        endless = {"x": floats(1), "steps": np.array([10_000_000], np.int32)}
        with pytest.raises(ServingError) as raised:
            await server.predict("m", endless, seconds=0.2)
        assert raised.value.code is Code.DEADLINE_EXCEEDED
        await server.until(lambda: bool(told(server.events(first), "worker_hung")), "it hangs")
        await server.until(lambda: bool(told(server.events(first), "crash_input")), "it is named")
        (data,) = told(server.events(first), "crash_input")
        assert data["input"] == digest_of("serving_default", endless)
        assert model.versions[1].poison.strikes(data["input"]) == 1

    server.run(test())
