"""Whole transitions with real workers: what happens, in which order, and who is answered."""

from __future__ import annotations

import asyncio
import os
import re
import shutil
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.servers import WAIT_SECONDS, Server, floats
from workbench.core.batching.parameters import BatchingParameters
from workbench.core.events import Event, log_line
from workbench.core.model_settings import ModelConfig
from workbench.core.status import Code, ServingError, invalid_argument, not_found, unavailable
from workbench.core.versions.outage import OutOfService
from workbench.core.versions.states import HarnessState, PublicState
from workbench.core.versions.version_policy import VersionPolicy
from workbench.processes.lifetime import ProcessId
from workbench.server.engine.versions import directory
from workbench.server.engine.versions import model as module
from workbench.server.engine.versions.life import loading
from workbench.server.engine.versions.model import Served

KILLED = "killed by SIGKILL (by a user, or by the system because memory ran out)"

LOAD_STEPS = [
    ("reserved", None),
    ("state", "LOADING"),
    ("load_approved", None),
    ("loading", None),
    ("worker_started", None),
    ("reading_saved_model", None),
    ("reading_meta_graph", None),
    ("loaded_saved_model", None),
    ("warmup_absent", None),
    ("tried", None),
    ("state", "AVAILABLE"),
    ("available", None),
]
UNLOAD_STEPS = [
    ("state", "UNLOADING"),
    ("quiescing", None),
    ("quiesced", None),
    ("unloading", None),
    ("state", "END"),
    ("unloaded", None),
]


def steps(events: list[Event], name: str = "m") -> list[tuple[str, int | None, Any]]:
    """Kind, version, and what a state or a decision says, of a model's events in order; without
    those that come whenever a request does, and what the models have to do with each other."""
    told = []
    for event in events:
        if event.model == name and event.kind not in ("first_run", "version_warning"):
            data = event.data or {}
            told.append((event.kind, event.version, data.get("state", data.get("act"))))
    return told


def of(version: int, rows: list[tuple[str, Any]]) -> list[tuple[str, int, Any]]:
    return [(kind, version, said) for kind, said in rows]


def kinds(events: list[Event], name: str = "m") -> list[str]:
    return [e.kind for e in events if e.model == name and e.kind != "first_run"]


def long_run(seconds: float = 1.0) -> dict[str, np.ndarray]:
    """Inputs of the slow model: some seconds, as long as the machine takes for so many steps."""
    return {"x": floats(1), "steps": np.array([round(4000 * seconds)], np.int32)}


@contextmanager
def on_event(server: Server, kind: str, act: Callable[[Event], None]) -> Iterator[None]:
    """Do something in the very moment in which an event happens."""
    stop = server.core.events.listen(lambda event: act(event) if event.kind == kind else None)
    try:
        yield
    finally:
        stop()


async def running(server: Server, name: str = "m") -> None:
    """Until a worker of this model runs a batch."""

    def busy() -> bool:
        versions = server.core.manager.models[name].versions.values()
        lanes = [lane for s in versions if s.worker is not None for lane in s.worker.lanes]
        return any(lane._transport is not None and not lane.open_for_use for lane in lanes)

    await server.until(busy, "a batch runs")


async def failure(server: Server, version: int, name: str = "m") -> ServingError:
    """The error that a version ends with."""
    versions = server.core.manager.models[name].versions

    def failed() -> bool:
        return version in versions and versions[version].harness.error is not None

    await server.until(failed, f"version {version} of {name} has failed")
    error = versions[version].harness.error
    assert error is not None
    return error


# Loading.


def test_a_first_load_step_by_step(server: Server, tmp_path: Path) -> None:
    base = tmp_path / "m"

    async def test() -> list[Event]:
        before = server.core.events.last_seq
        await server.serve(base, "half_plus_two")
        assert (await server.predict("m", {"x": floats(1, 2)}))["y"].tolist() == [2.5, 3.0]
        return server.events(before)

    events = server.run(test())
    assert steps(events) == [
        ("model_added", None, None),
        ("aspired", 1, None),
        ("state", 1, "START"),
        ("decision", 1, "load"),
        *of(1, LOAD_STEPS),
    ]


def test_a_load_reads_like_tensorflow_servings_log(server: Server, tmp_path: Path) -> None:
    base = tmp_path / "my_mnist_model"

    async def test() -> list[Event]:
        before = server.core.events.last_seq
        await server.serve(
            base,
            "half_plus_two",
            "half_plus_three",
            name="my_mnist_model",
            servable_versions_always_present=False,
        )
        server.unput(base, 2)
        server.unput(base, 1)
        server.poll("my_mnist_model")
        await server.until(
            lambda: not server.core.manager.models["my_mnist_model"].versions, "all are gone"
        )
        return server.events(before)

    events = server.run(test())
    (micros,) = [(e.data or {})["micros"] for e in events if e.kind == "loaded_saved_model"]
    servable = "{name: my_mnist_model version: 2}"
    assert [line for event in events if (line := log_line(event)) is not None] == [
        " (Re-)adding model: my_mnist_model",
        f"Successfully reserved resources to load servable {servable}",
        f"Approving load for servable version {servable}",
        f"Loading servable version {servable}",
        f"Reading SavedModel from: {base}/2",
        "Reading meta graph with tags { serve }",
        f"SavedModel load for tags {{ serve }}; Status: success: OK. Took {micros} microseconds.",
        f"No warmup data file found at {base}/2/assets.extra/tf_serving_warmup_requests",
        f"Successfully loaded servable version {servable}",
        f"No versions of servable my_mnist_model found under base path {base}. Did you forget to "
        "name your leaf directory as a number (eg. '/1/')?",
        f"Quiescing servable version {servable}",
        f"Done quiescing servable version {servable}",
        f"Unloading servable version {servable}",
        f"Done unloading servable version {servable}",
    ]


