"""The batching algorithm: TensorFlow's own facts as exact histories, then its laws."""

from __future__ import annotations

import dataclasses
from collections import Counter
from itertools import accumulate

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from workbench.core.batching.parameters import BatchingParameters
from workbench.core.batching.queue import Batch, BatchQueue, CloseReason, Part
from workbench.core.batching.slots import SlotScheduler
from workbench.core.status import Code, ServingError, invalid_argument, unavailable

FULL, TIMEOUT, IDLE, DRAIN, SPLIT = (
    CloseReason.FULL,
    CloseReason.TIMEOUT,
    CloseReason.EXECUTOR_IDLE,
    CloseReason.DRAIN,
    CloseReason.SPLIT,
)


def make_queue(limit: int = 10, **settings: object) -> BatchQueue[str]:
    return BatchQueue(BatchingParameters(max_batch_size=limit, **settings))  # type: ignore[arg-type]


def splitting_queue(limit: int, most: int = 1000, **settings: object) -> BatchQueue[str]:
    return make_queue(
        most, max_execution_batch_size=limit, enable_large_batch_splitting=True, **settings
    )


def offer_sizes(queue: BatchQueue[str], *sizes: int, now: int = 0) -> None:
    for index, size in enumerate(sizes):
        queue.offer(f"t{index}", size, now)


def taken_sizes(queue: BatchQueue[str], now: int = 0) -> list[list[int]]:
    """The sizes in every batch that can be taken at `now`."""
    batches = []
    while batch := queue.take(now):
        assert batch.size == sum(part.size for part in batch.parts)
        batches.append([part.size for part in batch.parts])
    return batches


def refusal(queue: BatchQueue[str], size: int) -> ServingError:
    with pytest.raises(ServingError) as raised:
        queue.offer("refused", size, 0)
    return raised.value


class _Same:
    """Equal to a batch with the same fields (batches themselves compare by identity)."""

    def __init__(self, batch: Batch[str]) -> None:
        self.fields = dataclasses.asdict(batch)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Batch) and dataclasses.asdict(other) == self.fields

    def __repr__(self) -> str:
        return f"Batch({self.fields})"


# The facts of TensorFlow's shared_batch_scheduler_test.cc.


def whole(*sizes: tuple[str, int]) -> list[Part[str]]:
    """Tasks that are not split, as parts."""
    return [Part(task, size, 0, size) for task, size in sizes]


def test_basic_tasks_of_two_queues_never_mix() -> None:
    first, second = make_queue(10), make_queue(10)
    for now, (queue, task, size) in enumerate(
        [(first, "a", 1), (second, "A", 2), (first, "b", 3), (second, "B", 4), (first, "c", 5)]
    ):
        queue.offer(task, size, now)
    scheduler: SlotScheduler[str] = SlotScheduler(2)
    scheduler.add(first)
    scheduler.add(second)
    assert [scheduler.next(7), scheduler.next(8), scheduler.next(9)] == [
        (first, _Same(Batch(0, 0, 9, whole(("a", 1), ("b", 3), ("c", 5)), 7, IDLE))),
        (second, _Same(Batch(0, 1, 6, whole(("A", 2), ("B", 4)), 8, IDLE))),
        None,
    ]


def test_obeys_the_batch_size_constraint() -> None:
    queue = make_queue(10)
    for now, (task, size) in enumerate([("a", 3), ("b", 5), ("c", 3), ("d", 1), ("e", 6)]):
        queue.offer(task, size, now)
    # c does not fit, and closes the batch before it; e fills its batch.
    assert [queue.take(9), queue.take(9), queue.take(9)] == [
        _Same(Batch(0, 0, 8, whole(("a", 3), ("b", 5)), 2, FULL)),
        _Same(Batch(1, 2, 10, whole(("c", 3), ("d", 1), ("e", 6)), 4, FULL)),
        None,
    ]


