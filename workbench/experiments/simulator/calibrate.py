"""Measures run time against batch size through a running server, in a few seconds.

With a timeout that never passes, batches are closed only when they are full. With `max_batch_size`
b and b callers, each batch is alone and follows the last at once. With twice as many callers as all
slots hold, all slots are busy and the next batches wait already: that is the model's capacity. At a
low constant rate, each batch is alone after a pause in which caches went cold and threads fell
asleep, as under little load. The capacity is measured for every size, the rest for some sizes only,
because it differs little between sizes. The server's records say how long a batch holds its slot
and how long the model runs. The CPU time of the server process says how much the event loop spends.
Last, requests at a high constant rate show how often the machine delays the loop: it is woken for
each of them, and notes when that was late. `fit` turns these measurements into a model.
"""

from __future__ import annotations

import math
import time
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
from workbench.experiments.simulator.fit import Full, Measured, fitted
from workbench.experiments.simulator.hiccups import SHORTEST_MICROS, Hiccups, Met, uninterrupted
from workbench.experiments.simulator.service_time import sizes_up_to
from workbench.experiments.store.running import Running
from workbench.experiments.store.server_turns import WhenBusy
from workbench.experiments.store.store import keep_result
from workbench.load.arrivals import Schedule
from workbench.processes.limits import schedulable_cpus

LARGEST = 256
FEWEST_BATCHES = 8
WARM_UP_MICROS = 30_000
_WARM_UP_SECONDS = 0.2
_TRIALS = 5
_MOST_WAITING = 4
"""With a measured capacity, as many batches wait as are in flight, but at most so many."""
QUIET, QUIET_LOOP, QUIET_MICROS = 3.0, 8.0, 2000.0
"""A pause is at least this many times the run time of a batch, this many times the loop's time for
its requests, and this many microseconds."""
_PROBES_A_SECOND, _PROBED = 5000.0, 16
_FLIGHTS = (1, 2, 4)
"""So many batches in flight are measured, for other settings than the one in force too."""
_ODD = 3, 6, 12
"""Also so many requests, because libraries for matrices handle rows by fours and eights."""
_SLOW_MICROS = 50_000
"""With longer batches, only some sizes are measured, because each takes seconds."""
_FULL_ONLY = BatchingParameters(batch_timeout_micros=300_000, max_enqueued_batches=100)
"""Batches are closed when they are full; only the last one waits for its timeout."""


def calibrate(
    server: ServerClient,
    payload: Any = None,
    *,
    rows: int = 1,
    max_batch_size: int | None = None,
    seconds: float = 3.5,
    refine: Calibration | None = None,
    keep: bool = True,
    progress: bool | Callable[[str], None] = True,
    when_busy: WhenBusy = "refuse",
) -> Calibration:
    """Measures how long batches of each size run; see `Server.calibrate`."""
    asked = make_payload(server, payload, rows=rows)
    begun, done, steps = time.monotonic(), 0, 1

    def tell(text: str) -> None:
        nonlocal done
        done += 1
        left = (time.monotonic() - begun) * (steps / done - 1)
        running.tell(f"calibrating: {text}", done / steps, left)
        if callable(progress):
            progress(text)

    with Running("calibration", server, keep, progress is True, when_busy) as running:
        with kept_settings(server) as borrowed:
            before = borrowed.before
            slots = before.num_batch_threads or 1
            known = int(refine.service.rows[-1]) if refine else min(before.batch_limit, LARGEST)
            sizes = _sizes(before, rows, max_batch_size or known)
            main = _main(sizes)
            found = _Calibration(server, borrowed, asked, _flights(slots), tell)
            # A processor that has rested is slower for a tenth of a second, by up to a quarter. So
            # all loads without pauses come first.
            if found.warm_up(sizes[0]) > _SLOW_MICROS:
                sizes = main
            if refine is not None:
                (version,) = found.versions
                refine.check_refined(server.model, version, rows, found.flights[-1], sizes)
            loads = len(sizes) * len(found.flights) + 2 * len(main)
            each, steps = seconds / loads, loads + 3
            for size in sizes:
                if size in main:
                    found.measure_alone(size, each)
                found.measure_full(size, each)
            drift = found.measure_drift(sizes[-1], each)
            for size in main:
                found.measure_rested(size, each)
            hiccups = found.measure_hiccups(sizes, seconds / 5)
            if borrowed.notice() or borrowed.disturbed or len(found.versions) > 1:
                raise ServingError(
                    Code.ABORTED,
                    f"Somebody else changed the batching or the version of {server.model} during "
                    "the calibration: calibrate again",
                )
        tell("matching the simulator")
        late = np.concatenate([np.zeros(1), *found.wakes])
        service = fitted(
            Measured(
                slot_micros=found.slot_micros,
                run_micros=found.run_micros,
                rested_micros=found.rested_micros,
                rested_loop_micros=found.rested_loop_micros,
                full=found.full,
                wake_micros=late[late <= SHORTEST_MICROS],
                hiccups=hiccups,
                rows=rows,
                processors=schedulable_cpus(),
            )
        )
    (version,) = found.versions
    calibration = Calibration(service, server.model, version, slots, rows, drift)
    if refine is not None:
        calibration = refine.refined(calibration)
    if not keep:
        return calibration
    about = f"{', '.join(map(str, sizes))} rows, {slots} slots"
    return keep_result("calibration", server.model, calibration, about)