# Transitions.


class Client:
    """Asks all the time, one request after the other, and counts who answered."""

    def __init__(self, server: Server) -> None:
        self.server = server
        self.answers: list[float] = []
        self.errors: list[ServingError] = []
        self._stop = False

    async def __aenter__(self) -> Client:
        self._task = asyncio.ensure_future(self._ask())
        return self

    async def __aexit__(self, *_: object) -> None:
        self._stop = True
        await self._task

    async def _ask(self) -> None:
        while not self._stop:
            try:
                answer = await self.server.predict("m", {"x": floats(0)})
                self.answers.append(float(answer["y"][0]))
            except ServingError as error:
                self.errors.append(error)
                await asyncio.sleep(0.001)
            await asyncio.sleep(0)

    async def hears(self, answer: float) -> None:
        """Wait until this is the answer."""
        await self.server.until(
            lambda: bool(self.answers) and self.answers[-1] == answer, f"the answer is {answer}"
        )


def worker_count(events: list[Event]) -> list[int]:
    """How many versions held a worker process after each event that changes it."""
    count, counts = 0, []
    for event in events:
        change = {"worker_started": 1, "unloaded": -1}.get(event.kind, 0)
        if change:
            count += change
            counts.append(count)
    return counts


def test_smooth_loads_the_new_version_while_the_old_one_serves(
    server: Server, tmp_path: Path
) -> None:
    base = tmp_path / "m"

    async def test() -> None:
        before = server.core.events.last_seq
        await server.serve(base, "half_plus_two")
        first = server.core.events.last_seq
        async with Client(server) as client:
            await client.hears(2.0)
            server.put(base, 2, "half_plus_three")
            server.poll("m")
            await client.hears(3.0)
            await server.until(
                lambda: "unloaded" in kinds(server.events(first)), "version 1 is unloaded"
            )
        assert client.errors == []
        # It changed once, and for good.
        assert client.answers == sorted(client.answers)
        assert steps(server.events(first)) == [
            ("unaspired", 1, None),
            ("aspired", 2, None),
            ("state", 2, "START"),
            ("decision", 2, "load"),
            *of(2, LOAD_STEPS),
            ("decision", 1, "unload"),
            *of(1, UNLOAD_STEPS),
        ]
        assert worker_count(server.events(before)) == [1, 2, 1]

    server.run(test())


def test_unload_first_never_holds_two_versions(server: Server, tmp_path: Path) -> None:
    base = tmp_path / "m"

    async def test() -> None:
        before = server.core.events.last_seq
        await server.serve(base, "half_plus_two", transition="unload_first")
        first = server.core.events.last_seq
        pids: list[bool] = []
        old = server.core.manager.find("m").worker
        assert old is not None
        with on_event(server, "worker_started", lambda _: pids.append(old.ended.done())):
            async with Client(server) as client:
                await client.hears(2.0)
                server.put(base, 2, "half_plus_three")
                server.poll("m")
                await client.hears(3.0)
        assert pids == [True]  # the old process was gone before the new one came
        assert set(client.errors) == {not_found("Servable not found for request: Latest(m)")}
        assert steps(server.events(first)) == [
            ("unaspired", 1, None),
            ("aspired", 2, None),
            ("state", 2, "START"),
            ("decision", 1, "unload"),
            *of(1, UNLOAD_STEPS),
            ("decision", 2, "load"),
            *of(2, LOAD_STEPS),
        ]
        assert worker_count(server.events(before)) == [1, 0, 1]

    server.run(test())


def test_a_version_on_which_nothing_was_done_is_forgotten_without_a_word(
    server: Server, tmp_path: Path
) -> None:
    base = tmp_path / "m"

    async def test() -> None:
        model, _ = await server.serve(base, "slow", transition="unload_first")
        _, slow = server.submit("m", long_run())
        await running(server)
        server.put(base, 2, "corrupt")
        server.poll("m")
        await server.until(lambda: 2 in model.versions, "version 2 is aspired")
        server.put(base, 3, "half_plus_two")
        server.unput(base, 2)
        server.poll("m")
        await server.until(lambda: 2 not in model.versions, "version 2 is forgotten")
        with pytest.raises(ServingError) as raised:
            server.core.manager.status("m", 2)
        assert raised.value == not_found("Could not find version 2 of model m")
        assert (await slow)["y"].tolist() == [1.0]
        await server.available("m", 3)
        assert [served.id.version for served in model.listed()] == [3, 1]

    server.run(test())


def test_the_transition_can_be_changed_while_serving(server: Server, tmp_path: Path) -> None:
    base = tmp_path / "m"

    async def test() -> None:
        before = server.core.events.last_seq
        await server.serve(base, "half_plus_two")
        server.core.manager.update("m", transition="unload_first")
        server.put(base, 2, "half_plus_three")
        server.poll("m")
        await server.available("m", 2)
        assert worker_count(server.events(before)) == [1, 0, 1]

    server.run(test())