def test_obeys_the_batch_size_constraint_with_splitting() -> None:
    queue = splitting_queue(10)
    tasks = [("a", 3), ("b", 5), ("c", 3), ("d", 1), ("e", 6), ("f", 1)]
    for now, (task, size) in enumerate(tasks):
        queue.offer(task, size, now)
    # Two rows of c fill the batch; its last row opens the next, which nothing fills.
    assert [queue.take(9), queue.take(9), queue.take(9)] == [
        _Same(Batch(0, 0, 10, [*whole(("a", 3), ("b", 5)), Part("c", 2, 0, 3)], 2, SPLIT)),
        _Same(Batch(1, 2, 9, [Part("c", 1, 2, 3), *whole(("d", 1), ("e", 6), ("f", 1))], 9, IDLE)),
        None,
    ]


def test_obeys_the_timeout_which_counts_from_the_first_task_of_the_open_batch() -> None:
    queue = make_queue(4, batch_timeout_micros=10)
    queue.offer("a", 1, 0)
    assert queue.next_deadline() == 10
    assert queue.take(9) is None
    assert queue.take(10) == _Same(Batch(0, 0, 1, [Part("a", 1, 0, 1)], 10, TIMEOUT))
    queue.offer("b", 2, 20)
    assert queue.take(20) is None
    queue.offer("c", 3, 21)  # does not fit: closes the open batch, whatever its timeout
    assert queue.next_deadline() == 21
    assert queue.take(21) == _Same(Batch(1, 20, 2, [Part("b", 2, 0, 2)], 21, FULL))
    assert queue.take(30) is None
    assert queue.take(31) == _Same(Batch(2, 21, 3, [Part("c", 3, 0, 3)], 31, TIMEOUT))
    assert queue.next_deadline() is None


def test_later_tasks_do_not_move_the_timeout() -> None:
    queue = make_queue(10, batch_timeout_micros=10)
    queue.offer("a", 1, 0)
    queue.offer("b", 1, 9)
    assert queue.next_deadline() == 10
    assert queue.take(10) == _Same(
        Batch(0, 0, 2, [Part("a", 1, 0, 1), Part("b", 1, 0, 1)], 10, TIMEOUT)
    )


def test_zero_timeout_runs_as_soon_as_an_executor_is_free() -> None:
    queue = make_queue(10)
    queue.offer("a", 1, 5)
    assert queue.next_deadline() == 5
    assert queue.take(5) == _Same(Batch(0, 5, 1, [Part("a", 1, 0, 1)], 5, IDLE))


@pytest.mark.parametrize("batches", [1, 2, 5])
def test_capacity_does_not_count_the_batch_that_is_run(batches: int) -> None:
    queue = make_queue(2, max_enqueued_batches=batches)
    assert queue.scheduling_capacity == 2 * batches
    queue.offer("running", 2, 0)
    assert queue.scheduling_capacity == 2 * batches - 2
    assert queue.take(1) == _Same(Batch(0, 0, 2, whole(("running", 2)), 0, FULL))
    for done in range(2 * batches):
        assert queue.scheduling_capacity == 2 * batches - done
        queue.offer(f"t{done}", 1, 2 + done)
    assert (len(queue), queue.rows, queue.enqueued_batches) == (2 * batches, 2 * batches, batches)
    assert queue.scheduling_capacity == 0
    assert refusal(queue, 1) == unavailable(
        "The batch scheduling queue to which this task was submitted is full; currently "
        f"{batches} batches enqueued and max_enqueued_batches is {batches}"
    )
    assert len(queue) == 2 * batches
    # Each pair filled its batch when its second task came.
    for n in range(1, batches + 1):
        pair = whole((f"t{2 * n - 2}", 1), (f"t{2 * n - 1}", 1))
        assert queue.take(99) == _Same(Batch(n, 2 * n, 2, pair, 2 * n + 1, FULL))
    assert queue.take(99) is None


