"""What batching itself costs a request, with nothing around it.

Prints microseconds per request of the state machine, and their ratio to the least that any
queue costs (a bare `deque.append` and `popleft`), which is what to compare between machines.

    python benchmarks/batching_core.py
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable

from workbench.core.batching.parameters import BatchingParameters
from workbench.core.batching.queue import BatchQueue
from workbench.core.batching.slots import SlotScheduler

REQUESTS = 100_000
ROUNDS = 7


def bare_deque() -> None:
    waiting: deque[object] = deque()
    task = object()
    for _ in range(REQUESTS):
        waiting.append(task)
        waiting.popleft()


def batches_of(size: int) -> None:
    """Offer `size` tasks of one row, run them as one batch, and again."""
    queue: BatchQueue[object] = BatchQueue(BatchingParameters(max_batch_size=64))
    scheduler: SlotScheduler[object] = SlotScheduler(1)
    scheduler.add(queue)
    task = object()
    for now in range(REQUESTS // size):
        for _ in range(size):
            queue.offer(task, 1, now)
        assert scheduler.next(now) is not None
        scheduler.finished(queue)


def micros_per_request(action: Callable[[], None]) -> float:
    """The best of several rounds: what the machine can do when nothing else disturbs it."""

    def once() -> float:
        start = time.perf_counter()
        action()
        return (time.perf_counter() - start) * 1e6 / REQUESTS

    return min(once() for _ in range(ROUNDS))


def main() -> None:
    least = micros_per_request(bare_deque)
    print(f"{'bare deque':<22} {least:6.3f} us")
    for size in (1, 8, 64):
        cost = micros_per_request(lambda size=size: batches_of(size))
        print(f"{f'batches of {size}':<22} {cost:6.3f} us   {cost / least:5.1f} x")


if __name__ == "__main__":
    main()