def test_removing_the_newest_folder_rolls_back(server: Server, tmp_path: Path) -> None:
    base = tmp_path / "m"

    async def test() -> None:
        model, _ = await server.serve(base, "half_plus_two", "half_plus_three")
        async with Client(server) as client:
            await client.hears(3.0)
            server.unput(base, 2)
            server.poll("m")
            await client.hears(2.0)
            await server.until(lambda: list(model.versions) == [1], "version 2 is gone")
        assert client.errors == []
        assert [served.id.version for served in model.listed()] == [2, 1]
        assert model.listed()[0].harness.public_state is PublicState.END

    server.run(test())


def test_a_version_that_is_wanted_back_while_it_drains_costs_no_availability(
    server: Server, tmp_path: Path
) -> None:
    base = tmp_path / "m"

    async def test() -> None:
        await server.serve(base, "slow")
        first = server.core.events.last_seq
        _, slow = server.submit("m", long_run())
        await running(server)
        server.put(base, 2, "half_plus_two")
        server.poll("m")
        await server.until(lambda: "quiescing" in kinds(server.events(first)), "1 drains")
        server.unput(base, 2)
        server.poll("m")
        async with Client(server) as client:
            assert (await slow)["y"].tolist() == [1.0]
            await server.available("m", 1)
        # Version 1 wants one input more than the client sends, and says so once it serves.
        assert [e for e in client.errors if e.message != "'steps'"] == []
        told = steps(server.events(first))
        assert told.index(("unloaded", 1, None)) < told.index(("unaspired", 2, None))
        assert told.index(("available", 1, None)) < told.index(("decision", 2, "unload"))

    server.run(test())


def test_a_version_that_comes_back_before_it_was_to_go_just_goes_on(
    server: Server, tmp_path: Path
) -> None:
    base = tmp_path / "m"

    async def test() -> None:
        model, one = await server.serve(base, "half_plus_two")
        first = server.core.events.last_seq
        # While version 2 loads, its folder goes again: 1 is aspired again and has never stopped.
        with on_event(server, "worker_started", lambda _: server.unput(base, 2)):
            server.put(base, 2, "half_plus_three")
            server.poll("m")
            await server.until(
                lambda: "worker_started" in kinds(server.events(first)), "version 2 is loading"
            )
        server.poll("m")
        await server.until(lambda: list(model.versions) == [1], "version 2 is gone")
        told = steps(server.events(first))
        assert [row for row in told if row[1] == 1 and row[0] != "decision"][:2] == [
            ("unaspired", 1, None),
            ("aspired", 1, None),
        ]
        assert model.ready is one
        assert one.harness.aspired

    server.run(test())


def test_un_aspired_while_loading_is_given_up_at_once(server: Server, tmp_path: Path) -> None:
    base = tmp_path / "m"

    async def test() -> None:
        first = server.core.events.last_seq
        server.put(base, 1, "half_plus_two")
        model = server.set_model("m", base)
        with on_event(server, "worker_started", lambda _: server.core.manager.remove_model("m")):
            await server.until(lambda: model.removed and not model.versions, "it is gone")
        assert steps(server.events(first)) == [
            ("model_added", None, None),
            ("aspired", 1, None),
            ("state", 1, "START"),
            ("decision", 1, "load"),
            *of(1, LOAD_STEPS[:5]),
            ("model_removed", None, None),
            ("unaspired", 1, None),
            ("load_cancelled", 1, None),
            ("state", 1, "UNLOADING"),
            ("state", 1, "END"),
        ]
        (ended,) = model.listed()
        assert ended.harness.error == ServingError(Code.CANCELLED, "Loading of servable cancelled")
        assert "m" not in server.core.manager.models

    server.run(test())


@pytest.mark.parametrize("transition", ["smooth", "unload_first", "staged"])
def test_a_load_without_end_ends_when_it_is_not_wanted_any_more(
    server: Server, tmp_path: Path, transition: str
) -> None:
    """And what served before serves, whether it still does or is loaded again."""
    base = tmp_path / "m"

    async def test() -> None:
        model, _ = await server.serve(base, "half_plus_two", transition=transition)
        first = server.core.events.last_seq
        server.put(base, 2, "never_loads")
        server.poll("m")
        await server.until(
            lambda: 2 in model.versions and model.versions[2].harness.state is HarnessState.LOADING,
            "2 is loading",
        )
        await server.until(
            lambda: "reading_meta_graph" in kinds(server.events(first)), "it has read its graph"
        )
        worker = model.versions[2].worker
        assert worker is not None
        server.core.manager.update("m", version_policy=VersionPolicy("specific", versions=(1,)))
        await server.until(
            lambda: list(model.versions) == [1] and model.ready is not None, "only 1 is there"
        )
        assert ProcessId.of(worker.pid) is None
        told = [row for row in steps(server.events(first)) if row[1] == 2]
        assert told[-4:] == [
            ("unaspired", 2, None),
            ("load_cancelled", 2, None),
            ("state", 2, "UNLOADING"),
            ("state", 2, "END"),
        ]
        assert (await server.predict("m", {"x": floats(1)}))["y"].tolist() == [2.5]

    server.run(test())