def test_a_closed_queue_accepts_nothing_and_gives_everything() -> None:
    queue = make_queue(4, batch_timeout_micros=1000)
    offer_sizes(queue, 3, 2)
    queue.close()
    assert queue.draining
    assert refusal(queue, 1) == unavailable(
        "The batch scheduling queue to which this task was submitted is closed"
    )
    assert queue.take(1) == _Same(Batch(0, 0, 3, [Part("t0", 3, 0, 3)], 0, FULL))
    assert queue.next_deadline() == 0
    assert queue.take(1) == _Same(Batch(1, 0, 2, [Part("t1", 2, 0, 2)], 1, DRAIN))
    assert not queue


def test_no_enqueued_batch_is_rewritten_to_one() -> None:
    queue = make_queue(2, max_enqueued_batches=0)
    assert queue.scheduling_capacity == 2
    offer_sizes(queue, 2)
    assert refusal(queue, 1) == unavailable(
        "The batch scheduling queue to which this task was submitted is full; currently "
        "1 batches enqueued and max_enqueued_batches is 1"
    )


def test_counts_tasks_and_capacity() -> None:
    queue = make_queue(10, max_enqueued_batches=3)
    seen = [(len(queue), queue.scheduling_capacity)]
    for size in (3, 5):
        queue.offer("t", size, 0)
        seen.append((len(queue), queue.scheduling_capacity))
    assert seen == [(0, 30), (1, 27), (2, 22)]
    assert taken_sizes(queue) == [[3, 5]]


# The rest of the algorithm.


@pytest.mark.parametrize(
    ("size", "open_slots", "limit", "expected"),
    [
        (5, 1, 1, [1, 1, 1, 1, 1]),
        (10, 3, 4, [3, 4, 3]),
        (20, 5, 6, [5, 6, 6, 3]),
        (30, 0, 11, [11, 11, 8]),
        (5, 6, 8, [5]),
    ],
)
def test_split_sizes(size: int, open_slots: int, limit: int, expected: list[int]) -> None:
    queue = splitting_queue(limit)
    if open_slots < limit:
        queue.offer("before", limit - open_slots, 0)
    queue.offer("task", size, 0)
    parts: list[Part[str]] = []
    while batch := queue.take(0):
        parts += [part for part in batch.parts if part.task == "task"]
    offsets = [sum(expected[:index]) for index in range(len(expected))]
    assert parts == [
        Part("task", part, offset, size) for part, offset in zip(expected, offsets, strict=True)
    ]


def test_a_batch_filled_by_part_of_a_task_was_closed_by_the_split() -> None:
    queue = splitting_queue(4, batch_timeout_micros=100)
    queue.offer("a", 3, 0)
    queue.offer("b", 5, 7)  # 1 row fills the open batch, 4 rows fill another
    assert queue.take(8) == _Same(
        Batch(0, 0, 4, [Part("a", 3, 0, 3), Part("b", 1, 0, 5)], 7, SPLIT)
    )
    assert queue.take(8) == _Same(Batch(1, 7, 4, [Part("b", 4, 1, 5)], 7, FULL))
    assert queue.take(8) is None


def test_a_task_larger_than_any_batch_is_refused() -> None:
    too_large = invalid_argument("Task size 11 is larger than maximum input batch size 10")
    assert refusal(make_queue(10), 11) == too_large
    assert refusal(splitting_queue(4, most=10), 11) == too_large


