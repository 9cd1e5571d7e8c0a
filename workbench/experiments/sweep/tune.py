"""Finds batching parameters: simulates some fifty settings, and measures the best few.

The simulator is fast and nearly right, the server is slow and right. So the simulator ranks batch
sizes of 1, 2, 4 ... with half a dozen timeouts for the wanted load, and only the best few are
measured. The prediction covers only the engine; over REST and gRPC only the measurement includes
the transport.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from itertools import product
from operator import itemgetter
from typing import Any

from workbench.client.server import ServerClient
from workbench.core.batching.parameters import BatchingParameters
from workbench.experiments.load.borrowed_settings import automatic
from workbench.experiments.load.measure import Where
from workbench.experiments.simulator.calibrate import calibrate
from workbench.experiments.simulator.calibration import Calibration
from workbench.experiments.simulator.service_time import sizes_up_to
from workbench.experiments.store.running import Running
from workbench.experiments.store.store import keep_result
from workbench.experiments.sweep.diagnosis import diagnose
from workbench.experiments.sweep.point import STABLE, Point
from workbench.experiments.sweep.sweep import sweep
from workbench.experiments.sweep.tune_result import TuneResult
from workbench.load.arrivals import poisson

VERIFIED = 3
SIMULATED_REQUESTS = 4000
ROOMY = 0.7
"""Executors that are busy for at most this share of the time still have room for bursts."""
_TIMEOUT_STEPS = (0.0, 0.05, 0.1, 0.2, 0.4, 0.7)
"""The timeouts to try, as shares of the allowed latency."""


@dataclass(frozen=True)
class Candidate:
    """A setting and its simulation; times in seconds, rates a second."""

    parameters: BatchingParameters
    p99: float
    achieved: float
    rejected: float
    occupancy: float


def tune(
    server: ServerClient,
    *,
    p99_ms: float,
    rate: float,
    payload: Any = None,
    rows: int = 1,
    where: Where = "engine",
    calibration: Calibration | None = None,
    verify: int = VERIFIED,
    seconds: float = 3.0,
    seed: int = 0,
    apply: bool = False,
    keep: bool = True,
    progress: bool = True,
) -> TuneResult:
    """Finds parameters that keep a latency at a rate; see `Server.tune`."""
    with Running("tune", server, keep, progress) as running:
        if calibration is None:
            running.say("Calibrating: some 4 s")
            calibration = calibrate(
                server,
                payload,
                rows=rows,
                report=lambda text: running.tell(f"calibrating: {text}"),
                keep=False,
            )
        before = server.batching or automatic(server)
        before = replace(before, num_batch_threads=calibration.slots)
        found = candidates(before, calibration, p99_ms, rate, seed)
        chosen = best_of_each_timeout(rank(found, p99_ms))[:verify]
        running.say(f"Simulated {len(found)} settings; measuring the best {len(chosen)}")
        pairs: list[tuple[Point, Candidate]] = []

        def on_window(_: int, loaded: float) -> None:
            share = (len(pairs) + min(1.0, loaded / seconds)) / len(chosen)
            running.tell(f"measured {len(pairs)} of {len(chosen)}", share)

        for candidate in chosen:
            result = sweep(
                server,
                rate=rate,
                payload=payload,
                rows=rows,
                where=where,
                base=candidate.parameters,
                seconds=seconds,
                seed=seed,
                keep=False,
                progress=False,
                on_window=on_window,
            )
            if result.interrupted:
                raise KeyboardInterrupt
            pairs.append((result.points[0], candidate))
            running.update(f"measured {len(pairs)} of {len(chosen)}")
    pairs.sort(key=lambda pair: _cost(pair[0], p99_ms))
    best = pairs[0][0]
    meets = _meets(best, p99_ms)
    if apply:
        server.batching = best.batching
    tuned = TuneResult(
        parameters=best.batching,
        meets=meets,
        p99_ms=p99_ms,
        rate=rate,
        measured=tuple(point for point, _ in pairs),
        predicted_ms=tuple(candidate.p99 * 1e3 for _, candidate in pairs),
        limit=explain(best, calibration, p99_ms),
        applied=apply,
        where=where,
    )
    if keep:
        about = f"p99 {p99_ms:g} ms at {rate:g}/s: {'met' if meets else 'not met'}"
        tuned = keep_result("tune", server.model, tuned, about)
    return tuned


def candidates(
    base: BatchingParameters, calibration: Calibration, p99_ms: float, rate: float, seed: int
) -> list[Candidate]:
    """Simulates batches of up to 1, 2, 4 ... requests, each with a few timeouts; everything else is
    as in `base` (see `resized`)."""
    largest = int(calibration.service.rows[-1])
    arrivals = poisson(rate, seed=seed, count=SIMULATED_REQUESTS)
    sizes = [size * calibration.rows for size in sizes_up_to(max(1, largest // calibration.rows))]
    found = []
    for size, share in product(sizes, _TIMEOUT_STEPS):
        parameters = replace(resized(base, size), batch_timeout_micros=round(share * p99_ms * 1e3))
        result = calibration.simulate(parameters, arrivals, seed).summary()
        figures = (result[name] for name in ("achieved_per_s", "rejected_share", "occupancy"))
        found.append(Candidate(parameters, result["latency_s"].get(99.0, math.inf), *figures))
    return found


def resized(base: BatchingParameters, rows: int) -> BatchingParameters:
    """`base` with batches of at most `rows` rows.

    With splitting, requests that were accepted before are still accepted. With padding, batches are
    padded up to the new largest size.
    """
    splitting = base.enable_large_batch_splitting
    largest = max(rows, base.max_batch_size) if splitting else rows
    allowed = {size for size in base.allowed_batch_sizes if size < rows} | {rows, largest}
    return replace(
        base,
        max_batch_size=largest,
        max_execution_batch_size=rows if splitting else None,
        allowed_batch_sizes=tuple(sorted(allowed)) if base.allowed_batch_sizes else (),
    )


def rank(found: list[Candidate], p99_ms: float) -> list[Candidate]:
    """The best first: those within the latency that reject nothing and leave the executors time for
    bursts, by latency; then the others within the latency, by occupancy; then the rest."""

    def key(candidate: Candidate) -> tuple[int, float]:
        if candidate.rejected or candidate.p99 > 0.9 * p99_ms / 1e3:
            return (2, candidate.p99 + candidate.rejected * 1e3)
        if candidate.occupancy > ROOMY:
            return (1, candidate.occupancy)
        return (0, candidate.p99)

    return sorted(found, key=key)


def best_of_each_timeout(ranked: list[Candidate]) -> list[Candidate]:
    """Only the best candidate of each timeout: the simulator's errors are similar for candidates
    with the same timeout."""
    first: dict[int, Candidate] = {}
    for candidate in ranked:
        first.setdefault(candidate.parameters.batch_timeout_micros, candidate)
    return list(first.values())


def _meets(point: Point, p99_ms: float) -> bool:
    return point.verdict == STABLE and point.latency["p99"].high <= p99_ms / 1e3


def _cost(point: Point, p99_ms: float) -> tuple[bool, float]:
    if _meets(point, p99_ms):
        return (False, point.occupancy)
    return (True, point.percentile("p99") if point.verdict == STABLE else math.inf)


def explain(point: Point, calibration: Calibration, p99_ms: float) -> str:
    """The reason, in words, why the 99th percentile at this point is not lower."""
    single = calibration.service.median(point.rows) / 1e3
    if single > p99_ms:
        return (
            f"The model is the limit: a single request runs for {single:.3g} ms, more than the "
            f"{p99_ms:g} ms allowed."
        )
    size = point.batching.batch_limit
    capacity = calibration.service.capacity(size, point.slots, max(1, size // point.rows))
    offered = point.offered * point.rows
    if offered > 0.9 * capacity:
        return (
            f"The executors are the limit: {point.slots} of them run at most {capacity:.0f} "
            f"rows/s, and {offered:.0f} rows/s are offered."
        )
    problems = diagnose(point)
    if problems:
        return str(problems[0])
    seconds, cause, cure = max(
        (point.queue, "Waiting for a batch is", ""),
        (point.run, "Running is", " Only a faster model would help."),
        (point.overhead, "Transport and handling are", ""),
        key=itemgetter(0),
    )
    total = point.queue + point.run + point.overhead
    return (
        f"{cause} the largest part of the latency ({seconds * 1e3:.2f} ms of {total * 1e3:.2f} ms "
        f"on average).{cure}"
    )