def test_several_versions_serve_at_once(server: Server, tmp_path: Path) -> None:
    base = tmp_path / "m"

    async def test() -> None:
        manager = server.core.manager
        await server.serve(
            base, "half_plus_two", "half_plus_three", "text", version_policy=VersionPolicy("all")
        )
        for version, answer in [(1, 2.0), (2, 3.0)]:
            await server.available("m", version)
            got = await server.predict("m", {"x": floats(0)}, version=version)
            assert got["y"].tolist() == [answer]
        model = manager.update("m", version_policy=VersionPolicy("specific", versions=(1,)))
        await server.until(lambda: list(model.versions) == [1], "only version 1 is left")
        assert (await server.predict("m", {"x": floats(0)}))["y"].tolist() == [2.0]
        manager.update("m", version_policy=VersionPolicy("latest", 2))
        await server.available("m", 2)
        await server.available("m", 3)
        await server.until(lambda: sorted(model.versions) == [2, 3], "version 1 is gone")

    server.run(test())


# What goes wrong.


def test_a_broken_version_leaves_the_old_one_serving_until_it_is_mended(
    server: Server, models: Path, tmp_path: Path
) -> None:
    base = tmp_path / "m"

    async def test() -> None:
        model, one = await server.serve(base, "half_plus_two")
        async with Client(server) as client:
            first = server.core.events.last_seq
            server.put(base, 2, "corrupt")
            server.poll("m")
            error = await failure(server, 2)
            assert error.code is Code.DATA_LOSS
            assert "Checksum does not match" in error.message
            assert model.ready is one
            (broken, _) = model.to_json()["versions"]
            assert (broken["state"], broken["error"]) == (
                "END",
                {"code": "DATA_LOSS", "message": error.message},
            )
            assert steps(server.events(first)) == [
                ("unaspired", 1, None),
                ("aspired", 2, None),
                ("state", 2, "START"),
                ("decision", 2, "load"),
                *of(2, LOAD_STEPS[:7]),
                ("load_failed", 2, None),
                ("state", 2, "END"),
                ("error", 2, None),
                ("not_loaded", 2, None),
            ]
            # Looking again changes nothing, until its files do.
            server.poll("m")
            await asyncio.sleep(0.05)
            assert model.versions[2].harness.state is HarnessState.ERROR
            good, bad = models / "half_plus_three" / "variables", base / "2" / "variables"
            shutil.copytree(good, bad, dirs_exist_ok=True)
            server.poll("m")
            await client.hears(3.0)
            await server.until(lambda: list(model.versions) == [2], "version 1 is gone")
        assert client.errors == []

    server.run(test())


@pytest.mark.parametrize(
    ("export", "code", "words"),
    [
        ("bad_graph", Code.NOT_FOUND, "NoSuchOperation"),
        ("corrupt", Code.DATA_LOSS, "Checksum does not match"),
    ],
)
def test_what_cannot_be_loaded_harms_its_own_model_only(
    server: Server, tmp_path: Path, export: str, code: Code, words: str
) -> None:
    async def test() -> None:
        server.put(tmp_path / "bad", 1, export)
        server.set_model("bad", tmp_path / "bad")
        await server.serve(tmp_path / "m", "half_plus_two")
        error = await failure(server, 1, "bad")
        assert error.code is code
        assert words in error.message
        assert (await server.predict("m", {"x": floats(0)}))["y"].tolist() == [2.0]

    server.run(test())


def kill_worker(event: Event) -> None:
    os.kill((event.data or {})["pid"], signal.SIGKILL)


def test_a_load_that_fails_for_a_passing_reason_is_tried_again(
    server: Server, tmp_path: Path
) -> None:
    base = tmp_path / "m"

    async def test() -> None:
        first = server.core.events.last_seq
        server.put(base, 1, "half_plus_two")
        server.set_model("m", base, max_load_retries=1)
        with on_event(server, "worker_started", kill_worker):
            error = await failure(server, 1)
        assert error == unavailable(f"The worker process died while it loaded the model: {KILLED}")
        assert kinds(server.events(first))[3:] == [
            "decision",
            "reserved",
            "state",
            "load_approved",
            "loading",
            "worker_started",
            "load_failed",
            "load_retry",
            "worker_started",
            "load_failed",
            "load_retries_exhausted",
            "state",
            "error",
            "not_loaded",
        ]
        servable, why = "{name: m version: 1}", f"UNAVAILABLE: {error.message}"
        assert [line for e in server.events(first) if (line := log_line(e)) is not None][-6:] == [
            f"Loading servable: {servable} failed: {why}",
            f"Retrying of Loading servable: {servable} retry: 1",
            f"Loading servable: {servable} failed: {why}",
            f"Retrying of Loading servable: {servable} exhausted max_num_retries: 1",
            f"Encountered an error for servable version {servable}: {why}",
            f"Servable {servable} cannot be loaded: {why}",
        ]

    server.run(test())


def test_a_later_attempt_may_succeed(server: Server, tmp_path: Path) -> None:
    base = tmp_path / "m"

    async def test() -> None:
        first = server.core.events.last_seq
        killed: list[int] = []

        def kill_twice(event: Event) -> None:
            if len(killed) < 2:
                killed.append((event.data or {})["pid"])
                kill_worker(event)

        with on_event(server, "worker_started", kill_twice):
            await server.serve(base, "half_plus_two", max_load_retries=2)
        assert kinds(server.events(first)).count("load_retry") == 2

    server.run(test())