def test_splitting_accepts_up_to_the_capacity() -> None:
    queue = splitting_queue(4, most=20, max_enqueued_batches=3)
    offer_sizes(queue, 5, 2)
    full = "The batch scheduling queue to which this task was submitted is full; task size is "
    assert refusal(queue, 6) == unavailable(
        f"{full}6 but scheduling capacity is only 5 (num_enqueued_batches=2, "
        "max_enqueued_batches=3, open_batch_size=3, max_execution_batch_size=4)"
    )
    queue.offer("fits", 5, 0)
    assert refusal(queue, 1) == unavailable(
        f"{full}1 but scheduling capacity is only 0 (num_enqueued_batches=3, "
        "max_enqueued_batches=3, open_batch_size=4, max_execution_batch_size=4)"
    )
    assert refusal(splitting_queue(4, max_enqueued_batches=2), 9) == unavailable(
        f"{full}9 but scheduling capacity is only 8 (num_enqueued_batches=1, "
        "max_enqueued_batches=2, open_batch_size=0, max_execution_batch_size=4)"
    )


def test_without_splitting_a_batch_never_splits_but_leaves_a_gap() -> None:
    queue = make_queue(10, max_execution_batch_size=3)  # which counts only with splitting
    offer_sizes(queue, 6, 6)
    assert taken_sizes(queue) == [[6], [6]]


def test_a_task_without_rows_waits_for_nothing() -> None:
    queue = make_queue(10, batch_timeout_micros=100)
    queue.offer("empty", 0, 3)
    assert queue.next_deadline() == 3
    assert queue.take(3) == _Same(Batch(0, 3, 0, [Part("empty", 0, 0, 0)], 3, IDLE))


def test_a_task_without_rows_joins_an_open_batch_and_waits_with_it() -> None:
    queue = make_queue(10, batch_timeout_micros=100)
    queue.offer("a", 1, 0)
    queue.offer("empty", 0, 3)
    assert queue.take(99) is None
    assert taken_sizes(queue, 100) == [[1, 0]]


def test_tasks_without_rows_are_bounded_too() -> None:
    queue = make_queue(2, max_enqueued_batches=2)
    offer_sizes(queue, 0, 0, 0, 0)
    assert queue.enqueued_batches == 2
    assert refusal(queue, 0).code is Code.UNAVAILABLE
    assert taken_sizes(queue) == [[0, 0], [0, 0]]


def test_a_batch_put_back_comes_first_in_its_order_and_beyond_the_bound() -> None:
    queue = make_queue(1, max_enqueued_batches=1)
    batches = []
    for name in "abc":
        queue.offer(name, 1, 0)
        batch = queue.take(0)
        assert batch is not None
        batches.append(batch)
    queue.offer("d", 1, 0)
    for index in (1, 0, 2):
        queue.put_back(batches[index])
    assert (queue.enqueued_batches, len(queue), queue.rows) == (1, 4, 4)
    assert queue.scheduling_capacity == 0
    assert queue.next_deadline() == 0
    assert [queue.take(1) for _ in range(3)] == batches
    assert taken_sizes(queue, 1) == [[1]]


def test_cancel_removes_a_waiting_task() -> None:
    queue = make_queue(4, batch_timeout_micros=10, max_enqueued_batches=2)
    for name, size, now in [("a", 2, 0), ("b", 3, 1), ("c", 1, 2)]:
        queue.offer(name, size, now)
    assert queue.cancel("a")  # alone in its batch: the batch goes with it
    assert queue.cancel("b")  # the batch stays, with its place and its reason
    assert not queue.cancel("b")
    assert (len(queue), queue.rows, queue.enqueued_batches) == (1, 1, 1)
    assert queue.take(3) == _Same(Batch(1, 1, 1, [Part("c", 1, 0, 1)], 2, FULL))
    queue.offer("d", 1, 5)
    assert queue.cancel("d")
    assert queue.next_deadline() is None


def test_cancel_removes_every_part_or_none() -> None:
    queue = splitting_queue(4)
    queue.offer("whole", 6, 0)
    assert queue.cancel("whole")
    assert not queue
    queue.offer("started", 6, 0)
    first = queue.take(0)
    assert first is not None
    assert not queue.cancel("started")
    assert queue.rows == 2
    queue.put_back(first)
    assert queue.cancel("started")
    assert not queue


