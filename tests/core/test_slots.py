"""Queues take turns on executor slots, as in TensorFlow's shared_batch_scheduler_test.cc."""

from __future__ import annotations

import pytest

from tests.core.test_batching import make_queue, offer_sizes, refusal
from workbench.core.slots import SlotScheduler
from workbench.core.status import Code, ServingError


def test_fairness_a_waiting_queue_comes_before_a_busy_one_s_second_batch() -> None:
    busy, quiet = make_queue(2, batch_timeout_micros=5), make_queue(2, batch_timeout_micros=5)
    offer_sizes(busy, 2, 2, 2)
    offer_sizes(quiet, 1)
    scheduler: SlotScheduler[str] = SlotScheduler(1)
    scheduler.add(busy)
    scheduler.add(quiet)
    order = []
    while turn := scheduler.next(5):
        assert scheduler.next(5) is None  # the one slot is in use
        order.append(turn[0])
        scheduler.finished(turn[0])
    assert order == [busy, quiet, busy, busy]


def test_one_full_queue_does_not_block_another() -> None:
    full, other = make_queue(1, max_enqueued_batches=1), make_queue(1, max_enqueued_batches=1)
    scheduler: SlotScheduler[str] = SlotScheduler(2)
    scheduler.add(full)
    scheduler.add(other)
    full.offer("a", 1, 0)
    assert refusal(full, 1).code is Code.UNAVAILABLE
    other.offer("b", 1, 0)
    ran = [turn[1].parts[0].task for turn in (scheduler.next(0), scheduler.next(0)) if turn]
    assert ran == ["a", "b"]


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