@pytest.mark.parametrize("again", [False, True])
def test_a_final_failure_is_tried_again_where_that_is_wanted(
    server: Server, tmp_path: Path, again: bool
) -> None:
    async def test() -> None:
        first = server.core.events.last_seq
        server.put(tmp_path / "m", 1, "corrupt")
        server.set_model("m", tmp_path / "m", max_load_retries=1, retry_all_load_errors=again)
        assert (await failure(server, 1)).code is Code.DATA_LOSS
        told = kinds(server.events(first))
        assert (told.count("load_failed"), told.count("load_retry")) == (
            (2, 1) if again else (1, 0)
        )
        assert told.count("load_retries_exhausted") == again

    server.run(test())


@pytest.mark.parametrize("in_the_pause", [False, True])
def test_retrying_ends_when_the_version_is_not_wanted_any_more(
    server: Server, tmp_path: Path, in_the_pause: bool
) -> None:
    base = tmp_path / "m"

    async def test() -> None:
        first = server.core.events.last_seq
        server.put(base, 1, "half_plus_two")
        model = server.set_model("m", base, load_retry_seconds=0.01)

        def remove(_: Event) -> None:
            loop, manager = asyncio.get_running_loop(), server.core.manager
            if in_the_pause:
                loop.call_soon(manager.remove_model, "m")
            else:
                manager.remove_model("m")

        with (
            on_event(server, "worker_started", kill_worker),
            on_event(server, "load_failed", remove),
        ):
            await server.until(lambda: model.removed and not model.versions, "it is gone")
        (ended,) = model.listed()
        assert ended.harness.error == ServingError(Code.CANCELLED, "Loading of servable cancelled")
        told = kinds(server.events(first))
        assert "load_retry" not in told
        assert told[told.index("load_failed") :] == [
            "load_failed",
            "model_removed",
            "unaspired",
            "load_retry_cancelled",
            "load_cancelled",
            "state",
            "state",
        ]

    server.run(test())


@pytest.mark.parametrize(
    ("transition", "message"),
    [
        ("smooth", "The model did not load within 0 s"),
        ("staged", "The model was not staged within 0 s"),
    ],
)
def test_a_load_that_takes_too_long_is_ended(
    server: Server, tmp_path: Path, transition: str, message: str
) -> None:
    base = tmp_path / "m"

    async def test() -> None:
        model, one = await server.serve(base, "half_plus_two", transition=transition)
        before, loading.LOAD_SECONDS = loading.LOAD_SECONDS, 0.0
        try:
            server.put(base, 2, "half_plus_three")
            server.poll("m")
            error = await failure(server, 2)
        finally:
            loading.LOAD_SECONDS = before
        assert error == ServingError(Code.DEADLINE_EXCEEDED, message)
        assert model.versions[2].worker is None
        assert model.ready is one

    server.run(test())


def test_a_worker_that_dies_idle_is_replaced(server: Server, tmp_path: Path) -> None:
    async def test() -> None:
        _, served = await server.serve(tmp_path / "m", "half_plus_two")
        first = server.core.events.last_seq
        old = served.worker
        assert old is not None
        os.kill(old.pid, signal.SIGKILL)
        await server.until(lambda: served.worker is not old, "its death was noticed")
        # Requests that come meanwhile wait for the next worker.
        assert (await server.predict("m", {"x": floats(0)}))["y"].tolist() == [2.0]
        await server.until(
            lambda: "worker_replaced" in kinds(server.events(first)), "it is replaced"
        )
        assert kinds(server.events(first)) == [
            "worker_exited",
            "worker_started",
            "reading_saved_model",
            "reading_meta_graph",
            "loaded_saved_model",
            "warmup_absent",
            "worker_replaced",
        ]
        assert served.harness.public_state is PublicState.AVAILABLE
        assert log_line(server.events(first)[0]) == (
            f"Worker process {old.pid} of servable version {{name: m version: 1}} ended: {KILLED}"
        )

    server.run(test())


def test_requests_of_a_worker_that_dies_are_answered_by_the_next(
    server: Server, tmp_path: Path
) -> None:
    async def test() -> None:
        model, served = await server.serve(tmp_path / "m", "slow")
        futures = [server.submit("m", long_run())[1] for _ in range(2)]
        await running(server)
        futures.append(server.submit("m", {**long_run(0.01), "x": floats(7)})[1])
        assert served.worker is not None
        os.kill(served.worker.pid, signal.SIGKILL)
        answers = await asyncio.wait_for(asyncio.gather(*futures), WAIT_SECONDS)
        assert [answer["y"].tolist() for answer in answers] == [[1.0], [1.0], [7.0]]
        assert len(model.failing[1].deaths) == 1

    server.run(test())


def test_three_deaths_are_too_many(server: Server, tmp_path: Path) -> None:
    async def test() -> None:
        model, served = await server.serve(tmp_path / "m", "slow")
        first = server.core.events.last_seq
        _, lost = server.submit("m", long_run(1000.0))
        for _ in range(3):
            await server.until(lambda: served.worker is not None, "there is a worker")
            if not lost.done():
                await running(server)
            await server.until(
                lambda: served.queues is not None and served.queues.worker is served.worker,
                "the worker is in use",
            )
            assert served.worker is not None
            dying = served.worker
            os.kill(dying.pid, signal.SIGKILL)
            await server.until(lambda: served.worker is not dying, "its death was noticed")  # noqa: B023
            if len(model.failing[1].deaths) == 2:
                # The request has had its second try; another waits for a worker.
                with pytest.raises(ServingError) as raised:
                    await lost
                assert raised.value == unavailable(
                    "The worker process ended while it ran this request"
                )
                _, lost = server.submit("m", long_run(1000.0))
        reason = unavailable(f"Its worker process died 3 times within 60 s, last: {KILLED}")
        assert await failure(server, 1) == reason
        with pytest.raises(ServingError) as raised:
            await lost
        # It was the same input each time.
        assert raised.value.code is Code.FAILED_PRECONDITION
        assert model.ready is None
        told = f"^Version 1 of m crashed .*: {re.escape(str(reason))}$"
        with pytest.raises(OutOfService, match=told):
            server.core.manager.find("m")
        assert kinds(server.events(first))[-4:] == [
            "worker_exited",
            "quarantined",
            "state",
            "error",
        ]

    server.run(test())


