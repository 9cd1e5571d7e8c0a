"""One server in virtual time: its event loop, its batch queue and its executors.

The queue is the code of `core.batching` that the live scheduler drives. (Of one queue, a batch has
a slot if an executor is free; slots decide only between several queues.) A turn of the loop
(`VirtualServer.turns`) is that of the live server: it answers finished batches, accepts new
requests, and gives batches to free executors. Batches that run at the same time slow each other:
when one begins, what is left of the others takes longer, and when it ends, less long. Times are
whole microseconds.

**A server must never run ahead of those who send to it.** A turn accepts all requests that arrive
until it is over, and only the turn itself finds out when that is. Alone, a server knows every
arrival from the beginning. In a fleet, a balancer decides about each request when it arrives, and
looks at answers that the servers have given until then. So a server stops wherever it would go on
as if nothing arrived until some time, unless all arrivals until that time are known
(`known_until`). It yields that time and continues in the very same place, which is why a server
behind a balancer takes exactly the steps of one that is alone.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from contextlib import suppress
from functools import lru_cache
from heapq import heapify, heappop, heappush
from typing import NamedTuple

import numpy as np

from workbench.core.batching.parameters import BatchingParameters, next_allowed_batch_size
from workbench.core.batching.queue import Batch, BatchQueue
from workbench.core.status import ServingError
from workbench.experiments.simulator.hiccups import NEVER, Hiccups, Timeline
from workbench.experiments.simulator.service_time import FOLLOWING, ServiceTime

PAUSE_MICROS = 50
"""After a longer time without any batch, caches get cold and threads fall asleep."""
RESTED_MICROS = 2000
"""After so long without any batch, a batch takes as long as the calibration measured after a
pause; in between, the effect grows with the logarithm of the time."""
_LONGEST_REST = 1.4
_REJECTING = 3.0
"""A rejected request costs the loop so many times the cost of accepting one, in addition."""
_WAITS, _LONGEST_WAIT_MICROS = 2.0, 4000.0
"""An event loop that finds no free processor waits for up to so many run times of a batch, but not
longer than an operating system makes a thread wait for its turn."""
_MOST_VARIED = 4096
"""So many factors are drawn; then they come again."""
# Thousands of servers that share these find them in the processor's cache.
_EVEN, _NEVER_LATE = [1.0], [0]
_CALM = Timeline(Hiccups(), np.random.default_rng(0))
_PER_LOG = 1 / math.log(RESTED_MICROS / PAUSE_MICROS)


class Share(NamedTuple):
    """What a server of a fleet draws its random numbers for.

    Attributes:
        requests: as many as it can expect. It may get more; then the numbers come again.
        rows: of all requests that it could get.
        largest: the most rows of a request.
    """

    requests: int
    rows: int
    largest: int


class Run:
    """A batch that an executor runs, or has run. Times are microseconds.

    Attributes:
        batch: its requests; a fleet deletes it once they are answered, because memory that is used
            again is faster.
        size, tasks, reason: its rows and requests, and why it was closed.
        executor: its slot.
        started, ended: when it got its slot and gave it back; `ended` is 0 while it runs.
        slowing: what the loop's times for it are multiplied by.
        answering: when the loop began to answer it.
        answer_step: the time between its answers.
    """

    __slots__ = (
        "answer_step", "answering", "batch", "ended", "executor", "reason", "size", "slowing",
        "started", "tasks",
    )  # fmt: skip
    slowing: float
    answering: float
    answer_step: float

    def __init__(self, batch: Batch[int], executor: int, started: int) -> None:
        self.batch, self.executor, self.started = batch, executor, started
        self.size, self.tasks, self.reason = batch.size, len(batch.parts), batch.reason
        self.ended = 0


class VirtualServer:
    """Serves requests of known sizes.

    Attributes:
        times: when each request arrives. In a closed loop each answer adds one.
        known_until: no request that is not in `times` arrives until then.
        wakes_at: it has to be resumed when a request arrives and `times` has more than so many
            entries: the request ends its wait, or could find its queue full.
        runs: of its batches, in the order in which they got their slots.
        answered: those that were answered, in this order.
        rejected: the requests that found the queue full, and when.
        padded: by a batch's rows, the rows that it runs with.
    """

    # A fleet has thousands of them, each with more attributes than Python keeps compactly.
    # fmt: off
    __slots__ = (  # noqa: RUF023 - in the order of their use
        "times", "known_until", "wakes_at", "runs", "answered", "rejected", "padded",
        # its setting
        "_rows", "_slots", "_total", "_open_loop", "_largest", "_largest_asked", "_most_batches",
        "_fit_in_batch", "_processors",
        # run times
        "_micros", "_each_slows", "_deepest", "_draws", "_varied", "_executors",
        # the loop's times
        "_taking", "_taken", "_answering", "_answer_step", "_ending", "_starting",
        "_starting_request", "_waking", "_rejecting", "_loop_factors", "_slowing", "_wakes",
        "_luck", "_woken", "_loop",
        # its state
        "_queue", "_now", "_coming", "_fit", "_interrupted_at", "_asleep", "_idle",
        "_running", "_last_end",
    )
    # fmt: on

    def __init__(
        self,
        parameters: BatchingParameters,
        service: ServiceTime,
        slots: int,
        rows: Sequence[int],
        seed: int | Sequence[int],
        times: list[int],
        followers: int = 0,
        share: Share | None = None,
    ) -> None:
        """
        Args:
            rows: of each request, in turn.
            times: of arrivals, increasing.
            followers: the number of further requests, one of which arrives after each answer.
            share: of a server in a fleet, to whose `times` (and `rows`, unless all requests are of
                one size) requests are added while it runs.
        """
        random = np.random.default_rng(seed)
        total = len(times) + followers
        self.known_until, self._total = NEVER, total
        if share is None:
            share = Share(total, -(-total // len(rows)) * sum(rows), 1)
        else:
            total = share.requests
            self.known_until, self._total = -1, 0
        self.times = times
        self.wakes_at = NEVER
        self.runs: list[Run] = []
        self.answered: list[Run] = []
        self.rejected: list[tuple[int, int]] = []
        self.padded = _padded(parameters, share.rows)
        self._rows, self._slots = rows, slots
        self._largest, self._largest_asked = parameters.max_batch_size, max(share.largest, 1)
        self._most_batches = max(parameters.max_enqueued_batches, 1)
        self._fit_in_batch = parameters.batch_limit // self._largest_asked
        self._queue: BatchQueue[int] = BatchQueue(parameters)

        self._open_loop = not followers
        # Durations. The order of the draws must not change: it decides what a seed gives.
        self.change_speed(service)
        levels = service.micros.shape[2]
        if followers:
            self._draws = _even_draws(random, levels, total + 1)
        else:
            self._draws = random.integers(0, levels, total + 1).tolist()
        # The factors have a mean of 1.
        spread = service.loop_spread
        varied = np.exp(random.normal(-(spread**2) / 2, spread, min(total, _MOST_VARIED) + 1))
        self._varied: list[float] = varied.tolist() if spread else _EVEN
        self._taken = 0.0
        self._slowing = 1.0
        wakes = np.rint(random.choice(service.wake_micros, total + 1)).astype(int)
        luck = random.random(total + 1)
        late = service.processors or wakes.any()
        self._wakes: list[int] = wakes.tolist() if late else _NEVER_LATE
        self._luck: list[float] = luck.tolist() if service.processors else []
        self._woken = 0
        self._processors = service.processors
        # A hiccup holds up all that is on its processor: on the first the loop, else executors.
        timelines = [
            Timeline(service.hiccups, random) if service.hiccups.per_second else _CALM
            for _ in range(service.processors or slots + 1)
        ]
        self._loop = timelines[0]
        others = timelines[1:] or timelines
        self._executors = [others[number % len(others)] for number in range(slots)]

        self._now = 0
        self._coming = self._fit = 0
        self._interrupted_at = -1  # the first request of a `_take_in` that has not ended yet
        self._asleep = False
        self._idle = list(range(slots))
        self._running: list[tuple[int, int, Run]] = []  # with the end and the number of the run
        self._last_end = -RESTED_MICROS

    def run(self) -> None:
        """Run until every request is answered or rejected.

        Raises:
            ServingError: INVALID_ARGUMENT, a request is larger than `max_batch_size`.
        """
        for _ in self.turns():
            raise AssertionError("a server that is alone knows all arrivals")

    def turns(self) -> Iterator[int]:
        """Run; yield each time until which arrivals must be known for it to go on, or `NEVER` if
        nothing is left to do.

        Whoever drives it adds what arrives until then, sets `known_until`, and resumes it.
        """
        running, slots = self._running, self._slots
        while True:
            busy = len(running) == slots
            event = self._next_event(busy)
            if busy:
                turn = self._turn_at(event)
                # No executor could take a batch before this turn, so earlier requests just waited.
                if turn > self.known_until:
                    # Most servers wait here, so this spares a call that would take in nothing.
                    # A request takes one place, and batches that start only free places: what
                    # was sure to fit once is sure to fit later.
                    if len(self.times) >= self._fit:
                        self._fit = self._coming + self._surely_fit()
                    self.wakes_at = self._fit
                    if len(self.times) <= self._fit:
                        yield turn
                while not self._take_in(turn):
                    self.wakes_at = self._fit = self._coming + self._surely_fit()
                    yield max(turn, self._now)
                self.wakes_at = NEVER
            else:
                if event > self.known_until:
                    self.wakes_at = 0
                    while event > self.known_until:
                        yield event
                        event = self._next_event(busy)
                    self.wakes_at = NEVER
                if event == NEVER:
                    return
                turn = self._turn_at(event)
            if turn > self._now:
                self._now = turn
            if running and running[0][0] <= turn:
                until = self._hand_out(turn)
                while not self._take_in(until):
                    yield max(until, self._now)
                # The loop has finished with the ended batches only now.
                self._last_end = self._now
            else:
                while not self._take_in(turn):
                    yield max(turn, self._now)
            if self._asleep:
                # The loop sets its clock again before it looks for a batch.
                self._now += self._waking
            if self._idle:
                self._start_due()

    def change_speed(self, service: ServiceTime) -> None:
        """Batches that begin from now on take as long as this model of the same sizes says."""
        limit = len(self.padded) - 1
        self._micros = service.table(limit)
        self._each_slows = service.slowing(limit)
        self._deepest = service.in_flight
        self._loop_factors = service.loop_factors(limit)
        self._taking = service.arrival_micros
        self._answering = self._answer_step = service.answer_micros
        if not self._open_loop:
            # In a closed loop the next request comes before the next answer.
            self._answer_step += service.arrival_micros
        self._ending = service.end_micros
        self._starting = service.start_micros
        self._starting_request = service.start_request_micros
        self._waking = round(service.wake_cost_micros)
        self._rejecting = round(_REJECTING * service.arrival_micros)

    @property
    def waiting(self) -> int:
        """Requests that have arrived, or are on their way, and that no executor has begun."""
        return len(self._queue) + len(self.times) - self._coming

    def _surely_fit(self) -> int:
        """So many more requests fit into the queue, whatever their sizes."""
        queue = self._queue
        if queue.parameters.enable_large_batch_splitting:
            return queue.scheduling_capacity // self._largest_asked
        return max(self._most_batches - queue.enqueued_batches, 0) * self._fit_in_batch

    def _next_event(self, busy: bool) -> int:
        """The next time at which a batch ends or, with a free slot, a request arrives or a batch is
        due; `NEVER` without any."""
        running = self._running
        event = running[0][0] if running else NEVER
        if not busy:
            times, coming = self.times, self._coming
            if coming < len(times) and times[coming] < event:
                event = times[coming]
            due = self._queue.next_deadline()
            if due is not None and due < event:
                event = due
        return event

    def _turn_at(self, event: int) -> int:
        """When the loop begins the turn for which this event wakes it."""
        turn, running = self._now, self._running
        sooner = not running or event < running[0][0]
        self._asleep = event > turn and sooner
        if event > turn:
            turn = event
            if sooner:
                # The loop was asleep. Run times already include a late wake-up for an answer.
                turn += self._late()
        return turn if turn < self._loop.calm_until else self._loop.end_of(turn, 0)

    def _late(self) -> int:
        """How late the loop begins once it is woken.

        Of the threads that want a processor, each is as likely to wait for one.
        """
        place = self._woken % len(self._wakes)
        self._woken += 1
        late: int = self._wakes[place]
        running, processors = self._running, self._processors
        if processors and len(running) >= processors:
            chance = 1 - processors / (len(running) + 1)
            if (luck := self._luck[place]) < chance:
                alone = self._micros[1][self.padded[running[0][2].size]]
                longest = min(_WAITS * alone[len(alone) // 2], _LONGEST_WAIT_MICROS)
                # Below the chance, luck is as random as before.
                late += round(longest * luck / chance)
        return late

    def _take_in(self, until: int) -> bool:
        """Queue the requests that arrive until `until`; each costs the loop some time.

        Returns False if others may arrive until it is done: call again when they are known.
        """
        times, coming, now = self.times, self._coming, self._now
        count, first = len(times), self._interrupted_at
        at = times[coming] if coming < count else NEVER
        waking = self._waking
        if first < 0:
            if at > until and at > now:
                return self.known_until == NEVER or self.known_until >= max(until, now)
            first = coming
            if self._open_loop and at <= now and not self._asleep:
                # The loop has not slept, but it still has to look at the clock and set it again.
                now += waking
        offer, rows = self._queue.offer, self._rows
        taking = self._taking * (self._slowing if self._running else 1.0)
        kinds, whole = len(rows), int(taking)
        # The loop also takes requests that arrive while it takes others.
        while at <= until or at <= now:
            if at > now:
                now = at + waking
            try:
                offer(coming, rows[coming % kinds], now)
            except ServingError:
                # A full queue is a result; a request that no batch can hold is a mistake.
                if rows[coming % kinds] > self._largest:
                    raise
                self.rejected.append((coming, now))
                now += self._rejecting
            now += whole
            coming += 1
            if coming == count:
                break
            at = times[coming]
        self._coming = coming
        if self.known_until != NEVER and self.known_until < max(until, now):
            self._interrupted_at, self._now = first, now
            return False
        # Parts of microseconds add up.
        taken = self._taken + (taking - whole) * (coming - first)
        now += int(taken)
        self._taken = taken % 1.0
        self._interrupted_at, self._now = -1, now
        return True

    def _hand_out(self, turn: int) -> int:
        """Answer ended batches; returns until when to queue requests after that."""
        running = self._running
        while running and running[0][0] <= turn:
            end, number, run = heappop(running)
            if running:
                self._quicken(end, len(running) + 1)
            self._idle.append(run.executor)
            run.ended = self._last_end = self._now
            if self._queue.has_closed:
                # It runs while this batch's answers are sent.
                self._start(FOLLOWING)
            parts = run.batch.parts
            varied = self._varied[number % len(self._varied)] * run.slowing
            step = run.answer_step = self._answer_step * varied
            begun = run.answering = self._now + self._ending * varied
            self.answered.append(run)
            if len(self.times) < self._total:  # in a closed loop
                # A request is answered with its last part.
                whole = sum(part.offset + part.size == part.total for part in parts)
                self._ask_again(begun, step, min(whole, self._total - len(self.times)))
                turn = self._now = round(begun + step * len(parts))
            else:
                self._now = round(begun + self._answering * varied * len(parts))
        return turn

    def _ask_again(self, begun: float, step: float, count: int) -> None:
        """Callers that get their answers ask again, each before the next one is answered."""
        for place in range(1, count + 1):
            at = round(begun + step * place)
            self.times.append(at)
            with suppress(ServingError):
                # It was accepted before, so only a full queue can refuse it.
                self._queue.offer(self._coming, self._rows[self._coming % len(self._rows)], at)
            self._coming += 1

    def _start_due(self) -> None:
        # Checking the deadline first is cheaper than a search that finds no batch.
        due = self._queue.next_deadline
        while self._idle and (deadline := due()) is not None and deadline <= self._now:
            self._start()

    def _start(self, alone: int = 1) -> None:
        """A free executor runs the next batch; without any other, it takes as long as with `alone`
        in flight."""
        now, running = self._now, self._running
        batch, number = self._queue.take(now), len(self.runs)
        assert batch is not None
        flight = min(len(running) + 1, self._deepest)
        rows, draw = self.padded[batch.size], self._draws[number % len(self._draws)]
        micros = self._micros[alone if flight == 1 else flight][rows][draw]
        if not running:
            pause = now - self._last_end
            if pause > PAUSE_MICROS:
                rest = min(math.log(pause / PAUSE_MICROS) * _PER_LOG, _LONGEST_REST)
                micros += round(rest * (self._micros[0][rows][draw] - micros))
        else:
            self._slow(now, len(running) + 1)
        run = Run(batch, self._idle.pop(), now)
        self.runs.append(run)
        executor = self._executors[run.executor]
        end = now + micros
        if end >= executor.calm_until:
            end = executor.end_of(now, micros)
        heappush(running, (end, number, run))
        starting = self._starting + self._starting_request * run.tasks
        # The loop is not slowed by what slows it in a full server while a batch is alone.
        free = flight == 1 and alone == 1
        self._slowing = run.slowing = 1.0 if free else self._loop_factors[flight][rows]
        varied = self._varied[-1 - number % len(self._varied)] * run.slowing
        self._now = now + round(starting * varied)

    def _slow(self, now: int, flight: int) -> None:
        """What is left of the running batches takes longer, because one more begins."""
        if flight <= self._deepest:
            self._stretch(now, self._each_slows[flight], 1)

    def _quicken(self, now: int, flight: int) -> None:
        """What is left of the running batches takes less long, because one of `flight` ended."""
        if flight <= self._deepest:
            self._stretch(now, self._each_slows[flight], -1)

    def _stretch(self, now: int, factors: list[float], power: int) -> None:
        running, padded = self._running, self.padded
        for place, (end, number, run) in enumerate(running):
            if end > now:
                factor = factors[padded[run.size]]
                left = (end - now) * factor if power > 0 else (end - now) / factor
                running[place] = (now + round(left), number, run)
        heapify(running)


def _even_draws(random: np.random.Generator, levels: int, count: int) -> list[int]:
    """At least `count` random levels for a closed loop, whose rate is that of their mean: in each
    round every level comes once, so that a short run has the right mean."""
    rounds = np.tile(np.arange(levels), (-(-count // levels), 1))
    drawn: list[int] = random.permuted(rounds, axis=1).ravel().tolist()
    return drawn


@lru_cache(maxsize=64)
def _padded(parameters: BatchingParameters, all_rows: int) -> Sequence[int]:
    """The rows that batches of 0, 1, 2 ... rows run with, up to the largest possible batch; all
    requests together limit it too."""
    most = min(parameters.batch_limit, max(all_rows, 1))
    most = max(most, next_allowed_batch_size(most, parameters.allowed_batch_sizes))
    return [next_allowed_batch_size(r, parameters.allowed_batch_sizes) for r in range(most + 1)]
