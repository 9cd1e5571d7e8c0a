"""What was in a worker when it died runs one by one: on a real event loop, with a worker that does
what a test tells it."""

from __future__ import annotations

import asyncio
from typing import Any, cast

import numpy as np
import pytest

from tests.server.engine.batching.test_scheduler import (
    FakeWorker,
    Setting,
    answers,
    on_loop,
)
from workbench.core.batching.parameters import BatchingParameters
from workbench.core.status import Code, ServingError
from workbench.core.versions.poison import STRIKES, Outline
from workbench.server.engine.batching.digests import digest_of, outline_of
from workbench.server.engine.batching.tasks import VersionQueues
from workbench.server.engine.workers.worker_handle import WORKER_LOST, Worker

BATCHED = BatchingParameters(max_batch_size=4, batch_timeout_micros=0, max_enqueued_batches=100)


def die(setting: Setting, *numbers: int) -> None:
    """The worker dies with these of its batches, and another comes."""
    dying = setting.worker
    setting.scheduler.detach(setting.version)
    for number in numbers:
        dying.batches[number].finish(WORKER_LOST)
    setting.attach(FakeWorker(at_once=False))


def row(*shape: int) -> np.ndarray:
    return np.ones(shape, np.float32)


def known(version: VersionQueues, x: list[float], crashes: int) -> str:
    """Have a version know an input that it crashed on."""
    inputs = {"x": np.array(x, np.float32)}
    digest = digest_of("double", inputs)
    version.poison.strike(digest, outline_of("double", inputs), crashes)
    return digest


@pytest.mark.parametrize("parameters", [None, BATCHED])
def test_neighbours_on_other_lanes_are_suspects_too_and_the_rest_waits(
    parameters: BatchingParameters | None,
) -> None:
    @on_loop
    async def test() -> None:
        setting = Setting(parameters, worker=FakeWorker(at_once=False))
        # Two shapes: two queues, and each has a lane.
        futures = [setting.submit(1)[1], setting.submit(x=np.array([2, 3], np.float64))[1]]
        await setting.worker.batch(1)
        waiting = [setting.submit(4)[1], setting.submit(5)[1]]
        die(setting, 0, 1)
        futures.append(setting.submit(6)[1])
        for number in (0, 1):
            batch = await setting.worker.batch(number)
            await asyncio.sleep(0.01)
            # The other slot is free, and yet it runs alone.
            assert len(setting.worker.batches) == number + 1
            setting.worker.at_once = number == 1
            batch.finish()
        assert await answers([*futures, *waiting]) == [[2], [4, 6], [12], [8], [10]]
        assert not setting.version.isolated
        setting.scheduler.close()

    test()


@pytest.mark.parametrize("parameters", [None, BATCHED])
def test_a_shape_that_the_worker_aborts_on_is_refused_after_one_crash(
    parameters: BatchingParameters | None,
) -> None:
    @on_loop
    async def test() -> None:
        setting = Setting(parameters, worker=FakeWorker(at_once=False))
        forms: list[str] = []
        setting.version.on_misfit = lambda form: forms.append(str(form))
        wrong, right = setting.submit(x=row(1, 2))[1], setting.submit(1)[1]
        await setting.worker.batch(1)
        waiting = [setting.submit(x=row(1, 3))[1], setting.submit(2)[1]]
        dying = setting.worker
        for number in (0, 1):
            dying.batches[number].finish(WORKER_LOST)
        dying.aborted = True
        assert setting.scheduler.explain(setting.version, cast(Worker, dying))
        assert forms == ["double(x: rank 2)"]
        # Also the one that waited, and all that come later.
        refused = await answers([wrong, waiting[0]])
        assert [error.code for error in refused] == [Code.INVALID_ARGUMENT] * 2
        assert refused[0].message == (
            "Input 'x' (float[?]) cannot have the shape (1, 2): it has one dimension too many, "
            "remove it with x[0]"
        )
        setting.scheduler.detach(setting.version)
        setting.attach(FakeWorker())
        assert await answers([right, waiting[1]]) == [[2], [4]]
        with pytest.raises(ServingError) as raised:
            setting.submit(x=row(1, 2))
        assert raised.value == refused[0]
        # Another death is no second one of those that were beside it.
        assert not setting.version.isolated
        assert len(setting.version.poison) == 0
        setting.scheduler.close()

    test()


@on_loop
async def test_a_worker_killed_from_outside_is_nobodys_fault() -> None:
    setting = Setting(worker=FakeWorker(at_once=False))
    wrong = setting.submit(x=row(1, 2))[1]
    await setting.worker.batch(0)
    dying = setting.worker
    die(setting, 0)
    assert not setting.scheduler.explain(setting.version, cast(Worker, dying))
    # And again: that is enough for this request, and says nothing about its shape.
    await setting.worker.batch(0)
    dying = setting.worker
    die(setting, 0)
    assert not setting.scheduler.explain(setting.version, cast(Worker, dying))
    assert await answers([wrong]) == [WORKER_LOST]
    assert not setting.version.poison.misfits
    setting.worker.at_once = True
    assert await answers([setting.submit(x=row(1, 2))[1]]) == [[[2.0, 2.0]]]