def test_a_version_that_loses_its_worker_while_it_drains_still_answers(
    server: Server, tmp_path: Path
) -> None:
    base = tmp_path / "m"

    async def test() -> None:
        model, served = await server.serve(base, "slow")
        first = server.core.events.last_seq
        _, slow = server.submit("m", long_run())
        await running(server)
        server.core.manager.remove_model("m")
        assert served.worker is not None
        os.kill(served.worker.pid, signal.SIGKILL)
        assert (await slow)["y"].tolist() == [1.0]
        await server.until(lambda: not model.versions, "it is gone")
        told = kinds(server.events(first))
        assert told.index("quiescing") < told.index("worker_replaced") < told.index("unloaded")

    server.run(test())


def test_a_drain_without_a_worker_to_be_had_is_cut_short(server: Server, tmp_path: Path) -> None:
    base = tmp_path / "m"

    async def test() -> None:
        model, served = await server.serve(base, "slow")
        _, slow = server.submit("m", long_run(1000.0))
        await running(server)
        server.core.manager.remove_model("m")
        assert served.worker is not None
        with on_event(server, "worker_started", kill_worker):
            os.kill(served.worker.pid, signal.SIGKILL)
            with pytest.raises(ServingError) as raised:
                await slow
            assert raised.value == unavailable("The version ended before it answered (0.0 s)")
            await server.until(lambda: not model.versions, "it is gone")
        assert served.harness.state is HarnessState.DISABLED

    server.run(test())


def test_a_replacement_that_nobody_needs_any_more_is_ended(server: Server, tmp_path: Path) -> None:
    async def test() -> None:
        model, served = await server.serve(tmp_path / "m", "half_plus_two")
        first = server.core.events.last_seq
        assert served.worker is not None
        with on_event(server, "worker_started", lambda _: server.core.manager.remove_model("m")):
            os.kill(served.worker.pid, signal.SIGKILL)
            await server.until(lambda: not model.versions, "it is gone")
        (pid,) = [(e.data or {})["pid"] for e in server.events(first) if e.kind == "worker_started"]
        assert served.harness.state is HarnessState.DISABLED
        assert ProcessId.of(pid) is None

    server.run(test())


def test_the_zygotes_death_harms_no_version(server: Server, tmp_path: Path) -> None:
    async def test() -> None:
        first = server.core.events.last_seq
        await server.serve(tmp_path / "m", "half_plus_two")
        old = server.core.zygote.pid
        assert old is not None
        async with Client(server) as client:
            await client.hears(2.0)
            os.kill(old, signal.SIGKILL)
            # The next load waits for the next zygote.
            await server.serve(tmp_path / "n", "half_plus_three", name="n")
            await client.hears(2.0)
        assert client.errors == []
        exited, started = [
            event for event in server.events(first) if event.kind.startswith("zygote_")
        ][-2:]
        assert (exited.kind, exited.data) == ("zygote_exited", {"pid": old, "code": -9})
        assert started.kind == "zygote_started"
        assert server.core.zygote.pid == (started.data or {})["pid"] != old

    server.run(test())


# Sources.


def test_a_half_copied_version_is_waited_for(server: Server, models: Path, tmp_path: Path) -> None:
    base = tmp_path / "m"

    async def test() -> None:
        model, one = await server.serve(base, "half_plus_two")
        first = server.core.events.last_seq
        manager = server.core.manager

        async def polled() -> None:
            manager.poll_soon("m")
            seen = model.waiting
            await server.until(lambda: model.waiting is not seen, "the folder was looked at")

        (base / "2").mkdir()
        for _ in range(2):
            await polled()
        shutil.copy(models / "half_plus_three" / "saved_model.pb", base / "2")
        await polled()
        assert model.ready is one
        assert model.to_json()["waiting"] == {"2": "variables/variables.index is missing"}
        assert [(event.kind, log_line(event)) for event in server.events(first)] == [
            (
                "source_waiting",
                f"Version 2 of m is not complete yet, waiting: {reason}",
            )
            for reason in ("the folder is empty", "variables/variables.index is missing")
        ]
        shutil.copytree(models / "half_plus_three" / "variables", base / "2" / "variables")
        await polled()
        assert model.to_json()["waiting"] == {"2": "its files are still changing"}
        server.poll("m")
        await server.available("m", 2)
        assert model.waiting == {}

    server.run(test())


