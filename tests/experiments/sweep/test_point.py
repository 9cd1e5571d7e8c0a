"""From windows of load to figures with intervals, and the verdict on them."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from typing import Any

import numpy as np
import pytest

from workbench.core.batching.parameters import BatchingParameters
from workbench.experiments.load.generator import LIMITED
from workbench.experiments.load.measure import Window
from workbench.experiments.sweep.certainty import clusters
from workbench.experiments.sweep.point import Point, summarize

PARAMETERS = BatchingParameters(max_batch_size=4, num_batch_threads=2)


def window(
    latency: np.ndarray,
    *,
    batch_of: int = 4,
    sent: int | None = None,
    failures: Mapping[str, int] | None = None,
    known: bool = True,
    limited: bool = False,
) -> Window:
    """A second in which requests in batches of `batch_of` were answered at a constant rate."""
    n = len(latency)
    number = np.arange(n) // batch_of
    counters = {
        "batches": n // batch_of,
        "rows": n,
        "requests": n,
        "queued_micros": 300 * n,
        "request_run_micros": 200 * n,
        "slot_micros": 250 * (n // batch_of),
        "sizes": {str(batch_of): n // batch_of},
        "reasons": {"full": n // batch_of},
    }
    return Window(
        seconds=1.0,
        sent=n if sent is None else sent,
        latency=latency,
        batch=number if known else np.full(n, -1),
        ended=np.linspace(0, 0.999, n),
        answered=n,
        failures=failures or {},
        send_delay_p99=0.0001,
        limited=limited,
        batches=counters,
    )


def latencies(count: int = 20_000, seed: int = 0) -> np.ndarray:
    return np.repeat(np.random.default_rng(seed).uniform(0.001, 0.002, count // 4), 4)


def summary(
    *windows: Window, load: dict[str, float] | None = None, memory: int | None = 5
) -> Point:
    return summarize(PARAMETERS, load or {"rate": 20_000}, 1, windows, memory)


def test_a_point_says_where_the_time_went() -> None:
    point = summary(window(latencies()), window(latencies(seed=1)))

    assert (point.offered, point.achieved.estimate, point.samples) == (20_000, 20_000, 40_000)
    assert (point.queue, point.run) == (300e-6, 200e-6)
    assert point.overhead == pytest.approx(1e-3, rel=0.01)
    assert point.occupancy == pytest.approx(2 * 5000 * 250e-6 / (2 * 2.0))
    assert (point.sizes, point.batch_rows, point.reasons) == ({4: 10_000}, 4.0, {"full": 10_000})
    assert (point.rejected, point.failures, point.memory_bytes) == (0.0, {}, 5)
    assert point.verdict == "stable"
    assert list(point.latency) == ["p50", "p90", "p99", "p99.9"]
    for name, true in (("p50", 1.5e-3), ("p90", 1.9e-3), ("p99", 1.99e-3)):
        assert point.latency[name].low <= true <= point.latency[name].high


@pytest.mark.parametrize(
    ("made", "load", "verdict"),
    [
        (window(latencies(), sent=30_000), {"rate": 30_000}, "saturated"),
        (window(latencies(), sent=20_400, failures={"rejected": 400}), {"rate": 1}, "saturated"),
        (window(latencies(), sent=30_000, limited=True), {"rate": 1}, LIMITED),
        (window(latencies(), limited=True), {"clients": 9}, LIMITED),
        (window(latencies(400)), {"rate": 400}, "not sure yet"),
        (window(np.empty(0)), {"clients": 1}, "not sure yet"),
        (window(latencies()), {"clients": 64}, "stable"),
    ],
)  # fmt: skip
def test_the_verdict(made: Window, load: dict[str, float], verdict: str) -> None:
    assert summary(made, load=load).verdict == verdict


def test_the_last_permille_needs_its_samples() -> None:
    point = summary(window(latencies(6000)))

    assert list(point.latency) == ["p50", "p90", "p99"]
    assert math.isnan(point.percentile("p99.9"))


def test_requests_of_one_batch_are_one_cluster() -> None:
    members, largest = clusters([window(latencies(12)), window(latencies(8))])

    assert members.tolist() == [0, 0, 0, 0, 1, 1, 1, 1, 2, 2, 2, 2, 3, 3, 3, 3, 4, 4, 4, 4]
    assert largest == 4


def test_neighbours_are_one_cluster_where_batches_are_not_known() -> None:
    members, largest = clusters([window(latencies(12), known=False)])

    assert members.tolist() == [0, 0, 0, 0, 1, 1, 1, 1, 2, 2, 2, 2]
    assert largest == 4


def test_a_later_batch_that_is_larger_counts_as_several() -> None:
    members, largest = clusters([window(latencies(8)), window(latencies(8), batch_of=8)])

    assert largest == 4
    assert members.tolist() == [0, 0, 0, 0, 1, 1, 1, 1, 2, 2, 2, 2, 3, 3, 3, 3]


def test_a_point_survives_json_with_its_infinite_bounds() -> None:
    point = summary(window(latencies(400)))
    text = json.dumps(point.to_json(), allow_nan=False)

    again: Any = Point.from_json(json.loads(text, parse_constant=pytest.fail))

    assert again == point
    assert math.isinf(again.latency["p99"].high)


def test_a_point_has_all_its_latencies_to_be_merged_with_others() -> None:
    first, second = (summary(window(latencies(seed=seed))) for seed in (0, 1))
    both = np.concatenate([latencies(seed=0), latencies(seed=1)])

    merged = first.distribution
    merged.merge(Point.from_json(second.to_json()).distribution)

    assert len(merged) == 40_000
    for level in (50, 99, 99.99):
        exact = np.percentile(both, level, method="inverted_cdf") * 1e6
        assert merged.percentiles([level])[level] == pytest.approx(exact, rel=0.002)
    # Points that were kept before there was a histogram have none.
    old = {name: value for name, value in first.to_json().items() if name != "histogram"}
    assert len(Point.from_json(old).distribution) == 0
