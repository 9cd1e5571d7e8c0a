"""The batch scheduler on a real event loop, with a worker that does what a test tells it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Mapping, Sequence
from typing import Any, cast

import numpy as np
import pytest
import uvloop

from workbench.core.batching.merging import Merging, has_batch_dimension
from workbench.core.batching.parameters import BatchingParameters
from workbench.core.signature import Signature, TensorInfo
from workbench.core.status import (
    Code,
    ServingError,
    failed_precondition,
    invalid_argument,
    unavailable,
)
from workbench.ipc.frames import Tensors
from workbench.server.engine.batching import runs, scheduler, tasks, turns
from workbench.server.engine.batching.batch_records import BatchRecord
from workbench.server.engine.batching.scheduler import BatchScheduler
from workbench.server.engine.batching.tasks import Task, VersionQueues, now_micros
from workbench.server.engine.workers.worker_handle import WORKER_LOST, Answer, Worker

ROWS = TensorInfo("float", (-1,))
SIGNATURES = {
    "double": Signature({"x": ROWS}, {"y": ROWS}),
    "no_batch": Signature({"x": TensorInfo("float", (3,))}, {"y": ROWS}),
    "unknown": Signature({"x": TensorInfo("float", None)}, {"y": ROWS}),
    "none": Signature({}, {"y": ROWS}),
}
MERGING = {n: Merging(has_batch_dimension(s), "shape") for n, s in SIGNATURES.items()}
BAD = invalid_argument("a bad row")


class Batch:
    """A batch that has come to the worker; `finish` answers it."""

    def __init__(
        self,
        lane: Lane,
        signature: str,
        parts: Mapping[str, Sequence[np.ndarray]],
        outputs: Sequence[str],
        answer: Answer,
    ) -> None:
        self.signature = signature
        self.outputs = outputs
        self.inputs = {n: np.concatenate([np.atleast_1d(a) for a in p]) for n, p in parts.items()}
        self._lane = lane
        self._answer = answer

    def finish(self, result: Tensors | ServingError | None = None) -> None:
        """Answer with this, or with twice the inputs; a negative number fails all of it."""
        if result is None:
            x = self.inputs.get("x", np.zeros(1, np.float32))
            result = BAD if np.any(x < 0) else {"y": 2 * x}
        self._answer(result, 7)
        self._lane.busy = False


class Lane:
    def __init__(self, worker: FakeWorker) -> None:
        self.worker = worker
        self.busy = False
        self.released = 0

    def run(
        self,
        signature: str,
        parts: Mapping[str, Sequence[np.ndarray]],
        outputs: Sequence[str],
        answer: Answer,
        quiet: bool = False,
    ) -> None:
        if self.worker.refusal is not None:
            raise self.worker.refusal
        self.busy = True
        batch = Batch(self, signature, parts, outputs, answer)
        self.worker.batches.append(batch)
        self.worker.came.set()
        if self.worker.at_once:
            asyncio.get_running_loop().call_soon(batch.finish)

    def release_if_idle(self, seconds: float) -> None:
        self.released += 1


class FakeWorker:
    """Stands in for `Worker`: its batches wait for the test, or are answered at once."""

    def __init__(self, lanes: int = 2, at_once: bool = True) -> None:
        self.lanes = [Lane(self) for _ in range(lanes)]
        self.at_once = at_once
        self.batches: list[Batch] = []
        self.came = asyncio.Event()
        self.refusal: Exception | None = None
        self.aborted = False

    def free_lane(self) -> Lane | None:
        return next((lane for lane in self.lanes if not lane.busy), None)

    async def batch(self, number: int) -> Batch:
        """The batch of this number, when it has come."""
        while len(self.batches) <= number:
            self.came.clear()
            await asyncio.wait_for(self.came.wait(), 10)
        return self.batches[number]

    def sizes(self) -> list[int]:
        return [len(batch.inputs["x"]) for batch in self.batches]


class Setting:
    """A scheduler, one version, and its worker."""

    def __init__(
        self,
        parameters: BatchingParameters | None = None,
        slots: int = 2,
        worker: FakeWorker | None = None,
    ) -> None:
        self.scheduler = BatchScheduler(slots)
        self.version = VersionQueues(SIGNATURES, parameters, dict(MERGING))
        self.worker = worker or FakeWorker()
        self.attach(self.worker)

    def attach(self, worker: FakeWorker) -> None:
        self.worker = worker
        self.scheduler.attach(self.version, cast(Worker, worker))

    def submit(
        self,
        *x: float,
        signature: str = "double",
        seconds: float = 60.0,
        outputs: Sequence[str] = (),
        **inputs: np.ndarray,
    ) -> tuple[Task, asyncio.Future[list[float]]]:
        future: asyncio.Future[list[float]] = asyncio.get_running_loop().create_future()

        def answer(result: Tensors | ServingError) -> None:
            if isinstance(result, ServingError):
                future.set_exception(result)
            else:
                future.set_result(result["y"].tolist())

        deadline = now_micros() + round(seconds * 1e6)
        arrays = inputs or {"x": np.array(x, np.float32)}
        task = Task(self.version, signature, arrays, outputs, deadline, answer)
        self.scheduler.submit(task)
        return task, future

    async def ask(self, *rows: Sequence[float], **settings: Any) -> list[Any]:
        """Submit requests in one turn of the loop; their answers or errors."""
        futures = [self.submit(*x, **settings)[1] for x in rows]
        return await answers(futures)


async def answers(futures: Sequence[asyncio.Future[Any]]) -> list[Any]:
    return await asyncio.wait_for(asyncio.gather(*futures, return_exceptions=True), 20)


Test = Callable[[], Coroutine[Any, Any, None]]


def on_loop(test: Test) -> Callable[[], None]:
    """Run a coroutine test on a loop of its own; no exception may go unnoticed there."""

    def run() -> None:
        unnoticed: list[Any] = []

        async def bounded() -> None:
            asyncio.get_running_loop().set_exception_handler(lambda _, c: unnoticed.append(c))
            await asyncio.wait_for(test(), 60)

        uvloop.run(bounded())
        assert unnoticed == []

    run.__name__ = test.__name__
    run.__doc__ = test.__doc__
    return run


# Merging.


@on_loop
async def test_with_slots_of_its_own_a_version_is_not_kept_waiting_by_another() -> None:
    async def batches_in_flight(isolated: bool) -> tuple[int, int]:
        parameters = BatchingParameters(max_batch_size=1, batch_timeout_micros=1000)
        setting = Setting(parameters, slots=1, worker=FakeWorker(at_once=False))
        if isolated:
            setting.scheduler.close()
            setting.scheduler = BatchScheduler(1, per_version_slots=True)
            setting.attach(setting.worker)
        other = VersionQueues(SIGNATURES, parameters, dict(MERGING))
        other_worker = FakeWorker(at_once=False)
        setting.scheduler.attach(other, cast(Worker, other_worker))
        first = setting.submit(1)[1]
        await setting.worker.batch(0)
        second: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        task = Task(
            other,
            "double",
            {"x": np.ones(1, np.float32)},
            (),
            now_micros() + 60_000_000,
            lambda result: second.set_result(None),
        )
        setting.scheduler.submit(task)
        await asyncio.sleep(0.01)
        running = len(setting.worker.batches), len(other_worker.batches)
        setting.worker.batches[0].finish()
        (await other_worker.batch(0)).finish()
        await answers([first, second])
        return running

    assert await batches_in_flight(isolated=False) == (1, 0)
    assert await batches_in_flight(isolated=True) == (1, 1)


@on_loop
async def test_requests_of_one_turn_share_a_batch_and_get_their_own_rows() -> None:
    setting = Setting()
    assert await setting.ask([1, 2], [3], [4, 5, 6]) == [[2, 4], [6], [8, 10, 12]]
    assert setting.worker.sizes() == [6]
    assert (setting.version.pending, setting.version.answered, setting.version.failed) == (0, 3, 0)
    told = setting.version.statistics.to_json()
    expected = {
        "batches": 1,
        "rows": 6,
        "requests": 3,
        "padding": 0,
        "run_micros": 7,
        "reasons": {"executor_idle": 1},
        "sizes": {"6": 1},
    }
    assert {key: told[key] for key in expected} == expected


@on_loop
async def test_what_does_not_fit_together_is_not_merged() -> None:
    setting = Setting(slots=1)
    x = np.ones(2, np.float32)
    futures = [
        setting.submit(x=x)[1],
        setting.submit(x=x.astype(np.float64))[1],  # another dtype
        setting.submit(x=np.ones((2, 3), np.float32))[1],  # another shape
        setting.submit(x=x, outputs=("y",))[1],  # other outputs
    ]
    await answers(futures)
    assert setting.worker.sizes() == [2, 2, 2, 2]


@pytest.mark.parametrize(
    ("signature", "inputs"),
    [
        ("no_batch", {"x": np.ones(3, np.float32)}),
        ("unknown", {"x": np.ones(3, np.float32)}),
        ("none", {}),
        ("double", {"x": np.array(1.0, np.float32)}),  # no dimension to merge along
        ("double", {"x": np.ones(0, np.float32)}),  # no rows
        ("double", {"x": np.ones(1001, np.float32)}),  # too many for a batch
        ("double", {"a": np.ones(1), "x": np.ones(2)}),  # rows differ
    ],
)
def test_what_has_no_rows_of_its_own_runs_alone(
    signature: str, inputs: dict[str, np.ndarray]
) -> None:
    async def test() -> None:
        setting = Setting(slots=1)
        task = [Task(setting.version, signature, inputs, (), 2**62, got.append) for _ in "ab"]
        for each in task:
            setting.scheduler.submit(each)
        while len(got) < 2:
            await asyncio.sleep(0.001)
        assert len(setting.worker.batches) == 2

    got: list[Any] = []
    uvloop.run(asyncio.wait_for(test(), 10))
    assert [sorted(result) for result in got] == [["y"], ["y"]]


@on_loop
async def test_strings_of_more_dimensions_than_tensorflow_can_read_are_refused() -> None:
    """It would not refuse them itself: its process would be gone."""
    setting = Setting()
    for shape in ((1,) * 33, (0,) * 50):
        strings = {"x": np.empty(shape, object)}
        task = Task(setting.version, "double", strings, (), 2**62, lambda result: None)
        with pytest.raises(ServingError) as raised:
            setting.scheduler.submit(task)
        assert raised.value == invalid_argument(
            f"Input 'x' has {len(shape)} dimensions; a tensor of strings can have 32"
        )
    assert (setting.version.pending, setting.scheduler.outstanding) == (0, 0)


@on_loop
async def test_automatically_nobody_suffers_from_a_bad_neighbour() -> None:
    setting = Setting()
    assert await setting.ask([1], [-1], [2, 3]) == [[2], BAD, [4, 6]]
    assert setting.worker.sizes() == [4, 1, 1, 2]
    assert (setting.version.answered, setting.version.failed) == (2, 1)


def test_who_finds_no_place_to_run_alone_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    one = BatchingParameters(max_batch_size=1, max_enqueued_batches=1)
    for module in (runs, tasks, turns):
        monkeypatch.setattr(module, "SOLO_PARAMETERS", one)

    async def test() -> None:
        setting = Setting()
        assert await setting.ask([1], [-1]) == [
            [2],
            unavailable(
                "The batch scheduling queue to which this task was submitted is full; currently 1 "
                "batches enqueued and max_enqueued_batches is 1"
            ),
        ]

    uvloop.run(asyncio.wait_for(test(), 10))


@on_loop
async def test_automatically_outputs_need_not_follow_the_rows() -> None:
    setting = Setting(worker=FakeWorker(at_once=False))
    futures = [setting.submit(1)[1], setting.submit(2)[1]]
    total = {"y": np.array(3.0)}
    (await setting.worker.batch(0)).finish(total)
    (await setting.worker.batch(1)).finish({"y": np.array([1.0])})
    (await setting.worker.batch(2)).finish({"y": np.array([2.0])})
    assert await answers(futures) == [[1.0], [2.0]]
    # Alone, whatever comes out is the answer.
    _, future = setting.submit(1)
    (await setting.worker.batch(3)).finish(total)
    (await setting.worker.batch(4)).finish(total)
    assert await answers([future]) == [3.0]


@on_loop
async def test_with_parameters_a_batch_shares_its_fate() -> None:
    setting = Setting(BatchingParameters())
    assert await setting.ask([1], [-1], [2]) == [BAD, BAD, BAD]
    assert setting.worker.sizes() == [3]
    assert (setting.version.answered, setting.version.failed) == (0, 3)


@on_loop
async def test_with_parameters_outputs_must_follow_the_rows() -> None:
    setting = Setting(BatchingParameters(), worker=FakeWorker(at_once=False))
    futures = [setting.submit(1)[1], setting.submit(2)[1]]
    (await setting.worker.batch(0)).finish({"y": np.array(3.0)})
    wrong = failed_precondition("Batched output tensor has 0 dimensions")
    assert await answers(futures) == [wrong, wrong]


@on_loop
async def test_with_parameters_shapes_must_fit_unless_padded() -> None:
    setting = Setting(BatchingParameters())
    inputs = [np.ones((1, 2), np.float32), np.ones((1, 3), np.float32)]
    errors = await answers([setting.submit(x=x, signature="unknown")[1] for x in inputs])
    assert [error.code for error in errors] == [Code.FAILED_PRECONDITION] * 2
    assert errors[0].message.startswith("Tensors with name 'x' from different tasks have")
    padded = Setting(BatchingParameters(pad_variable_length_inputs=True))
    assert await answers([padded.submit(x=x, signature="unknown")[1] for x in inputs]) == [
        [[2.0, 2.0, 2.0]],
        [[2.0, 2.0, 2.0]],
    ]


@pytest.mark.parametrize(
    ("parameters", "sizes"),
    [
        (None, [1, 1, 2]),
        (BatchingParameters(), [2, 2]),
    ],
)
def test_what_disagrees_with_its_signature_shares_no_batch_with_what_agrees(
    parameters: BatchingParameters | None, sizes: list[int]
) -> None:
    @on_loop
    async def test() -> None:
        setting = Setting(parameters)
        wrong = [setting.submit(x=np.ones((1, 2), np.float32))[1] for _ in range(2)]
        right = [setting.submit(x)[1] for x in (1, 2)]
        assert await answers(right) == [[2], [4]]
        assert await answers(wrong) == [[[2.0, 2.0]]] * 2
        assert sorted(setting.worker.sizes()) == sizes
        setting.scheduler.close()

    test()


@on_loop
async def test_with_parameters_a_wrong_size_is_padded_as_in_tensorflow_serving() -> None:
    """Padding may make it right; else it has a batch of its own."""
    info = TensorInfo("float", (-1, 3))
    shapes = Signature({"x": info}, {"y": info})
    for pad, sizes in ((False, [1, 1]), (True, [2])):
        setting = Setting(BatchingParameters(pad_variable_length_inputs=pad))
        setting.version.signatures = {"double": shapes}
        inputs = [np.ones((1, 2), np.float32), np.ones((1, 3), np.float32)]
        await answers([setting.submit(x=x)[1] for x in inputs])
        assert setting.worker.sizes() == sizes
        setting.scheduler.close()


@on_loop
async def test_with_parameters_a_wrong_dtype_does_not_meet_the_others() -> None:
    setting = Setting(BatchingParameters())
    inputs = [np.ones(1, np.float32), np.ones(1, np.float64)]
    assert await answers([setting.submit(x=x)[1] for x in inputs]) == [[2.0], [2.0]]
    assert sorted(b.inputs["x"].dtype.name for b in setting.worker.batches) == [
        "float32",
        "float64",
    ]


@pytest.mark.parametrize(
    ("inputs", "message"),
    [
        ({}, "Batching Run() must have at least one input tensor"),
        (
            {"x": np.array(1.0)},
            "Batching Run() input tensors must have at least one dimension",
        ),
        (
            {"x": np.ones(11)},
            "Task size 11 is larger than maximum input batch size 10",
        ),
    ],
)
def test_with_parameters_what_cannot_be_batched_is_refused(
    inputs: dict[str, np.ndarray], message: str
) -> None:
    async def test() -> None:
        setting = Setting(BatchingParameters(max_batch_size=10))
        task = Task(setting.version, "double", inputs, (), 2**62, lambda result: None)
        with pytest.raises(ServingError) as raised:
            setting.scheduler.submit(task)
        assert raised.value == invalid_argument(message)
        assert (setting.version.pending, setting.scheduler.outstanding) == (0, 0)

    uvloop.run(test())


@on_loop
async def test_a_batch_is_padded_to_an_allowed_size_and_cut_again() -> None:
    parameters = BatchingParameters(max_batch_size=8, allowed_batch_sizes=(4, 8))
    setting = Setting(parameters)
    assert await setting.ask([1, 2], [3]) == [[2, 4], [6]]
    assert setting.worker.batches[0].inputs["x"].tolist() == [1, 2, 3, 3]
    told = setting.version.statistics.to_json()
    assert (told["rows"], told["padding"]) == (3, 1)


SPLIT = BatchingParameters(
    max_batch_size=100, enable_large_batch_splitting=True, max_execution_batch_size=4
)


@on_loop
async def test_a_large_request_is_split_and_put_together_again() -> None:
    setting = Setting(SPLIT)
    assert await setting.ask([1], [2, 3, 4, 5, 6, 7, 8, 9], [10]) == [
        [2],
        [4, 6, 8, 10, 12, 14, 16, 18],
        [20],
    ]
    assert setting.worker.sizes() == [4, 4, 2]


@on_loop
async def test_one_failed_part_fails_a_split_request_once_and_the_rest_is_not_run() -> None:
    setting = Setting(SPLIT, slots=1, worker=FakeWorker(at_once=False))
    _, large = setting.submit(*range(1, 10))
    _, small = setting.submit(5)
    (await setting.worker.batch(0)).finish(BAD)
    # What is left of the large request goes nowhere; the small one that shared a batch with
    # its last row does.
    last = await setting.worker.batch(1)
    assert last.inputs["x"].tolist() == [5]
    last.finish()
    assert await answers([large, small]) == [BAD, [10]]
    assert (setting.version.pending, setting.version.failed) == (0, 1)


@on_loop
async def test_the_queue_is_bounded() -> None:
    parameters = BatchingParameters(max_batch_size=1, max_enqueued_batches=2)
    setting = Setting(parameters, slots=1, worker=FakeWorker(at_once=False))
    futures = [setting.submit(0)[1]]
    await setting.worker.batch(0)
    futures += [setting.submit(n)[1] for n in (1, 2)]
    with pytest.raises(ServingError) as raised:
        setting.submit(3)
    assert raised.value == unavailable(
        "The batch scheduling queue to which this task was submitted is full; currently 2 batches "
        "enqueued and max_enqueued_batches is 2"
    )
    for number in range(3):
        (await setting.worker.batch(number)).finish()
    assert await answers(futures) == [[0], [2], [4]]


@on_loop
async def test_a_batch_waits_for_its_timeout() -> None:
    setting = Setting(BatchingParameters(batch_timeout_micros=30_000))
    _, first = setting.submit(1)
    await asyncio.sleep(0)
    _, second = setting.submit(2)
    assert await answers([first, second]) == [[2], [4]]
    assert setting.worker.sizes() == [2]
    assert setting.version.statistics.to_json()["reasons"] == {"timeout": 1}


@on_loop
async def test_parameters_change_while_requests_wait() -> None:
    hour = 3600 * 1_000_000
    setting = Setting(BatchingParameters(batch_timeout_micros=hour))
    futures = [setting.submit(1)[1], setting.submit(2)[1]]
    await asyncio.sleep(0)
    assert setting.worker.batches == []
    setting.scheduler.reconfigure(setting.version, BatchingParameters())
    assert await answers(futures) == [[2], [4]]
    setting.scheduler.reconfigure(setting.version, None)
    assert await setting.ask([1], [-1]) == [[2], BAD]


@on_loop
async def test_slots_can_be_changed() -> None:
    setting = Setting(slots=1, worker=FakeWorker(at_once=False))
    first = setting.submit(1, signature="no_batch")[1]
    second = setting.submit(2, signature="no_batch")[1]
    await setting.worker.batch(0)
    assert len(setting.worker.batches) == 1
    setting.scheduler.slots = 2
    assert setting.scheduler.slots == 2
    (await setting.worker.batch(1)).finish()
    setting.worker.batches[0].finish()
    assert await answers([first, second]) == [[2], [4]]


# Deadlines and callers that go away.


@on_loop
async def test_a_deadline_passes_in_the_queue() -> None:
    for parameters, error in [
        (None, ServingError(Code.DEADLINE_EXCEEDED, "Timed out waiting for notification")),
        (
            BatchingParameters(),
            ServingError(
                Code.RESOURCE_EXHAUSTED, "Run() timeout exceeded while waiting in batching queue"
            ),
        ),
    ]:
        setting = Setting(parameters, slots=1, worker=FakeWorker(at_once=False))
        _, running = setting.submit(1)
        batch = await setting.worker.batch(0)
        _, late = setting.submit(2, seconds=0.0)
        _, patient = setting.submit(3)
        assert await answers([late]) == [error]
        batch.finish()
        (await setting.worker.batch(1)).finish()
        assert await answers([running, patient]) == [[2], [6]]
        assert setting.worker.sizes() == [1, 1]  # the late one was never run
        setting.scheduler.close()


@on_loop
async def test_a_deadline_passes_while_the_model_runs() -> None:
    setting = Setting(worker=FakeWorker(at_once=False))
    _, late = setting.submit(1, seconds=0.05)
    batch = await setting.worker.batch(0)
    assert await answers([late]) == [
        ServingError(Code.DEADLINE_EXCEEDED, "Timed out waiting for notification")
    ]
    # The lane is busy until the batch ends; its answer then goes nowhere.
    batch.finish()
    assert (setting.version.pending, setting.version.failed, setting.version.answered) == (0, 1, 0)
    setting.worker.at_once = True
    assert await setting.ask([2]) == [[4]]


@on_loop
async def test_who_goes_away_is_forgotten() -> None:
    setting = Setting(slots=1, worker=FakeWorker(at_once=False))
    running, first = setting.submit(1)
    batch = await setting.worker.batch(0)
    waiting, second = setting.submit(2)
    setting.scheduler.cancel(running)
    setting.scheduler.cancel(waiting)
    assert (setting.version.pending, setting.scheduler.outstanding) == (1, 1)
    batch.finish()
    assert (setting.version.pending, setting.scheduler.outstanding) == (0, 0)
    await asyncio.sleep(0)
    assert (first.done(), second.done(), setting.worker.sizes()) == (False, False, [1])


# Workers that die.


@on_loop
async def test_requests_of_a_dead_worker_run_once_more_on_the_next() -> None:
    setting = Setting(worker=FakeWorker(at_once=False))
    futures = [setting.submit(1)[1], setting.submit(2, signature="no_batch")[1]]
    first, second = await setting.worker.batch(0), await setting.worker.batch(1)
    setting.scheduler.detach(setting.version)
    first.finish(WORKER_LOST)
    second.finish(WORKER_LOST)
    futures.append(setting.submit(3)[1])
    await asyncio.sleep(0.01)
    assert not any(future.done() for future in futures)
    setting.attach(FakeWorker())
    assert await answers(futures) == [[2], [4], [6]]


@on_loop
async def test_a_second_death_is_the_requests_end() -> None:
    for parameters in (None, BatchingParameters(), SPLIT):
        setting = Setting(parameters, worker=FakeWorker(at_once=False))
        _, future = setting.submit(1)
        for _ in range(2):
            (await setting.worker.batch(0)).finish(WORKER_LOST)
            setting.scheduler.detach(setting.version)
            setting.attach(FakeWorker(at_once=False))
        assert await answers([future]) == [
            unavailable("The worker process ended while it ran this request")
        ]
        setting.scheduler.close()


@on_loop
async def test_both_parts_of_a_split_request_may_be_lost_with_one_worker() -> None:
    setting = Setting(SPLIT, worker=FakeWorker(at_once=False))
    _, future = setting.submit(*range(8))
    for number in (0, 1):
        await setting.worker.batch(number)
    setting.scheduler.detach(setting.version)
    for batch in setting.worker.batches:
        batch.finish(WORKER_LOST)
    setting.attach(FakeWorker())
    assert await answers([future]) == [[0, 2, 4, 6, 8, 10, 12, 14]]


@on_loop
async def test_a_request_answered_meanwhile_is_not_run_again() -> None:
    setting = Setting(worker=FakeWorker(at_once=False))
    _, late = setting.submit(1, seconds=0.0)
    batch = await setting.worker.batch(0)
    with pytest.raises(ServingError, match="Timed out waiting for notification"):
        await late
    setting.scheduler.detach(setting.version)
    batch.finish(WORKER_LOST)
    setting.attach(FakeWorker())
    assert await setting.ask([2]) == [[4]]
    assert setting.worker.sizes() == [1]


@on_loop
async def test_without_a_free_lane_a_batch_waits_its_turn() -> None:
    setting = Setting(slots=2, worker=FakeWorker(lanes=1, at_once=False))
    _, first = setting.submit(1, signature="no_batch")
    _, second = setting.submit(2, signature="no_batch")
    (await setting.worker.batch(0)).finish()
    (await setting.worker.batch(1)).finish()
    assert await answers([first, second]) == [[2], [4]]


@pytest.mark.parametrize(("lanes", "begun"), [(2, [2, 2]), (1, [1, 1])])
def test_the_next_closed_batch_runs_while_answers_are_handed_out(
    lanes: int, begun: list[int]
) -> None:
    """... where a lane is free for it: the answers lie in the memory of the first one."""

    @on_loop
    async def test() -> None:
        parameters = BatchingParameters(max_batch_size=2)
        setting = Setting(parameters, slots=1, worker=FakeWorker(lanes=lanes, at_once=False))
        seen: list[int] = []
        inputs = {"x": np.ones(1, np.float32)}
        for _ in range(2):
            task = Task(
                setting.version,
                "double",
                inputs,
                (),
                2**62,
                lambda _: seen.append(len(setting.worker.batches)),
            )
            setting.scheduler.submit(task)
        futures = [setting.submit(x)[1] for x in (3, 4)]
        (await setting.worker.batch(0)).finish()
        assert seen == begun
        (await setting.worker.batch(1)).finish()
        assert await answers(futures) == [[6], [8]]
        records = map(BatchRecord._make, setting.version.statistics.last_rows)
        assert [record.in_flight for record in records] == [1, 1]

    test()


@on_loop
async def test_what_a_lane_refuses_costs_no_slot() -> None:
    setting = Setting(slots=1)
    for refusal, error in [
        (ServingError(Code.RESOURCE_EXHAUSTED, "no memory"), None),
        (KeyError("x"), ServingError(Code.INTERNAL, "KeyError('x')")),
    ]:
        setting.worker.refusal = refusal
        assert await setting.ask([1]) == [error or refusal]
    setting.worker.refusal = None
    assert await setting.ask([1]) == [[2]]


def test_a_caller_that_fails_over_its_answer_harms_no_neighbour() -> None:
    async def test() -> None:
        unnoticed: list[Any] = []
        asyncio.get_running_loop().set_exception_handler(lambda _, c: unnoticed.append(c))
        setting = Setting()

        def fail(result: Any) -> None:
            raise ValueError("cannot be delivered")

        inputs = {"x": np.ones(1, np.float32)}
        setting.scheduler.submit(Task(setting.version, "double", inputs, (), 2**62, fail))
        assert await setting.ask([2]) == [[4]]
        assert [str(context["exception"]) for context in unnoticed] == ["cannot be delivered"]

    uvloop.run(asyncio.wait_for(test(), 10))


# Versions that end.


@on_loop
async def test_draining_answers_everything_and_accepts_nothing() -> None:
    setting = Setting(
        BatchingParameters(batch_timeout_micros=3600 * 1_000_000),
        worker=FakeWorker(at_once=False),
    )
    futures = [setting.submit(1)[1], setting.submit(2)[1]]
    draining = asyncio.ensure_future(setting.scheduler.drain(setting.version, 20.0))
    batch = await setting.worker.batch(0)
    with pytest.raises(ServingError) as raised:
        setting.submit(3)
    assert raised.value == unavailable("The version is being unloaded")
    batch.finish()
    assert await asyncio.wait_for(draining, 20) == 0
    assert await answers(futures) == [[2], [4]]
    assert setting.version.statistics.to_json()["reasons"] == {"drain": 1}
    assert await setting.scheduler.drain(setting.version, 20.0) == 0


@on_loop
async def test_draining_runs_alone_what_failed_together() -> None:
    for signature in ("double", "no_batch"):  # with and without a queue for single requests
        setting = Setting(worker=FakeWorker(at_once=False))
        if signature == "no_batch":
            _, single = setting.submit(9, signature=signature)
            (await setting.worker.batch(0)).finish()
            assert await answers([single]) == [[18]]
        futures = [setting.submit(1)[1], setting.submit(-1)[1]]
        batch = await setting.worker.batch(len(setting.worker.batches))
        draining = asyncio.ensure_future(setting.scheduler.drain(setting.version, 20.0))
        await asyncio.sleep(0)
        setting.worker.at_once = True
        batch.finish()
        assert await asyncio.wait_for(draining, 20) == 0
        assert await answers(futures) == [[2], BAD]
        setting.scheduler.close()


@on_loop
async def test_what_a_drain_leaves_is_answered_too() -> None:
    setting = Setting(slots=1, worker=FakeWorker(at_once=False))
    futures = [setting.submit(1)[1]]
    batch = await setting.worker.batch(0)
    futures.append(setting.submit(2, signature="no_batch")[1])
    assert await setting.scheduler.drain(setting.version, 0.0) == 2
    ended = unavailable("The version ended before it answered (0.0 s)")
    assert await answers(futures) == [ended, ended]
    batch.finish(WORKER_LOST)
    assert setting.scheduler.outstanding == 0


@on_loop
async def test_versions_share_the_slots_in_turn() -> None:
    setting = Setting(slots=1, worker=FakeWorker(at_once=False))
    other = VersionQueues(SIGNATURES, None, dict(MERGING))
    setting.scheduler.attach(other, cast(Worker, setting.worker))
    futures = [setting.submit(n, signature="no_batch")[1] for n in (1, 2, 3)]
    mine, setting.version = setting.version, other
    futures.append(setting.submit(4, signature="no_batch")[1])
    order = []
    for number in range(4):
        batch = await setting.worker.batch(number)
        order.append(batch.inputs["x"].tolist())
        batch.finish()
    assert order == [[1], [4], [2], [3]]
    assert await answers(futures) == [[2], [4], [6], [8]]
    assert (mine.answered, other.answered) == (3, 1)


def test_idle_queues_and_idle_memory_are_given_back(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(scheduler, "_SWEEP_SECONDS", 0.001)

    async def test() -> None:
        setting = Setting()
        shapes = [np.ones((1, n), np.float32) for n in range(1, 60)]
        await answers([setting.submit(x=x)[1] for x in shapes])
        while len(setting.version.queues) > 32:
            await asyncio.sleep(0.001)
        while not all(lane.released for lane in setting.worker.lanes):
            await asyncio.sleep(0.001)
        assert await setting.ask([1]) == [[2]]
        setting.scheduler.close()

    uvloop.run(asyncio.wait_for(test(), 20))


@on_loop
async def test_the_poison_of_a_batch_takes_no_neighbour_along() -> None:
    """After the death of their worker the requests of a batch run one by one."""
    setting = Setting(worker=FakeWorker(at_once=False))
    futures = [setting.submit(x)[1] for x in (1, -1, 2)]
    dying = setting.worker
    batch = await dying.batch(0)
    setting.scheduler.detach(setting.version)
    batch.finish(WORKER_LOST)
    sizes = []
    setting.attach(FakeWorker(at_once=False))
    for number in (0, 1):
        batch = await setting.worker.batch(number)
        # Two slots are free, and yet one of them runs at a time.
        await asyncio.sleep(0.01)
        assert len(setting.worker.batches) == number + 1
        sizes.append(len(batch.inputs["x"]))
        if batch.inputs["x"][0] > 0:
            batch.finish()
    setting.scheduler.detach(setting.version)
    batch.finish(WORKER_LOST)
    setting.attach(FakeWorker())
    assert await answers(futures) == [[2], WORKER_LOST, [4]]
    assert [*sizes, *setting.worker.sizes()] == [1, 1, 1]


@on_loop
async def test_a_run_that_outlives_all_who_waited_for_it_is_told_of() -> None:
    setting = Setting(worker=FakeWorker(at_once=False))
    setting.version.hang_micros = 0
    told: list[Any] = []
    setting.scheduler.on_stuck = lambda worker, seconds: told.append(worker)
    task, _ = setting.submit(1)
    await setting.worker.batch(0)
    await asyncio.sleep(0.3)
    # Somebody waits, so it only takes long.
    assert told == []
    setting.scheduler.cancel(task)
    setting.scheduler._outstanding.finish(task, None)
    await asyncio.sleep(0.3)
    assert told == [setting.worker]
    setting.worker.batches[0].finish()


@on_loop
async def test_a_version_has_so_many_requests_waiting_and_no_more() -> None:
    setting = Setting(worker=FakeWorker(at_once=False))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(scheduler, "MAX_PENDING", 2)
        # Of whatever shapes: each has a queue of its own.
        futures = [setting.submit(x=np.ones((1, n), np.float32))[1] for n in (1, 2)]
        with pytest.raises(ServingError) as raised:
            setting.submit(x=np.ones((1, 3), np.float32))
        assert raised.value == unavailable("2 requests wait for this version already")
    assert setting.version.statistics.rejected == 1
    for number in (0, 1):
        (await setting.worker.batch(number)).finish({"y": np.zeros(1)})
    assert await answers(futures) == [[0], [0]]


@on_loop
async def test_alone_a_request_that_would_come_too_late_is_refused_at_once() -> None:
    setting = Setting(slots=1, worker=FakeWorker(at_once=False))
    setting.version.solo_micros = 1e6
    futures = [setting.submit(1, signature="no_batch", seconds=1.5)[1]]
    await setting.worker.batch(0)
    futures += [setting.submit(1, signature="no_batch", seconds=1.5)[1]]
    with pytest.raises(ServingError) as raised:
        for _ in range(2):
            futures += [setting.submit(1, signature="no_batch", seconds=1.5)[1]]
    assert raised.value == unavailable(
        "2 requests wait for this version already, for about 2.0 s: longer than this one has"
    )
    # Whoever has more time may wait.
    futures += [setting.submit(1, signature="no_batch", seconds=9)[1]]
    for number in range(len(futures)):
        (await setting.worker.batch(number)).finish()
    assert await answers(futures) == [[2]] * 4
    assert setting.version.solo_micros < 1e6