def test_reconfigure_keeps_what_was_accepted() -> None:
    queue = make_queue(10, batch_timeout_micros=100)
    queue.offer("a", 5, 0)
    queue.reconfigure(BatchingParameters(max_batch_size=4, max_enqueued_batches=1), 7)
    assert queue.parameters.max_batch_size == 4
    assert refusal(queue, 5).code is Code.INVALID_ARGUMENT
    assert refusal(queue, 1).code is Code.UNAVAILABLE
    assert queue.scheduling_capacity == 0
    assert queue.take(7) == _Same(Batch(0, 0, 5, [Part("a", 5, 0, 5)], 7, FULL))


def test_reconfigure_changes_the_timeout_of_the_open_batch() -> None:
    queue = make_queue(10, batch_timeout_micros=100)
    queue.offer("a", 5, 0)
    queue.reconfigure(BatchingParameters(max_batch_size=10, batch_timeout_micros=20), 7)
    assert queue.next_deadline() == 20
    queue.reconfigure(BatchingParameters(max_batch_size=10), 8)
    assert queue.take(8) == _Same(Batch(0, 0, 5, [Part("a", 5, 0, 5)], 8, IDLE))


# The laws, whatever happens in whatever order.

parameters_strategy = st.builds(
    lambda limit, timeout, enqueued, split, execution: BatchingParameters(
        max_batch_size=limit,
        batch_timeout_micros=timeout,
        max_enqueued_batches=enqueued,
        enable_large_batch_splitting=split,
        max_execution_batch_size=min(limit, execution) if split else None,
    ),
    st.integers(1, 12),
    st.sampled_from([0, 1, 5, 50]),
    st.integers(1, 4),
    st.booleans(),
    st.integers(1, 12),
)


