"""Load from inside the server process: measures batching and the model, without any network.

No client can send requests as fast as a batch scheduler can answer. To measure the scheduler and
not the client, the requests are made here, as tasks on the server's own event loop. In a closed
loop each caller sends its next request as soon as the last one is answered. An open loop sends
requests at the times of a schedule, and latency counts from these *intended* times.
"""

from __future__ import annotations

import asyncio
import time
from array import array
from collections import Counter
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial

import numpy as np

from workbench.core.signature import DEFAULT_SIGNATURE
from workbench.core.status import Code, ServingError, invalid_argument
from workbench.ipc.frames import Tensors
from workbench.ipc.precise_timer import Alarm
from workbench.load.arrivals import Schedule
from workbench.server.engine.batching.batch_records import Row
from workbench.server.engine.batching.scheduler import BatchScheduler
from workbench.server.engine.batching.tasks import Task, VersionQueues, now_micros
from workbench.server.engine.versions.manager import Manager

MAX_SECONDS = 3600.0
"""Recorded traffic may be replayed for as long."""
MAX_REQUESTS = 5_000_000
_RETRY_SECONDS = 0.001
_NOT_ANSWERED = -1


@dataclass(frozen=True)
class EngineLoad:
    """The requests of a load, and how they are sent.

    Attributes:
        inputs: the requests' inputs, already of the signature's dtypes; taken in turn, or in the
            order that a schedule names.
        load: a schedule, or the number of callers of a closed loop.
        seconds: of sending; a schedule lasts as long as it says.
        timeout_seconds: after which a request has failed.

    Raises:
        ServingError: INVALID_ARGUMENT, it has no inputs or callers, or is too long or too large.
    """

    inputs: Sequence[Mapping[str, np.ndarray]]
    load: Schedule | int
    seconds: float
    signature: str = DEFAULT_SIGNATURE
    timeout_seconds: float = 30.0

    def __post_init__(self) -> None:
        if not self.inputs:
            raise invalid_argument("An engine load needs inputs")
        if not 0 < self.seconds <= MAX_SECONDS or not self.timeout_seconds > 0:
            raise invalid_argument(
                f"An engine load lasts more than 0 and at most {MAX_SECONDS:.0f} seconds; was "
                f"{self.seconds}"
            )
        if isinstance(self.load, int) and self.load < 1:
            raise invalid_argument(f"A closed loop needs callers; had {self.load}")
        if isinstance(self.load, Schedule) and self.load.rate * self.seconds > MAX_REQUESTS:
            raise invalid_argument(
                f"At most {MAX_REQUESTS} requests at a time; wanted {self.load.rate} a second for "
                f"{self.seconds} s"
            )
        try:
            self.order()
        except ValueError as error:
            raise invalid_argument(f"An engine load cannot be sent: {error}") from error

    def order(self) -> Sequence[int]:
        """Which of the inputs the requests send, in turn."""
        prepared = len(self.inputs)
        return range(prepared) if isinstance(self.load, int) else self.load.choices(prepared)


def _numbers() -> array[int]:
    return array("q")


@dataclass
class EngineRun:
    """The outcome of every request, in the order of the intended times, and of every batch.

    Times are in microseconds from the start. `done` and `batch` (its number among the version's
    batches) are -1 for a request that was not answered; `failures` counts those by reason.
    `busy_share` is the part of the time in which the server process used a CPU. `version` was
    asked, and `first_error` is the message of the first failure that was no full queue.
    """

    seconds: float
    intended: array[int] = field(default_factory=_numbers)
    sent: array[int] = field(default_factory=_numbers)
    done: array[int] = field(default_factory=_numbers)
    batch: array[int] = field(default_factory=_numbers)
    batches: list[Row] = field(default_factory=list)
    failures: Counter[str] = field(default_factory=Counter)
    busy_share: float = 0.0
    version: int = 0
    first_error: str = ""


async def run_engine_load(
    manager: Manager, scheduler: BatchScheduler, model: str, load: EngineLoad
) -> EngineRun:
    """Send the load to the version that answers now, and wait for the last answer.

    If it is cancelled, it sends nothing more, and the answers still missing are dropped.

    Raises:
        ServingError: NOT_FOUND, no version of the model is available, or it has no such signature.
    """
    served = manager.find(model)
    if load.signature not in served.signatures:
        raise invalid_argument(f'Serving signature name: "{load.signature}" not found')
    assert served.queues is not None
    sender = _Sender(scheduler, served.queues, load)
    try:
        await sender.execute()
    finally:
        sender.close()
    return sender.run