@on_loop
async def test_of_two_kinds_in_one_worker_the_one_that_aborts_is_found() -> None:
    setting = Setting(worker=FakeWorker(at_once=False))
    harmless = setting.submit(x=row(1, 2))[1]
    deadly = setting.submit(x=row(1, 2, 1))[1]
    await setting.worker.batch(1)
    dying = setting.worker
    dying.aborted = True
    die(setting, 0, 1)
    assert setting.scheduler.explain(setting.version, cast(Worker, dying))
    (await setting.worker.batch(0)).finish()
    await setting.worker.batch(1)
    dying = setting.worker
    dying.aborted = True
    die(setting, 1)
    assert setting.scheduler.explain(setting.version, cast(Worker, dying))
    found = await answers([harmless, deadly])
    assert found[0] == [[2.0, 2.0]]
    assert isinstance(found[1], ServingError)
    assert "cannot have the shape (1, 2, 1)" in found[1].message
    with pytest.raises(ServingError) as raised:
        setting.submit(x=row(1, 2, 1))
    assert raised.value == found[1]
    setting.worker.at_once = True
    assert await answers([setting.submit(x=row(1, 2))[1]]) == [[[2.0, 2.0]]]


@on_loop
async def test_a_dead_worker_is_given_nothing_more() -> None:
    """Its process is gone, and its other lanes have not noticed."""
    setting = Setting(worker=FakeWorker(lanes=4, at_once=False))
    futures = [setting.submit(x)[1] for x in (1, 2)]
    (await setting.worker.batch(0)).finish(WORKER_LOST)
    futures.append(setting.submit(3)[1])
    await asyncio.sleep(0.02)
    assert len(setting.worker.batches) == 1
    setting.scheduler.detach(setting.version)
    setting.attach(FakeWorker())
    assert await answers(futures) == [[2], [4], [6]]


@on_loop
async def test_a_crash_is_put_down_to_one_that_was_alone() -> None:
    setting = Setting(worker=FakeWorker(at_once=False))
    strikes: list[tuple[str, Outline, int]] = []
    setting.version.on_strike = lambda *strike: strikes.append(strike)
    poison, healthy = setting.submit(1)[1], setting.submit(2)[1]
    await setting.worker.batch(0)
    die(setting, 0)
    assert strikes == []
    await setting.worker.batch(0)
    die(setting, 0)
    inputs = {"x": np.array([1], np.float32)}
    # That one, and the one before beside another.
    assert strikes == [(digest_of("double", inputs), outline_of("double", inputs), 2)]
    (await setting.worker.batch(0)).finish()
    assert await answers([poison, healthy]) == [WORKER_LOST, [4]]
    assert setting.version.died_at_work is not None


@on_loop
async def test_a_known_one_runs_alone_from_the_start_and_is_acquitted_by_its_answer() -> None:
    setting = Setting(worker=FakeWorker(at_once=False))
    digest = known(setting.version, [1], 2)
    before = setting.submit(x=np.array([5, 6], np.float32))[1]
    running = await setting.worker.batch(0)
    suspect, after = setting.submit(1)[1], setting.submit(7)[1]
    await asyncio.sleep(0.01)
    # What runs is waited for, and nothing more begins.
    assert len(setting.worker.batches) == 1
    running.finish()
    alone = await setting.worker.batch(1)
    await asyncio.sleep(0.01)
    assert (alone.inputs["x"].tolist(), len(setting.worker.batches)) == ([1], 2)
    alone.finish()
    (await setting.worker.batch(2)).finish()
    assert await answers([before, suspect, after]) == [[10, 12], [2], [14]]
    assert setting.version.poison.strikes(digest) == 0


@on_loop
async def test_after_three_crashes_it_is_refused_also_where_it_waits_already() -> None:
    setting = Setting(worker=FakeWorker(at_once=False))
    await_one = setting.submit(3, signature="no_batch")[1]
    second = setting.submit(3, signature="no_batch")[1]
    await setting.worker.batch(1)
    waiting = [setting.submit(x)[1] for x in (1, 2, 1)]
    known(setting.version, [1], STRIKES)
    with pytest.raises(ServingError) as raised:
        setting.submit(1)
    assert raised.value.code is Code.FAILED_PRECONDITION
    for number in (0, 1):
        setting.worker.batches[number].finish()
    batch = await setting.worker.batch(2)
    assert batch.inputs["x"].tolist() == [2]
    batch.finish()
    assert await answers([await_one, second, *waiting]) == [
        [6], [6], raised.value, [4], raised.value,
    ]  # fmt: skip
    # Others of its shape are only looked at.
    other = setting.submit(9)[1]
    (await setting.worker.batch(3)).finish()
    assert await answers([other]) == [[18]]


