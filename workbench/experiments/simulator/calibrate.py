"""Measures run time against batch size through a running server, in a few seconds.

With a timeout that never passes, batches are closed only when they are full. With `max_batch_size`
b and b callers in a closed loop for each slot, every batch has b rows and all slots are busy. With
b callers in total, each batch is alone and follows the last at once. At a low constant rate, each
batch is alone after a pause in which caches went cold and threads fell asleep, as under little
load. The server's records say how long a batch holds its slot, and the CPU time of the server
process how much the event loop spends on each request. Last, requests at a high constant rate show
how often the machine delays the loop: it is woken for each of them, and notes when that was late.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from workbench.client.server import ServerClient
from workbench.core.batching.parameters import BatchingParameters
from workbench.core.status import Code, ServingError, failed_precondition
from workbench.experiments.load.borrowed_settings import Borrowed, kept_settings
from workbench.experiments.load.server_load import EngineResult, Payload, make_payload, run_engine
from workbench.experiments.simulator.calibration import Calibration
from workbench.experiments.simulator.hiccups import SHORTEST_MICROS, Hiccups
from workbench.experiments.simulator.service_time import ServiceTime, sizes_up_to
from workbench.experiments.store.running import Running
from workbench.experiments.store.server_turns import WhenBusy
from workbench.experiments.store.store import keep_result
from workbench.load.arrivals import Schedule

LARGEST = 256
FEWEST_BATCHES = 8
QUIET, QUIET_LOOP, QUIET_MICROS = 3.0, 8.0, 2000.0
"""A pause is at least this many times the run time of a batch, this many times the loop's time for
its requests, and this many microseconds."""
_PROBES_A_SECOND, _PROBED = 5000.0, 16
_FULL_ONLY = BatchingParameters(batch_timeout_micros=300_000, max_enqueued_batches=100)
"""Batches are closed when they are full; only the last one waits for its timeout."""


def calibrate(
    server: ServerClient,
    payload: Any = None,
    *,
    rows: int = 1,
    max_batch_size: int | None = None,
    seconds: float = 4.0,
    keep: bool = True,
    report: Callable[[str], None] | None = None,
    when_busy: WhenBusy = "refuse",
) -> Calibration:
    """Measures how long batches of each size run; see `Server.calibrate`."""
    asked = make_payload(server, payload, rows=rows)

    def tell(text: str) -> None:
        running.tell(text)
        if report is not None:
            report(text)

    with (
        Running("calibration", server, keep, False, when_busy) as running,
        kept_settings(server) as borrowed,
    ):
        before = borrowed.before
        slots = before.num_batch_threads or 1
        sizes = _sizes(before, rows, max_batch_size or min(before.batch_limit, LARGEST))
        each = seconds / (len(sizes) * (len({1, slots}) + 1))
        found = _Calibration(server, borrowed, asked, slots, tell)
        for size in sizes:
            found.measure_size(size, each)
        hiccups = found.measure_hiccups(sizes, seconds / 2)
        if borrowed.notice() or borrowed.disturbed or len(found.versions) > 1:
            raise ServingError(
                Code.ABORTED,
                f"Somebody else changed the batching or the version of {server.model} during the "
                "calibration: calibrate again",
            )
    # The loop's cost of a batch is in its slot time, so only the cost of its requests is added.
    # Small batches are left out, because most of their cost is the batch's own.
    costs = [cost for size, cost in found.loop_costs.items() if size >= 8 * rows]
    cost = float(np.median(costs)) if costs else 0.0
    late = np.concatenate([np.zeros(1), *found.wakes])
    service = ServiceTime.from_samples(
        found.slot_micros,
        arrival_micros=cost / 2,
        answer_micros=cost / 2,
        wake_micros=late[late <= SHORTEST_MICROS],
        hiccups=hiccups,
    )
    (version,) = found.versions
    calibration = Calibration(service, server.model, version, slots, rows)
    if not keep:
        return calibration
    about = f"{', '.join(map(str, sizes))} rows, {slots} slots"
    return keep_result("calibration", server.model, calibration, about)


def _sizes(before: BatchingParameters, rows: int, largest: int) -> list[int]:
    """The batch sizes to measure; a compiled model only runs batches of its allowed sizes."""
    allowed = [s for s in before.allowed_batch_sizes if s <= largest and s % rows == 0]
    return allowed or [s * rows for s in sizes_up_to(max(1, largest // rows))]


@dataclass
class _Calibration:
    """A calibration under way: its loads, and the measurements so far in microseconds.

    Attributes:
        slot_micros: how long batches held their slots, by batches in flight and rows.
        loop_costs: the loop's own time for a request, by the rows of a batch.
        wakes: how late the loop woke up.
        versions: those that answered.
    """

    server: ServerClient
    borrowed: Borrowed
    payload: Payload
    slots: int
    report: Callable[[str], None]
    slot_micros: dict[tuple[int, int], NDArray[np.int64]] = field(default_factory=dict)
    loop_costs: dict[int, float] = field(default_factory=dict)
    wakes: list[NDArray[np.int64]] = field(default_factory=list)
    versions: set[int] = field(default_factory=set)

    def measure_size(self, size: int, seconds: float) -> None:
        """Batches of one size: with all slots busy, alone, and after a pause."""
        rows = self.payload.rows
        full = replace(_FULL_ONLY, max_batch_size=size, num_batch_threads=self.slots)
        self.borrowed.use(full)
        for flight in sorted({1, self.slots}, reverse=True):
            busy = self._measure(size, flight, seconds, key=flight)
            if flight == self.slots:
                # Of the loop, for each request.
                answered = max(int(busy.batches["tasks"].sum()), 1)
                self.loop_costs[size] = busy.busy_share * busy.seconds * 1e6 / answered
            self.report(f"{size} rows, {flight} in flight: {self._median(flight, size):.2f} ms")
        # One batch every few of its run times, so that each finds the server asleep.
        handling = self.loop_costs[size] * size / rows
        run = self._median(self.slots, size) * 1e3
        pause = max(QUIET * run, QUIET_LOOP * handling, QUIET_MICROS) / 1e6
        schedule = Schedule("constant", size / rows / pause, max(seconds, 12 * pause))
        wait = round(max(4e6 * pause, full.batch_timeout_micros))
        self.borrowed.use(replace(full, batch_timeout_micros=wait))
        self.wakes.append(_wakes(self._measure(size, 1, seconds, schedule, key=0)))
        self.report(f"{size} rows after a pause: {self._median(0, size):.2f} ms")

    def measure_hiccups(self, sizes: list[int], seconds: float) -> Hiccups:
        """How often the machine delays the loop, measured at a constant rate of at most half of the
        model's capacity, in batches whose answers take the loop little time."""
        rows, slots = self.payload.rows, self.slots
        size = max(s for s in sizes if s <= _PROBED * rows)
        self.borrowed.use(replace(_FULL_ONLY, max_batch_size=size, num_batch_threads=slots))
        handling = self.loop_costs[sizes[-1]] * size / rows
        busy_micros = max(self._median(slots, size) * 1e3 / slots, handling)
        most = size / rows / busy_micros * 1e6
        probe = Schedule("constant", min(_PROBES_A_SECOND, most / 2), seconds)
        probed = run_engine(self.server, self.payload, probe, probe.duration_s)
        hiccups = Hiccups.from_late(_wakes(probed), probe.duration_s)
        self.report(f"{hiccups.per_second:.1f} hiccups of the machine a second")
        return hiccups

    def _median(self, flight: int, size: int) -> float:
        """Milliseconds."""
        return float(np.median(self.slot_micros[flight, size])) / 1e3

    def _measure(
        self, size: int, flight: int, seconds: float, schedule: Schedule | None = None, *, key: int
    ) -> EngineResult:
        """Measure enough batches of `size` rows with `flight` in flight, and keep their slot times
        under `key`. The load comes from callers in a closed loop, or from the schedule."""
        for _ in range(4):
            if schedule is not None:
                schedule = replace(schedule, duration_s=max(seconds, schedule.duration_s))
                seconds = schedule.duration_s
            callers = flight * size // self.payload.rows
            result = run_engine(self.server, self.payload, schedule or callers, seconds)
            self.versions.add(result.version)
            batches = result.batches
            right = (batches["rows"] == size) & (batches["in_flight"] == flight)
            # The warm-up is left out.
            right[: max(1, min(len(right) // 10, 50))] = False
            found = int(right.sum())
            if found >= FEWEST_BATCHES:
                self.slot_micros[key, size] = batches["slot_micros"][right]
                return result
            seconds *= 3
            if schedule is not None and result.failures:
                # The machine may have become busy with something else.
                schedule = replace(schedule, rate=schedule.rate / 3)
        model = self.server.model
        if result.failures:
            raise failed_precondition(
                f"{model} failed {sum(result.failures.values())} requests "
                f"({result.first_error or ', '.join(result.failures)}): it cannot be calibrated"
            )
        raise failed_precondition(
            f"{model} answered only {found} batches of {size} rows in {seconds / 3:.1f} s: "
            "call calibrate with more seconds or a smaller max_batch_size"
        )


def _wakes(result: EngineResult) -> NDArray[np.int64]:
    """How late a sleeping loop was for requests; one that arrives while an earlier one is still
    late does not wake the loop again."""
    asleep = result.intended[1:] > result.sent[:-1]
    late: NDArray[np.int64] = (result.sent - result.intended)[1:][asleep]
    return late