class _Sender:
    """Sends the requests of a load, and writes their outcome to `run`."""

    def __init__(self, scheduler: BatchScheduler, version: VersionQueues, load: EngineLoad) -> None:
        self.run = EngineRun(load.seconds, version=version.number)
        self._loop = asyncio.get_running_loop()
        self._scheduler = scheduler
        self._version = version
        self._load = load
        self._order = load.order()
        self._timeout = round(load.timeout_seconds * 1e6)
        self._before = version.statistics.batches
        self._open = 0
        self._sending = True
        self._over = asyncio.Event()
        self._arrivals = _numbers()
        if isinstance(load.load, Schedule):
            self._arrivals.frombytes(np.rint(load.load.arrivals() * 1e6).astype(np.int64).tobytes())
        self._alarm = Alarm(self._loop, self._send_due)
        self._start = now_micros()
        self._busy_before = time.process_time()

    async def execute(self) -> None:
        if isinstance(self._load.load, Schedule):
            self._send_due()
        else:
            for _ in range(self._load.load):
                self._ask_again()
        left = self._load.seconds
        while not self._over.is_set():
            # The records that the server keeps are the last ones only: gather them in time.
            pause = min(left, 0.05) if left > 0 else 0.05
            with suppress(asyncio.TimeoutError):
                await asyncio.wait_for(self._over.wait(), pause)
            self._gather()
            left = self._load.seconds - (now_micros() - self._start) / 1e6
            if self._sending and left <= 0:
                self._sending = False
                cpu = time.process_time() - self._busy_before
                self.run.busy_share = cpu / (self._load.seconds - left)
                self._end_if_done()

    def close(self) -> None:
        self._sending = False
        self._alarm.close()

    def _gather(self) -> None:
        batches = self.run.batches
        last = batches[-1][0] if batches else self._before
        batches += [row for row in self._version.statistics.last_rows if row[0] > last]

    def _send_due(self) -> None:
        """Ask every question whose time has come, and set the alarm for the next."""
        arrivals, at = self._arrivals, len(self.run.intended)
        now = now_micros() - self._start
        while self._sending and at < len(arrivals) and arrivals[at] <= now:
            self._ask(arrivals[at], now)
            at += 1
            now = now_micros() - self._start
        if self._sending and at < len(arrivals):
            self._alarm.at((self._start + arrivals[at]) / 1e6)

    def _ask_again(self) -> None:
        if self._sending:
            now = now_micros() - self._start
            self._ask(now, now)

    def _ask(self, intended: int, now: int) -> None:
        run, order = self.run, self._order
        number = len(run.intended)
        run.intended.append(intended)
        run.sent.append(now)
        run.done.append(_NOT_ANSWERED)
        run.batch.append(_NOT_ANSWERED)
        task = Task(
            self._version,
            self._load.signature,
            self._load.inputs[order[number % len(order)]],
            (),
            self._start + now + self._timeout,
            partial(self._answered, number),
        )
        try:
            self._scheduler.submit(task)
        except ServingError as error:
            self._failed(error)
            if not self._arrivals:
                self._loop.call_later(_RETRY_SECONDS, self._ask_again)
            return
        self._open += 1

    def _answered(self, number: int, result: Tensors | ServingError) -> None:
        self._open -= 1
        if isinstance(result, ServingError):
            self._failed(result)
        else:
            self.run.done[number] = now_micros() - self._start
            self.run.batch[number] = self._version.statistics.batches
        if self._sending and not self._arrivals:
            self._ask_again()
        elif not self._open:
            self._end_if_done()

    def _failed(self, error: ServingError) -> None:
        reason = "rejected" if error.code is Code.UNAVAILABLE else error.code.name
        self.run.failures[reason] += 1
        if reason != "rejected" and not self.run.first_error:
            self.run.first_error = error.message

    def _end_if_done(self) -> None:
        if not self._sending and not self._open:
            self._over.set()