def test_a_base_path_that_goes_away_unloads_nothing_and_an_empty_one_all(
    server: Server, tmp_path: Path
) -> None:
    base = tmp_path / "m"

    async def test() -> None:
        model, one = await server.serve(
            base, "half_plus_two", servable_versions_always_present=False
        )
        base.rename(tmp_path / "away")
        server.core.manager.poll_soon("m")
        await server.until(lambda: bool(model.warnings), "it was noticed")
        assert model.warnings == [
            f"Could not find base path {base} for servable m with error NOT_FOUND: {base} not "
            "found. Create it, or correct the model's base path."
        ]
        assert model.ready is one
        (tmp_path / "away").rename(base)
        server.poll("m")
        await server.until(lambda: not model.warnings, "it is back")
        assert model.ready is one
        server.unput(base, 1)
        server.poll("m")
        await server.until(lambda: not model.versions, "all are unloaded")
        assert model.warnings == [
            f"No versions of servable m found under base path {base}. Did you forget to name your "
            "leaf directory as a number (eg. '/1/')?"
        ]

    server.run(test())


def test_what_serves_goes_on_where_its_folder_became_empty(server: Server, tmp_path: Path) -> None:
    base = tmp_path / "m"

    async def test() -> None:
        model, one = await server.serve(base, "half_plus_two")
        server.unput(base, 1)
        server.core.manager.poll_soon("m")
        await server.until(lambda: bool(model.warnings), "it was noticed")
        assert model.warnings == [
            f"No versions of servable m found under base path {base}. Did you forget to name your "
            "leaf directory as a number (eg. '/1/')?",
            "The folder of m is empty, and its versions are still served. Remove the model, or "
            "set servable_versions_always_present to false, to unload them.",
        ]
        assert model.ready is one
        assert one.harness.aspired
        # The next version replaces it as ever, and removing that folder rolls nothing back.
        server.put(base, 2, "half_plus_three")
        server.poll("m")
        await server.until(lambda: list(model.versions) == [2], "version 1 is gone")
        assert model.warnings == []

    server.run(test())


def test_a_new_base_path_brings_its_own_versions(server: Server, tmp_path: Path) -> None:
    async def test() -> None:
        model, one = await server.serve(tmp_path / "old", "half_plus_two")
        server.put(tmp_path / "new", 1, "half_plus_three")
        server.set_model("m", tmp_path / "new")
        await asyncio.sleep(0.05)
        # The same number is the same servable, as in TensorFlow Serving.
        assert model.ready is one
        server.put(tmp_path / "new", 2, "half_plus_three")
        server.poll("m")
        await server.available("m", 2)
        assert (await server.predict("m", {"x": floats(0)}))["y"].tolist() == [3.0]

    server.run(test())


