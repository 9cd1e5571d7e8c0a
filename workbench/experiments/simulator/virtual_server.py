"""One server in virtual time: its event loop, its batch queue and its executors.

The queue and the slots are the code of `core.batching` that the live scheduler drives. A turn of
the loop (`VirtualServer.step`) is that of the live server: it answers finished batches, accepts new
requests, and gives batches to free slots. Times are whole microseconds.
"""

from __future__ import annotations

from collections.abc import Sequence
from heapq import heappop, heappush

import numpy as np

from workbench.core.batching.parameters import BatchingParameters, next_allowed_batch_size
from workbench.core.batching.queue import Batch, BatchQueue
from workbench.core.batching.slots import SlotScheduler
from workbench.core.status import ServingError
from workbench.experiments.simulator.hiccups import NEVER, Timeline
from workbench.experiments.simulator.service_time import ServiceTime

PAUSE_MICROS = 50
"""After a longer time without any batch, caches are cold and threads asleep."""


class VirtualServer:
    """Serves requests of known sizes.

    Attributes:
        times: when each request arrives. In a closed loop each answer adds one.
        batches, started, ended: the batches in the order they ran, and when each got its slot and
            gave it back.
        padded: by a batch's rows, the rows that it runs with.
    """

    def __init__(
        self,
        parameters: BatchingParameters,
        service: ServiceTime,
        slots: int,
        rows: Sequence[int],
        seed: int,
        times: list[int],
        followers: int = 0,
    ) -> None:
        """
        Args:
            rows: of each request, in turn.
            times: of arrivals, increasing.
            followers: the number of further requests, one of which arrives after each answer.
        """
        random = np.random.default_rng(seed)
        total = len(times) + followers
        self.times = times
        self.batches: list[Batch[int]] = []
        self.started: list[int] = []
        self.ended: list[int] = []
        self.padded = _padded(parameters, -(-total // len(rows)) * sum(rows))
        self._rows, self._slots, self._total = rows, slots, total
        self._largest = parameters.max_batch_size
        self._queue: BatchQueue[int] = BatchQueue(parameters)
        self._scheduler: SlotScheduler[int] = SlotScheduler(slots)
        self._scheduler.add(self._queue)

        # Durations. The order of the draws must not change: it decides what a seed gives.
        self._micros = service.table(len(self.padded) - 1)
        self._deepest = service.in_flight
        self._draws = random.integers(0, service.micros.shape[2], total + 1).tolist()
        self._taking = _whole_steps(service.arrival_micros, total)
        self._answering = service.answer_micros
        self._wakes = np.rint(random.choice(service.wake_micros, total + 1)).astype(int).tolist()
        self._woken = 0
        self._loop = Timeline(service.hiccups, random)
        self._executors = [Timeline(service.hiccups, random) for _ in range(slots)]

        self._now = 0
        self._coming = 0
        self._idle = list(range(slots))
        self._running: list[tuple[int, int, int]] = []  # (end, number of the batch, its executor)
        self._last_end = -PAUSE_MICROS - 1

    def run(self) -> None:
        """Run until every request is answered or rejected.

        Raises:
            ServingError: INVALID_ARGUMENT, a request is larger than `max_batch_size`.
        """
        while self.step():
            pass

    def step(self) -> bool:
        """One turn of the loop; False when nothing is left to do."""
        running = self._running
        busy = len(running) == self._slots
        turn = self._next_turn(busy)
        if turn == NEVER:
            return False
        if busy:
            # No executor could take a batch before this turn, so earlier requests just waited.
            self._take_in(turn)
        if turn > self._now:
            self._now = turn
        if running and running[0][0] <= turn:
            self._take_in(self._hand_out(turn))
            # The loop has finished with the ended batches only now.
            self._last_end = self._now
        else:
            self._take_in(turn)
        self._start_due()
        return True

    def _next_turn(self, busy: bool) -> int:
        """The next time at which a batch ends or, with a free slot, a request arrives or a batch is
        due."""
        running = self._running
        event = end = running[0][0] if running else NEVER
        if not busy:
            times, coming = self.times, self._coming
            if coming < len(times) and times[coming] < event:
                event = times[coming]
            due = self._queue.next_deadline()
            if due is not None and due < event:
                event = due
            if event == NEVER:
                return NEVER
        turn = self._now
        if event > turn:
            turn = event
            if event < end:
                # The loop was asleep. Run times already include a late wake-up for an answer.
                turn += self._wakes[self._woken % len(self._wakes)]
                self._woken += 1
        return turn if turn < self._loop.calm_until else self._loop.end_of(turn, 0)

    def _take_in(self, until: int) -> None:
        """Queue the requests that arrive until `until`; each costs the loop some time."""
        times, coming, now = self.times, self._coming, self._now
        offer, rows, taking = self._queue.offer, self._rows, self._taking
        while coming < len(times) and times[coming] <= until:
            if times[coming] > now:
                now = times[coming]
            try:
                offer(coming, rows[coming % len(rows)], now)
            except ServingError:
                # A full queue is a result; a request that no batch can hold is a mistake.
                if rows[coming % len(rows)] > self._largest:
                    raise
            now += taking[coming]
            coming += 1
        self._coming, self._now = coming, now

    def _hand_out(self, turn: int) -> int:
        """Answer ended batches; returns until when to queue requests after that."""
        running = self._running
        while running and running[0][0] <= turn:
            _, number, executor = heappop(running)
            self._idle.append(executor)
            self._scheduler.finished(self._queue)
            self.ended[number] = self._last_end = self._now
            if self._queue.has_closed:
                # It runs while this batch's answers are sent.
                self._start()
            parts = self.batches[number].parts
            self._now += round(self._answering * len(parts))
            if len(self.times) < self._total:
                # A request is answered with its last part.
                whole = sum(part.offset + part.size == part.total for part in parts)
                more = min(whole, self._total - len(self.times))
                self.times.extend([self._now] * more)
                turn = self._now
        return turn

    def _start_due(self) -> None:
        # Checking the deadline first is cheaper than a search that finds no batch.
        due = self._queue.next_deadline
        while self._idle and (deadline := due()) is not None and deadline <= self._now:
            self._start()

    def _start(self) -> None:
        """A free executor runs the next batch."""
        now, running = self._now, self._running
        found = self._scheduler.next(now)
        assert found is not None
        batch, number = found[1], len(self.batches)
        flight = len(running) + 1
        if flight == 1 and now - self._last_end > PAUSE_MICROS:
            flight = 0
        elif flight > self._deepest:
            flight = self._deepest
        micros = self._micros[flight][self.padded[batch.size]][
            self._draws[number % len(self._draws)]
        ]
        self.batches.append(batch)
        self.started.append(now)
        self.ended.append(0)
        which = self._idle.pop()
        executor = self._executors[which]
        end = now + micros
        if end >= executor.calm_until:
            end = executor.end_of(now, micros)
        heappush(running, (end, number, which))


def _padded(parameters: BatchingParameters, all_rows: int) -> list[int]:
    """The rows that batches of 0, 1, 2 ... rows run with, up to the largest possible batch; all
    requests together limit it too."""
    most = min(parameters.batch_limit, max(all_rows, 1))
    most = max(most, next_allowed_batch_size(most, parameters.allowed_batch_sizes))
    return [next_allowed_batch_size(r, parameters.allowed_batch_sizes) for r in range(most + 1)]


def _whole_steps(micros: float, count: int) -> list[int]:
    """`count` whole numbers whose mean is `micros`."""
    steps = np.diff(np.floor(micros * np.arange(count + 1)))
    whole: list[int] = steps.astype(np.int64).tolist()
    return whole