def _sizes(before: BatchingParameters, rows: int, largest: int) -> list[int]:
    """The batch sizes to measure: 1, 2, 4 ... requests, some in between, and the largest. A
    compiled model only runs batches of its allowed sizes."""
    allowed = [s for s in before.allowed_batch_sizes if s <= largest and s % rows == 0]
    most = max(1, largest // rows)
    requests = {*sizes_up_to(most), *(size for size in _ODD if size < most)}
    return allowed or [size * rows for size in sorted(requests)]


def _main(sizes: list[int]) -> list[int]:
    """The smallest size, every one four times as large as the last, and the largest."""
    found = sizes[:1]
    for size in sizes[1:]:
        if size >= 4 * found[-1] or size == sizes[-1]:
            found.append(size)
    return found


def _flights(slots: int) -> list[int]:
    """The numbers of batches in flight to measure: those of `_FLIGHTS`, and the slots in force."""
    return sorted({*_FLIGHTS, slots})


@dataclass
class _Calibration:
    """A calibration under way: its loads, and the measurements so far by the rows of a batch, in
    microseconds; see `Measured`."""

    server: ServerClient
    borrowed: Borrowed
    payload: Payload
    flights: list[int]
    report: Callable[[str], None]
    slot_micros: dict[int, NDArray[np.int64]] = field(default_factory=dict)
    run_micros: dict[int, NDArray[np.int64]] = field(default_factory=dict)
    handling_micros: dict[int, float] = field(default_factory=dict)
    rested_micros: dict[int, NDArray[np.int64]] = field(default_factory=dict)
    rested_loop_micros: dict[int, float] = field(default_factory=dict)
    full: dict[tuple[int, int], Full] = field(default_factory=dict)
    wakes: list[NDArray[np.int64]] = field(default_factory=list)
    met: list[Met] = field(default_factory=list)
    slowest: dict[int, float] = field(default_factory=dict)
    versions: set[int] = field(default_factory=set)

    def warm_up(self, size: int) -> float:
        """A load that is not measured; returns about how long a batch runs, in microseconds."""
        self._use(size, 1)
        callers = 2 * size // self.payload.rows
        result = run_engine(self.server, self.payload, callers, _WARM_UP_SECONDS)
        self.versions.add(result.version)
        slots = result.batches["slot_micros"]
        return float(np.median(slots)) if len(slots) else _WARM_UP_SECONDS * 1e6

    def measure_alone(self, size: int, seconds: float) -> None:
        """Batches of one size, one after another."""
        requests = size // self.payload.rows
        self._use(size, 1)
        result, right = self._measure(size, 1, seconds, requests)
        self.slot_micros[size] = result.batches["slot_micros"][right]
        self.run_micros[size] = result.batches["run_micros"][right]
        run = float(np.median(self.slot_micros[size]))
        self.report(f"{size} rows, alone: {run / 1e3:.2f} ms")
        self.handling_micros[size] = _loop_micros(result)

    def measure_full(self, size: int, seconds: float) -> None:
        """Batches of one size with all slots busy."""
        for flight in self.flights:
            self.full[flight, size] = full = self._measure_full(size, flight, seconds)
            self.report(f"{size} rows, {flight} in flight: {full.per_second:.0f} requests/s")

    def measure_rested(self, size: int, seconds: float) -> None:
        """One batch after each pause, so that each finds the server asleep."""
        run = QUIET * float(np.median(self.slot_micros[size]))
        pause = max(run, QUIET_LOOP * self.handling_micros[size], QUIET_MICROS) / 1e6
        rate = size / self.payload.rows / pause
        # An incomplete last batch would wait for its timeout.
        schedule = Schedule("constant", rate, max(math.ceil(seconds / pause), 10) * pause)
        self._use(size, max(self.flights), round(max(4e6 * pause, _FULL_ONLY.batch_timeout_micros)))
        result, right = self._measure(size, 1, seconds, schedule)
        self.rested_loop_micros[size] = _loop_micros(result)
        self.rested_micros[size] = slot = result.batches["slot_micros"][right]
        self.wakes.append(_wakes(result))
        self.report(f"{size} rows, after a pause: {float(np.median(slot)) / 1e3:.2f} ms")

    def _measure_full(self, size: int, flight: int, seconds: float) -> Full:
        self._use(size, flight)
        callers = (flight + min(flight, _MOST_WAITING)) * size // self.payload.rows
        result, right = self._measure(size, flight, seconds, callers)
        turn = flight * size // self.payload.rows
        slot_micros = result.batches["slot_micros"][right]
        taken_at = result.batches["taken_at"][right]
        used = min(schedulable_cpus(), flight + 1)
        seen = float(np.ptp(taken_at)) / 1e6
        self.met.append(Met.by_batches(taken_at, slot_micros, seen, used))
        return Full(
            run_micros=result.batches["run_micros"][right],
            slot_micros=slot_micros,
            callers=callers,
            per_second=full_rate(result, turn),
            busy_share=result.busy_share,
            rows_each=self.payload.rows,
        )

    def measure_hiccups(self, sizes: list[int], seconds: float) -> Hiccups:
        """How often the machine delays the loop, measured at a constant rate of at most half of the
        model's capacity, in batches whose answers take the loop little time."""
        size = max((s for s in sizes if s <= _PROBED * self.payload.rows), default=sizes[0])
        rate = min(_PROBES_A_SECOND, self.full[1, size].per_second / 2)
        self._use(size, 1, round(4e6 * size / self.payload.rows / rate))
        probe = Schedule("constant", rate, seconds)
        probed = run_engine(self.server, self.payload, probe, probe.duration_s)
        late = _wakes(probed)
        self.met.append(Met(late[late > SHORTEST_MICROS].astype(float), probe.duration_s))
        hiccups = Hiccups.pooled(self.met)
        self.report(f"{hiccups.per_second:.1f} hiccups of the machine a second")
        return hiccups

    def measure_drift(self, size: int, seconds: float) -> float:
        """By what share a capacity has changed during the calibration."""
        flight = self.flights[0]
        again = self._measure_full(size, flight, seconds).per_second
        drift = abs(again / self.full[flight, size].per_second - 1)
        self.report(f"{drift:.0%} change during the calibration")
        return drift

    def _use(self, size: int, slots: int, timeout: int = _FULL_ONLY.batch_timeout_micros) -> None:
        self.borrowed.use(
            replace(
                _FULL_ONLY,
                max_batch_size=size,
                max_enqueued_batches=max(_FULL_ONLY.max_enqueued_batches, 2 * slots),
                num_batch_threads=slots,
                batch_timeout_micros=timeout,
            )
        )

    def _measure(
        self, size: int, flight: int, seconds: float, load: Schedule | int
    ) -> tuple[EngineResult, NDArray[np.bool_]]:
        """Measure enough batches of `size` rows with `flight` in flight; returns which they are.
        The load comes from callers in a closed loop, or from a schedule."""
        wanted = max(FEWEST_BATCHES, 2 * flight)
        if isinstance(load, int):
            # At worst, batches in flight run one after the other, and as long as their rows.
            known = max(self.slowest, default=size)
            slot = self.slowest.get(known, 0.0) * max(size / known, 1.0) * flight
            enough = WARM_UP_MICROS + (wanted / flight + 2) * slot
            seconds = max(seconds, 3 * WARM_UP_MICROS / 1e6, enough / 1e6)
        for _ in range(_TRIALS):
            if not isinstance(load, int):
                load = replace(load, duration_s=max(seconds, load.duration_s))
                seconds = load.duration_s
            result = run_engine(self.server, self.payload, load, seconds)
            self.versions.add(result.version)
            batches = result.batches
            right = (batches["rows"] == size) & (batches["in_flight"] == flight)
            right &= _warm(batches["taken_at"], load)
            if isinstance(load, int) and len(right):
                # What ran after the last request was sent had no others beside it.
                ended = batches["taken_at"] + batches["slot_micros"] - batches["taken_at"][0]
                right &= ended < seconds * 1e6
            found, tried = int(right.sum()), seconds
            if found >= wanted:
                slot = float(np.median(batches["slot_micros"][right])) / flight
                self.slowest[size] = max(self.slowest.get(size, 0.0), slot)
                return result, right
            # Extrapolated from the batches found.
            seconds *= min(max(1.3 * wanted / max(found, 1), 1.5), 3.0)
            if not isinstance(load, int) and result.failures:
                # The machine may have become busy with something else.
                load = replace(load, rate=load.rate / 3)
        model = self.server.model
        if result.failures:
            raise failed_precondition(
                f"{model} failed {sum(result.failures.values())} requests "
                f"({result.first_error or ', '.join(result.failures)}): it cannot be calibrated"
            )
        raise failed_precondition(
            f"{model} answered only {found} batches of {size} rows in {tried:.1f} s: "
            "call calibrate with more seconds or a smaller max_batch_size"
        )


def _warm(taken_at: NDArray[np.int64], load: Schedule | int) -> NDArray[np.bool_]:
    """Which batches are not of the warm-up: the first one, and under full load those of the time in
    which threads find their processors and caches fill."""
    warm_up = WARM_UP_MICROS if isinstance(load, int) else 0
    warm: NDArray[np.bool_] = taken_at > (taken_at[0] if len(taken_at) else 0) + warm_up
    return warm


def _loop_micros(result: EngineResult) -> float:
    """The server's CPU time for each batch."""
    return result.busy_share * result.seconds * 1e6 / max(len(result.batches["rows"]), 1)


def full_rate(result: EngineResult, turn: int) -> float:
    """Answers a second of a full server, without the warm-up, the end and the time of hiccups.

    Answers come in batches, so whole turns of the slots, of `turn` requests, are timed: from one
    place of a batch to the same place of another.
    """
    done = np.sort(result.done[result.done >= 0])
    last = int(np.searchsorted(done, result.seconds * 1e6)) - 1
    begin = int(np.searchsorted(done, WARM_UP_MICROS))
    if last - begin < turn:
        begin, last = 0, max(last, min(turn, len(done) - 1))
    turn = min(turn, last - begin)
    turns = np.diff(done[begin : last + 1 : turn])
    return turn / max(float(uninterrupted(turns).mean()), 1.0) * 1e6


def _wakes(result: EngineResult) -> NDArray[np.int64]:
    """How late a sleeping loop was for requests; one that arrives while an earlier one is still
    late does not wake the loop again."""
    asleep = result.intended[1:] > result.sent[:-1]
    late: NDArray[np.int64] = (result.sent - result.intended)[1:][asleep]
    return late