class Server(RuleBasedStateMachine):
    """Two queues, a few slots, and everything that can happen to them.

    After every step: each row of each accepted task, and each task of no rows, is in exactly one
    of answered, failed, cancelled, waiting and running; no task has joined a batch that it makes
    larger than was allowed when it arrived; nothing waits longer than its timeout while a slot is
    free. What is expected is worked out here, from what the machine itself has noted.
    """

    @initialize(
        parameters=st.tuples(parameters_strategy, parameters_strategy),
        slots=st.integers(1, 3),
        isolated=st.booleans(),
    )
    def start(
        self,
        parameters: tuple[BatchingParameters, BatchingParameters],
        slots: int,
        isolated: bool,
    ) -> None:
        self.now = 0
        self.scheduler: SlotScheduler[int] = SlotScheduler(slots, per_version_slots=isolated)
        self.queues: list[BatchQueue[int]] = [BatchQueue(each) for each in parameters]
        for queue in self.queues:
            self.scheduler.add(queue)
        # What was in force when each task arrived.
        self.limits: dict[int, int] = {}
        self.arrived: dict[int, int] = {}
        self.sizes: dict[int, int] = {}
        self.accepted: list[list[int]] = [[], []]
        self.ended: Counter[int] = Counter()  # rows answered, failed or cancelled
        self.running: list[tuple[BatchQueue[int], Batch[int]]] = []
        self.places: Counter[tuple[int, int, int]] = Counter()  # parts that have ended
        self.slots, self.isolated = slots, isolated
        self.first_runs: list[list[tuple[int, int]]] = [[], []]
        self.taken: list[list[int]] = [[], []]

    @rule(which=st.integers(0, 1), size=st.integers(0, 14))
    def arrive(self, which: int, size: int) -> None:
        queue = self.queues[which]
        task = 1000 + len(self.sizes)
        before = self.look(queue)
        try:
            queue.offer(task, size, self.now)
        except ServingError as error:
            refused = error
        else:
            self.sizes[task] = size
            self.arrived[task] = self.now
            self.limits[task] = queue.parameters.batch_limit
            self.accepted[which].append(task)
            self.dispatch()
            return
        assert self.look(queue) == before
        if size > queue.parameters.max_batch_size:
            assert refused.code is Code.INVALID_ARGUMENT
        else:
            assert refused.code is Code.UNAVAILABLE
            assert queue.draining or queue.enqueued_batches or size > queue.scheduling_capacity

    @staticmethod
    def look(queue: BatchQueue[int]) -> tuple[int, ...]:
        return len(queue), queue.rows, queue.enqueued_batches, queue.scheduling_capacity

    @rule(micros=st.integers(1, 60))
    def wait(self, micros: int) -> None:
        # Asked at every moment, there is a batch exactly when the deadline said so: a server that
        # sleeps until then misses nothing, and is never woken for nothing.
        for _ in range(micros):
            self.now += 1
            deadline = self.scheduler.next_deadline()
            assert (self.dispatch() > 0) == (deadline is not None and deadline <= self.now)
            self.check_waiting()

    def dispatch(self) -> int:
        """Start what can start, as the server does after every event."""
        started = 0
        while turn := self.scheduler.next(self.now):
            started += 1
            queue, batch = turn
            which = self.queues.index(queue)
            assert batch.size == sum(part.size for part in batch.parts)
            rows = accumulate(part.size for part in batch.parts)
            for part, filled in zip(batch.parts, rows, strict=True):
                assert filled <= self.limits[part.task]
            assert batch.parts
            assert batch.closed_at is not None
            assert batch.opened_at <= batch.closed_at <= self.now
            # A task that was cancelled since may have opened it.
            assert batch.opened_at in {self.arrived[task] for task in self.accepted[which]}
            assert batch.opened_at <= self.arrived[batch.parts[0].task]
            if batch.reason is CloseReason.TIMEOUT and batch.number not in self.taken[which]:
                waited = batch.closed_at - batch.opened_at
                assert waited >= queue.parameters.batch_timeout_micros > 0
            if batch.number not in self.taken[which]:
                self.taken[which].append(batch.number)
                self.first_runs[which] += [(part.task, part.offset) for part in batch.parts]
                if batch.reason is CloseReason.EXECUTOR_IDLE:
                    assert batch.size == 0 or queue.parameters.batch_timeout_micros == 0
            self.running.append(turn)
        return started

    @precondition(lambda self: self.running)
    @rule(choice=st.integers(0, 5))
    def answer(self, choice: int) -> None:
        queue, batch = self.running.pop(choice % len(self.running))
        self.scheduler.finished(queue)
        self.end(batch)
        self.dispatch()

    def end(self, batch: Batch[int]) -> None:
        for part in batch.parts:
            self.ended[part.task] += part.size if self.sizes[part.task] else 1
            self.places[part.task, part.offset, part.size] += 1

    @precondition(lambda self: self.running)
    @rule(choice=st.integers(0, 5))
    def executor_dies(self, choice: int) -> None:
        queue, batch = self.running.pop(choice % len(self.running))
        self.scheduler.finished(queue)
        queue.put_back(batch)
        self.dispatch()

    @rule(data=st.data())
    def cancel(self, data: st.DataObject) -> None:
        tasks = [(which, task) for which in (0, 1) for task in self.accepted[which]]
        if tasks:
            which, task = data.draw(st.sampled_from(tasks))
            if self.queues[which].cancel(task):
                assert task not in self.ended
                self.ended[task] += max(self.sizes[task], 1)
                self.places[task, 0, self.sizes[task]] += 1
            self.dispatch()

    @rule(which=st.integers(0, 1), parameters=parameters_strategy)
    def reconfigure(self, which: int, parameters: BatchingParameters) -> None:
        self.queues[which].reconfigure(parameters, self.now)
        self.dispatch()

    @rule(slots=st.integers(1, 3))
    def change_slots(self, slots: int) -> None:
        self.scheduler.slots = self.slots = slots
        self.dispatch()

    @rule(which=st.integers(0, 1))
    def close(self, which: int) -> None:
        self.queues[which].close()
        self.dispatch()

    @invariant()
    def every_accepted_row_is_in_one_place(self) -> None:
        places = self.places.copy()
        batches = [batch for _, batch in self.running]
        batches += [batch for queue in self.queues for batch in queue.waiting()]
        places.update(
            (part.task, part.offset, part.size) for batch in batches for part in batch.parts
        )
        assert not places or max(places.values()) == 1
        # The parts of each task lie side by side; a task of no rows is one part.
        found: dict[int, list[tuple[int, int]]] = {}
        for task, offset, size in sorted(places):
            found.setdefault(task, []).append((offset, size))
        assert found.keys() == self.sizes.keys()
        for task, parts in found.items():
            ends = list(accumulate(size for _, size in parts))
            assert [offset for offset, _ in parts] == [0, *ends[:-1]]
            assert ends[-1] == self.sizes[task]
        for queue in self.queues:
            waiting = [part.size for batch in queue.waiting() for part in batch.parts]
            assert (len(queue), queue.rows) == (len(waiting), sum(waiting))
        assert self.scheduler.running == len(self.running)

    @invariant()
    def nothing_waits_longer_than_its_timeout_while_a_slot_is_free(self) -> None:
        self.check_waiting()

    def check_waiting(self) -> None:
        for which, queue in enumerate(self.queues):
            using = [q for q, _ in self.running if q is queue or not self.isolated]
            if len(using) >= self.slots:
                continue
            gone = self.ended.copy()
            for q, batch in self.running:
                for part in batch.parts if q is queue else ():
                    gone[part.task] += part.size if self.sizes[part.task] else 1
            for task in self.accepted[which]:
                if gone[task] < max(self.sizes[task], 1):
                    assert not queue.draining
                    waited = self.now - self.arrived[task]
                    assert waited < queue.parameters.batch_timeout_micros

    @invariant()
    def tasks_first_run_in_the_order_they_arrived(self) -> None:
        for which in (0, 1):
            first_runs = self.first_runs[which]
            assert first_runs == sorted(first_runs)

    def teardown(self) -> None:
        if not hasattr(self, "queues"):
            return
        for queue in self.queues:
            queue.close()
        for _ in range(10_000):
            self.dispatch()
            if not self.running:
                break
            queue, batch = self.running.pop(0)
            self.scheduler.finished(queue)
            self.end(batch)
        assert not any(self.queues)
        # Every row of every accepted task ended exactly once.
        assert self.ended == {task: max(size, 1) for task, size in self.sizes.items()}


