"""Simulates batching settings for a wanted latency, and puts them in order.

The best setting is the one that still meets the latency when the load grows. The simulator's
errors and a calibration's noise must not change the order, so headroom is compared in a few steps,
and among equals a fixed rule decides: no more delay than needed, then the largest batches that run
within half the latency.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

from workbench.core.batching.parameters import BatchingParameters
from workbench.experiments.simulator.calibration import Calibration
from workbench.experiments.simulator.service_time import sizes_up_to
from workbench.load.arrivals import poisson

SIMULATED_REQUESTS = 2500
HEADROOM = (1.0, 1.4, 2.0)
"""The multiples of the wanted rate at which a setting is simulated."""
_SHARE = 0.8
"""A simulated 99th percentile must be within this share of the wanted one: the simulator is only
nearly right."""
_TIMEOUT_STEPS = (0.0, 0.05, 0.1, 0.2, 0.4, 0.7)
"""The timeouts to try, as shares of the allowed latency."""
_QUEUE_SECONDS = 1.0
"""The queue holds the requests of at least this long, so that a short pause of the machine does
not make it reject any."""


@dataclass(frozen=True)
class Candidate:
    """A setting and its simulation at the wanted rate.

    Attributes:
        p99: seconds; infinite if nothing is answered.
        rejected: the share of rejected requests.
        headroom: the largest of `HEADROOM` at which it still meets the latency; 0 if it does not.
        runs: seconds for which a full batch runs.
    """

    parameters: BatchingParameters
    p99: float
    rejected: float
    headroom: float
    runs: float


def candidates(
    base: BatchingParameters, calibration: Calibration, p99_ms: float, rate: float, seed: int
) -> list[Candidate]:
    """Simulates batches of up to 1, 2, 4 ... requests, each with a few timeouts; everything else is
    as in `base` (see `resized`), except that the queue is long enough."""
    largest = int(calibration.service.rows[-1])
    sizes = [size * calibration.rows for size in sizes_up_to(max(1, largest // calibration.rows))]
    queued = rate * calibration.rows * max(_QUEUE_SECONDS, 2 * p99_ms / 1e3)
    found = []
    for size in sizes:
        for share in _TIMEOUT_STEPS:
            if share and size == calibration.rows:
                # A batch of one request is full at once, whatever the timeout.
                break
            parameters = replace(
                resized(base, size),
                batch_timeout_micros=round(share * p99_ms * 1e3),
                max_enqueued_batches=max(base.max_enqueued_batches, math.ceil(queued / size)),
            )
            found.append(_simulated(parameters, calibration, p99_ms, rate, seed))
    return found


def _simulated(
    parameters: BatchingParameters,
    calibration: Calibration,
    p99_ms: float,
    rate: float,
    seed: int,
) -> Candidate:
    runs = calibration.service.median(parameters.batch_limit) / 1e6
    first: tuple[float, float] | None = None
    headroom = 0.0
    for multiple in HEADROOM:
        arrivals = poisson(rate * multiple, seed=seed, count=SIMULATED_REQUESTS)
        summary = calibration.simulate(parameters, arrivals, seed).summary()
        p99, rejected = summary["latency_s"].get(99.0, math.inf), summary["rejected_share"]
        first = first or (p99, rejected)
        if rejected or p99 > _SHARE * p99_ms / 1e3:
            break
        headroom = multiple
    assert first is not None
    return Candidate(parameters, *first, headroom, runs)


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


def rank(found: Sequence[Candidate], p99_ms: float) -> list[Candidate]:
    """The best first: those with the most headroom, then with the least delay, then the largest
    batch that runs within half the latency; those without headroom by their 99th percentile."""

    def key(candidate: Candidate) -> tuple[float, ...]:
        if not candidate.headroom:
            return (0.0, candidate.p99 + candidate.rejected * 1e3)
        size = candidate.parameters.batch_limit
        long = candidate.runs > p99_ms / 2e3
        delay = candidate.parameters.batch_timeout_micros
        return (-candidate.headroom, long, delay, size if long else -size)

    return sorted(found, key=key)


def shortlist(ranked: Sequence[Candidate], count: int) -> list[Candidate]:
    """The first `count` that differ in kind: at most one for each timeout, because the simulator's
    errors are similar for candidates with the same timeout."""
    first: dict[int, Candidate] = {}
    for candidate in ranked:
        first.setdefault(candidate.parameters.batch_timeout_micros, candidate)
    return list(first.values())[:count]