@on_loop
async def test_thousands_of_copies_are_refused_in_one_turn() -> None:
    setting = Setting(worker=FakeWorker(at_once=False))
    futures = [setting.submit(1)[1] for _ in range(900)]
    (await setting.worker.batch(0)).finish(WORKER_LOST)
    setting.scheduler.detach(setting.version)
    known(setting.version, [1], STRIKES)
    setting.attach(FakeWorker())
    refused = await answers(futures)
    codes = {answer.code for answer in refused if isinstance(answer, ServingError)}
    assert len(refused) == 900
    assert codes == {Code.FAILED_PRECONDITION}
    assert setting.scheduler.outstanding == 0
    assert await setting.ask([2]) == [[4]]


@on_loop
async def test_suspects_are_answered_while_their_version_drains() -> None:
    setting = Setting(worker=FakeWorker(at_once=False))
    futures = [setting.submit(x)[1] for x in (1, 2, 3)]
    await setting.worker.batch(0)
    draining = asyncio.ensure_future(setting.scheduler.drain(setting.version, 20.0))
    await asyncio.sleep(0)
    die(setting, 0)
    setting.worker.at_once = True
    assert await asyncio.wait_for(draining, 20) == 0
    assert await answers(futures) == [[2], [4], [6]]


@on_loop
async def test_a_suspect_whose_caller_goes_is_not_run() -> None:
    setting = Setting(worker=FakeWorker(at_once=False))
    submitted = [setting.submit(x) for x in (1, 2, 3)]
    await setting.worker.batch(0)
    die(setting, 0)
    setting.scheduler.cancel(submitted[1][0])
    setting.worker.at_once = True
    assert await answers([submitted[0][1], submitted[2][1]]) == [[2], [6]]
    assert [batch.inputs["x"].tolist() for batch in setting.worker.batches] == [[1], [3]]
    assert setting.scheduler.outstanding == 0


@on_loop
async def test_what_is_taken_out_is_answered_by_another_start() -> None:
    setting = Setting(worker=FakeWorker(at_once=False))
    futures: list[Any] = [setting.submit(x)[1] for x in (1, 2)]
    await setting.worker.batch(0)
    old = setting.version
    setting.worker.batches[0].finish(WORKER_LOST)
    setting.scheduler.detach(old)
    futures.append(setting.submit(3)[1])
    taken = setting.scheduler.take_out(old)
    assert len(taken) == 3
    again = VersionQueues(old.signatures, None, dict(old.merging))
    setting.version = again
    setting.attach(FakeWorker())
    for task in taken:
        setting.scheduler.hand_over(task, again)
    assert await answers(futures) == [[2], [4], [6]]
    # Two of them were in the worker that died: they ran alone.
    assert sorted(setting.worker.sizes()) == [1, 1, 1]
    assert (old.pending, again.pending, again.answered) == (0, 0, 3)
    # One that is answered already is not answered again.
    setting.scheduler.hand_over(taken[0], again)
    assert (old.pending, again.pending) == (0, 0)


def test_digests_tell_inputs_apart() -> None:
    def words(*values: bytes) -> dict[str, np.ndarray]:
        return {"x": np.array(values, object)}

    different = [
        ("double", {"x": np.array([1], np.float32)}),
        ("other", {"x": np.array([1], np.float32)}),
        ("double", {"y": np.array([1], np.float32)}),
        ("double", {"x": np.array([[1]], np.float32)}),
        ("double", {"x": np.array(1, np.float32)}),
        ("double", {"x": np.array([1], np.int32)}),
        ("double", {"x": np.array([2], np.float32)}),
        ("double", {"x": np.array([], np.float32)}),
        ("double", words(b"ab", b"c")),
        ("double", words(b"a", b"bc")),
        ("double", words(b"abc")),
        ("double", {"x": np.array([1], np.float32), "y": np.array([True])}),
    ]
    digests = [digest_of(signature, inputs) for signature, inputs in different]
    assert len(set(digests)) == len(different)
    assert all(len(digest) == 16 and int(digest, 16) >= 0 for digest in digests)
    # What is the same is the same however it lies in memory, and in whatever order it came.
    table = np.arange(6, dtype=np.float32).reshape(2, 3)
    assert digest_of("s", {"x": table.T}) == digest_of("s", {"x": np.ascontiguousarray(table.T)})
    x, y = np.ones(1), np.zeros(2)
    assert digest_of("s", {"x": x, "y": y}) == digest_of("s", {"y": y, "x": x})
    assert str(outline_of("s", {"x": table, "w": words(b"a")["x"]})) == (
        "s(w: string [1], x: float32 [2, 3])"
    )