def test_versions_that_ended_are_remembered_up_to_a_number(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for keeper in (module, directory):
        monkeypatch.setattr(keeper, "ENDED_KEPT", 2)

    async def test() -> None:
        model, _ = await server.serve(
            tmp_path / "m", "text", "text", "text", "text", version_policy=VersionPolicy("all")
        )
        for version in (1, 2, 3):
            await server.available("m", version)
        for version in (1, 2, 3):
            server.unput(tmp_path / "m", version)
            server.poll("m")
            await server.until(lambda: version not in model.versions, "it is gone")  # noqa: B023
        assert [served.id.version for served in model.listed()] == [4, 3, 2]

    server.run(test())


# Models come and go.


def test_a_model_can_be_added_again_while_its_versions_still_unload(
    server: Server, tmp_path: Path
) -> None:
    base = tmp_path / "m"

    async def test() -> None:
        manager = server.core.manager
        _, one = await server.serve(base, "slow")
        _, slow = server.submit("m", long_run())
        await running(server)
        manager.remove_model("m")
        for action in (
            lambda: manager.remove_model("m"),
            lambda: manager.update("m", transition="smooth"),
            lambda: manager.poll_soon("m"),
        ):
            with pytest.raises(ServingError) as raised:
                action()
            assert raised.value == not_found("Could not find model m")
        model = server.set_model("m", base)
        assert (await slow)["y"].tolist() == [1.0]
        again = await server.available("m", 1)
        assert again is not one
        assert manager.models["m"] is model

    server.run(test())


def test_what_is_asked_for_must_be_there(server: Server, tmp_path: Path) -> None:
    async def test() -> None:
        manager = server.core.manager
        server.put(tmp_path / "m", 1, "half_plus_two")
        _, one = await server.serve(
            tmp_path / "n", "half_plus_two", name="n", labels={"stable": 1, "canary": 2}
        )
        assert manager.find("n") is one
        assert manager.find("n", version=1) is one
        assert manager.find("n", label="stable") is one
        assert manager.status("n") == manager.status("n", 1) == [one]
        questions: list[tuple[Callable[[], Any], ServingError]] = [
            (
                lambda: manager.find("m"),
                not_found("Servable not found for request: Latest(m)"),
            ),
            (
                lambda: manager.find("m", version=1),
                not_found("Servable not found for request: Specific(m, 1)"),
            ),
            (
                lambda: manager.find("n", version=2),
                not_found("Servable not found for request: Specific(n, 2)"),
            ),
            (
                lambda: manager.find("n", label="canary"),
                not_found("Servable not found for request: Specific(n, 2)"),
            ),
            (
                lambda: manager.find("n", label="latest"),
                invalid_argument("Unrecognized servable version label: latest"),
            ),
            (
                lambda: manager.find("m", label="stable"),
                invalid_argument("Unrecognized servable version label: stable"),
            ),
            (
                lambda: manager.status("m"),
                not_found("Could not find any versions of model m"),
            ),
            (
                lambda: manager.status("n", 2),
                not_found("Could not find version 2 of model n"),
            ),
        ]
        for question, error in questions:
            with pytest.raises(ServingError) as raised:
                question()
            assert raised.value == error

    server.run(test())


def test_batching_and_slots_change_while_serving(server: Server, tmp_path: Path) -> None:
    async def test() -> None:
        manager, scheduler = server.core.manager, server.core.scheduler
        _, served = await server.serve(tmp_path / "m", "rows")

        async def rows_together(*sizes: int) -> list[list[int]]:
            futures = [
                server.submit("m", {"x": np.ones(size, np.float32)}, signature="count")[1]
                for size in sizes
            ]
            return [answer["rows"].tolist() for answer in await asyncio.gather(*futures)]

        # Merged without being asked, each would be given the rows of the other, too.
        assert await rows_together(1, 2) == [[1], [2, 2]]
        manager.update(
            "m", batching=BatchingParameters(max_batch_size=4, allowed_batch_sizes=(2, 4))
        )
        assert await rows_together(1) == [[2]]
        manager.update("m", batching=None)
        assert await rows_together(1) == [[1]]
        manager.set_slots(3)
        assert served.worker is not None
        worker = served.worker
        await server.until(lambda: len(worker.lanes) == 4, "there are three, and a spare one")
        assert scheduler.slots == 3
        manager.set_slots(2)

    server.run(test())


def test_automatic_batching_is_never_seen_in_an_answer(server: Server, tmp_path: Path) -> None:
    async def test() -> None:
        await server.serve(tmp_path / "m", "rows")

        async def together(signature: str, *inputs: list[Any]) -> list[Any]:
            futures = [
                server.submit("m", {"x": np.array(x, np.float32)}, signature=signature)[1]
                for x in inputs
            ]
            answers = await asyncio.gather(*futures, return_exceptions=True)
            return [
                (a.code, a.message.split("]")[0])
                if isinstance(a, ServingError)
                else a["y"].tolist()
                for a in answers
            ]

        bad = (Code.INVALID_ARGUMENT, "assertion failed: [x has a negative")
        assert await together("picky", [1], [-1], [2, 3]) == [[1], bad, [2, 3]]
        assert await together("ragged", [[1]], [[1, 2]]) == [[[1]], [[1, 2]]]
        assert await together("total", [1], [2, 3]) == [1, 5]
        assert await together("twice", [1], [2, 3]) == [[1, 1], [2, 3, 2, 3]]
        server.core.manager.update(
            "m", batching=BatchingParameters(pad_variable_length_inputs=True)
        )
        assert await together("picky", [1], [-1], [2, 3]) == [bad, bad, bad]
        assert await together("ragged", [[1]], [[1, 2]]) == [[[1, 1]], [[1, 2]]]
        scalar = (Code.FAILED_PRECONDITION, "Batched output tensor has 0 dimensions")
        assert await together("total", [1], [2, 3]) == [scalar, scalar]

    server.run(test())


def test_state_and_no_inputs_are_served_too(server: Server, tmp_path: Path) -> None:
    async def test() -> None:
        await server.serve(tmp_path / "m", "counter")

        async def call(signature: str, **inputs: Any) -> float:
            return float((await server.predict("m", inputs, signature=signature))["output"])

        counts = [await call("incr_counter") for _ in range(3)]
        assert counts == [1.0, 2.0, 3.0]
        assert await call("incr_counter_by", delta=np.float32(4)) == 7.0
        assert await call("reset_counter") == 0.0
        assert await call("get_counter") == 0.0

    server.run(test())


def test_an_unknown_transition_is_refused_where_it_is_set() -> None:
    with pytest.raises(ServingError, match="Unknown transition 'quick'"):
        ModelConfig.from_json({"name": "m", "base_path": "/m", "transition": "quick"})


def test_a_served_version_says_what_it_is(server: Server, tmp_path: Path) -> None:
    async def test() -> None:
        first = server.core.events.last_seq
        _, served = await server.serve(tmp_path / "m", "half_plus_two")
        for _ in range(2):
            await server.predict("m", {"x": floats(1)})
        _expect_told(served)
        (available,) = [e for e in server.events(first) if e.kind == "available"]
        assert available.data == {
            "seconds": served.load_seconds,
            "breakdown": served.to_json()["breakdown_seconds"],
        }
        (first_run,) = [e for e in server.events(first) if e.kind == "first_run"]
        assert first_run.version == 1
        assert first_run.data == {"seconds": served.to_json()["first_run_seconds"]}

    server.run(test())


def _expect_told(served: Served) -> None:
    told = served.to_json()
    assert served.worker is not None
    expected = {"version": 1, "state": "AVAILABLE", "harness": "ready", "aspired": True}
    assert {key: told[key] for key in expected} == expected
    assert told["pid"] == served.worker.pid
    assert told["requests"] == {"pending": 0, "answered": 2, "failed": 0}
    assert told["batches"]["batches"] == 2
    assert sorted(told["signatures"]) == ["classify_x_to_y", "regress_x_to_y", "serving_default"]
    parts = ["facts", "graph", "init", "lanes", "restore", "spawn", "trial", "warmup"]
    assert sorted(told["breakdown_seconds"]) == parts
    assert sum(told["breakdown_seconds"].values()) <= told["load_seconds"]
    assert told["breakdown_seconds"]["spawn"] == told["spawn_seconds"]
