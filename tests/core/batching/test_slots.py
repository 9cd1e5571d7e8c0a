"""Queues take turns on executor slots, as in TensorFlow's shared_batch_scheduler_test.cc."""

from __future__ import annotations

import pytest

from tests.core.batching.test_queue import (
    FULL,
    TIMEOUT,
    _Same,
    make_queue,
    offer_sizes,
    refusal,
    whole,
)
from workbench.core.batching.queue import Batch
from workbench.core.batching.slots import SlotScheduler
from workbench.core.status import ServingError, unavailable


def test_fairness_a_waiting_queue_comes_before_a_busy_one_s_second_batch() -> None:
    busy, quiet = make_queue(2, batch_timeout_micros=5), make_queue(2, batch_timeout_micros=5)
    for now, task in enumerate("abc"):
        busy.offer(task, 2, now)
    quiet.offer("q", 1, 0)
    scheduler: SlotScheduler[str] = SlotScheduler(1)
    scheduler.add(busy)
    scheduler.add(quiet)
    turns = []
    for now in (5, 6, 7, 8):
        turn = scheduler.next(now)
        assert turn
        assert scheduler.next(now) is None  # the one slot is in use
        turns.append(turn)
        scheduler.finished(turn[0])
    assert turns == [
        (busy, _Same(Batch(0, 0, 2, whole(("a", 2)), 0, FULL))),
        (quiet, _Same(Batch(0, 0, 1, whole(("q", 1)), 6, TIMEOUT))),
        (busy, _Same(Batch(1, 1, 2, whole(("b", 2)), 1, FULL))),
        (busy, _Same(Batch(2, 2, 2, whole(("c", 2)), 2, FULL))),
    ]
    assert scheduler.next(99) is None


def test_one_full_queue_does_not_block_another() -> None:
    full, other = make_queue(1, max_enqueued_batches=1), make_queue(1, max_enqueued_batches=1)
    scheduler: SlotScheduler[str] = SlotScheduler(2)
    scheduler.add(full)
    scheduler.add(other)
    full.offer("a", 1, 0)
    assert refusal(full, 1) == unavailable(
        "The batch scheduling queue to which this task was submitted is full; currently "
        "1 batches enqueued and max_enqueued_batches is 1"
    )
    other.offer("b", 1, 1)
    assert [scheduler.next(2), scheduler.next(3), scheduler.next(4)] == [
        (full, _Same(Batch(0, 0, 1, whole(("a", 1)), 0, FULL))),
        (other, _Same(Batch(0, 1, 1, whole(("b", 1)), 1, FULL))),
        None,
    ]


def test_slots_bound_the_batches_in_flight() -> None:
    queue = make_queue(1)
    scheduler: SlotScheduler[str] = SlotScheduler(2)
    scheduler.add(queue)
    assert scheduler.next_deadline() is None
    offer_sizes(queue, 1, 1, 1, now=4)
    assert scheduler.next_deadline() == 4
    assert scheduler.next(4)
    assert scheduler.next(4)
    assert scheduler.next(4) is None
    assert (scheduler.running, scheduler.next_deadline()) == (2, None)
    scheduler.finished(queue)
    assert scheduler.next(4)
    scheduler.slots = 3
    queue.offer("more", 1, 9)
    assert scheduler.next_deadline() == 9


def test_per_version_slots_isolate_versions_but_not_the_queues_of_one() -> None:
    one, one_filtered, two = make_queue(1), make_queue(1), make_queue(1)
    for queue in (one, one_filtered, two):
        offer_sizes(queue, 1, 1)
    scheduler: SlotScheduler[str] = SlotScheduler(1, per_version_slots=True)
    scheduler.add(one, version=1)
    scheduler.add(one_filtered, version=1)
    scheduler.add(two)
    first, second = scheduler.next(0), scheduler.next(0)
    assert first
    assert second
    assert (first[0], second[0], scheduler.next(0)) == (one, two, None)
    scheduler.finished(one)
    third = scheduler.next(0)
    assert third
    assert third[0] is one_filtered


def test_a_removed_queue_keeps_its_tasks_and_can_come_back() -> None:
    queue = make_queue(1)
    offer_sizes(queue, 1, 1)
    scheduler: SlotScheduler[str] = SlotScheduler(1)
    scheduler.add(queue)
    with pytest.raises(ServingError, match="The batch queue is served already"):
        scheduler.add(queue)
    assert scheduler.next(0)
    scheduler.remove(queue)
    assert (scheduler.running, scheduler.running_of(queue), len(queue)) == (1, 1, 1)
    scheduler.add(queue)
    assert scheduler.next(0) is None  # its batch still has the slot
    scheduler.finished(queue)
    assert scheduler.next(0)
    scheduler.remove(queue)
    scheduler.finished(queue)
    assert scheduler.running_of(queue) == 0
    with pytest.raises(KeyError):
        scheduler.finished(queue)
    with pytest.raises(KeyError):
        scheduler.remove(queue)


def test_finished_without_a_batch_is_an_error() -> None:
    queue = make_queue(1)
    scheduler: SlotScheduler[str] = SlotScheduler(1)
    scheduler.add(queue)
    with pytest.raises(KeyError):
        scheduler.finished(queue)
    with pytest.raises(ServingError, match="num_batch_threads must be positive; was 0"):
        SlotScheduler(0)