TestServer = Server.TestCase
TestServer.settings = settings(
    max_examples=60, stateful_step_count=40, deadline=None, derandomize=True
)


@settings(max_examples=100, deadline=None, derandomize=True)
@given(parameters_strategy, st.lists(st.tuples(st.integers(1, 12), st.integers(0, 20))))
def test_with_a_free_executor_no_task_waits_longer_than_its_timeout(
    parameters: BatchingParameters, arrivals: list[tuple[int, int]]
) -> None:
    """One task after another, and an executor that needs no time."""
    queue: BatchQueue[int] = BatchQueue(parameters)
    arrived: dict[int, int] = {}
    waits: list[int] = []
    now = 0

    def run_until(end: int) -> None:
        while (deadline := queue.next_deadline()) is not None and deadline <= end:
            batch = queue.take(deadline)
            assert batch is not None
            waits.extend(deadline - arrived[part.task] for part in batch.parts)

    for task, (size, gap) in enumerate(arrivals):
        run_until(now + gap)
        now += gap
        if size <= min(parameters.max_batch_size, queue.scheduling_capacity):
            arrived[task] = now
            queue.offer(task, size, now)
            run_until(now)
    run_until(now + parameters.batch_timeout_micros)
    assert not queue
    assert all(0 <= wait <= parameters.batch_timeout_micros for wait in waits)
