"""Candidates, their ranking, and what is said of a tuning; without a server."""

from __future__ import annotations

import json
import math
from dataclasses import replace

import pytest

from tests.experiments.points import point
from workbench.core.batching.parameters import BatchingParameters
from workbench.experiments.simulator.calibration import Calibration
from workbench.experiments.simulator.service_time import ServiceTime
from workbench.experiments.tuning.candidates import (
    Candidate,
    candidates,
    rank,
    resized,
    shortlist,
)
from workbench.experiments.tuning.tune import explain
from workbench.experiments.tuning.tune_result import TuneResult
from workbench.load.intervals import Interval

CALIBRATION = Calibration(
    ServiceTime.from_samples({(1, rows): [1000.0 + 100 * rows] for rows in (1, 2, 4, 8)}),
    model="m",
    version=1,
    slots=2,
    rows=1,
)


def candidate(
    p99: float,
    *,
    timeout: int = 0,
    size: int = 32,
    rejected: float = 0.0,
    headroom: float = 2.0,
    runs: float = 0.001,
) -> Candidate:
    parameters = BatchingParameters(batch_timeout_micros=timeout, max_batch_size=size)
    return Candidate(parameters, p99, rejected, headroom, runs)


def result(*measured: object, **changes: object) -> TuneResult:
    points = measured or (point(p99=0.004), point(timeout=5000, p99=0.02))
    values = {
        "parameters": points[0].batching,  # type: ignore[attr-defined]
        "meets": True,
        "p99_ms": 10.0,
        "rate": 100.0,
        "measured": points,
        "predicted_ms": (3.5, math.inf),
        "limit": "",
        "applied": False,
        "answers": (True, False)[: len(points)],
    }
    return TuneResult(**{**values, **changes})  # type: ignore[arg-type]


def test_every_size_is_tried_with_every_timeout() -> None:
    base = BatchingParameters(num_batch_threads=2, max_enqueued_batches=70)

    found = candidates(base, CALIBRATION, p99_ms=20, rate=200, seed=1)

    settings = [(c.parameters.max_batch_size, c.parameters.batch_timeout_micros) for c in found]
    timeouts = (0, 1000, 2000, 4000, 8000, 14_000)
    several = [(size, timeout) for size in (2, 4, 8) for timeout in timeouts]
    assert settings == [(1, 0), *several]
    # A second of requests: 200, and more where more was allowed before.
    assert {c.parameters.max_batch_size: c.parameters.max_enqueued_batches for c in found} == {
        1: 200, 2: 100, 4: 70, 8: 70,
    }  # fmt: skip
    # A lone request runs for 1.1 ms, and waits for its timeout where batches are not full.
    assert found[0].p99 > 0.0011
    patient = found[-1]
    assert 0.014 < patient.p99 < 0.018
    assert all(c.rejected == 0 for c in found)
    assert found[0].headroom == 2.0


def test_the_rest_of_the_parameters_stays_as_it_is() -> None:
    padded = BatchingParameters(max_batch_size=32, allowed_batch_sizes=(4, 16, 32))
    assert resized(padded, 8) == replace(padded, max_batch_size=8, allowed_batch_sizes=(4, 8))
    assert resized(padded, 64).allowed_batch_sizes == (4, 16, 32, 64)
    splitting = BatchingParameters(
        max_batch_size=100, enable_large_batch_splitting=True, max_execution_batch_size=50
    )
    assert resized(splitting, 8) == replace(splitting, max_execution_batch_size=8)
    assert resized(replace(splitting, allowed_batch_sizes=(25, 100)), 64) == replace(
        splitting, max_execution_batch_size=64, allowed_batch_sizes=(25, 64, 100)
    )


def test_headroom_comes_first_and_then_a_fixed_rule() -> None:
    roomy, delayed, small, long = (
        candidate(0.004),
        candidate(0.002, timeout=5),
        candidate(0.001, size=16),
        candidate(0.001, size=64, runs=0.008),
    )
    tight, late, refusing = (
        candidate(0.001, headroom=1.0),
        candidate(0.02, headroom=0),
        candidate(0.001, rejected=0.1, headroom=0),
    )

    everything = [refusing, late, long, tight, small, delayed, roomy]
    assert rank(everything, 10) == [roomy, small, delayed, long, tight, late, refusing]
    assert shortlist([roomy, small, delayed, tight], 3) == [roomy, delayed]
    assert shortlist([roomy, delayed], 1) == [roomy]


@pytest.mark.parametrize(
    ("changes", "p99_ms", "sentence"),
    [
        ({}, 1.0, "The model is the limit: a single request runs for 1.1 ms, more than the 1 ms "
         "allowed."),
        ({"size": 8, "achieved": 8500.0}, 20.0,
         "The executors are the limit: 2 of them run at most 8889 rows/s, and 8500 rows/s are "
         "offered."),
        ({"rejected": 0.12}, 20.0,
         "The queue rejected 12% of the requests: it holds at most 10 waiting batches of 32 rows. "
         "Cure: lower the load, allow larger batches, or raise max_enqueued_batches if only bursts "
         "are rejected."),
        ({"queue": 0.003}, 20.0,
         "Waiting for a batch is the largest part of the latency (3.00 ms of 5.50 ms on "
         "average)."),
        ({}, 20.0,
         "Running is the largest part of the latency (2.00 ms of 3.50 ms on average). Only a "
         "faster model would help."),
        ({"overhead": 0.004}, 20.0,
         "Transport and handling are the largest part of the latency (4.00 ms of 7.00 ms on "
         "average)."),
    ],
)  # fmt: skip
def test_the_limit_is_said_in_words(
    changes: dict[str, object], p99_ms: float, sentence: str
) -> None:
    assert explain(point(**changes), CALIBRATION, p99_ms) == sentence  # type: ignore[arg-type]


def test_a_tuning_that_meets_the_latency_says_so() -> None:
    setting = "batch_timeout_micros 0, max_batch_size 32"
    meets = f"{setting} meets 10 ms at 100 requests/s: measured p99 4 ms (3.6 to 4.4)"
    assert result(headroom=2.0).sentence() == (
        f"{meets}. Predicted: 3.5 ms. By simulation it also meets it at 2 times the rate."
    )
    assert result(where="rest", applied=True).sentence() == (
        f"{meets}. Predicted: 3.5 ms for the engine, without rest. Applied."
    )


def test_a_tuning_that_is_not_sure_says_what_it_would_take() -> None:
    open_point = point(
        p99=0.009, verdict="not sure yet", lacks=12.0,
        latency={"p99": Interval(0.005, 0.009, math.inf, 0.95)},
    )  # fmt: skip
    unsure = result(open_point, meets=None, answers=(None,), predicted_ms=(3.5,), seconds=30.0)
    assert unsure.sentence() == (
        "Not sure yet whether batch_timeout_micros 0, max_batch_size 32 meets 10 ms at 100 "
        "requests/s (measured p99 9 ms): about 12 s of load more. Predicted: 3.5 ms. Call tune "
        "with seconds=46."
    )
    assert unsure.frame["verdict"].tolist() == ["not sure yet: about 12 s of load more"]
    assert (
        replace(unsure, interrupted=True).sentence().startswith("Interrupted, not sure yet whether")
    )


def test_a_tuning_that_finds_nothing_names_the_closest_and_the_reason() -> None:
    late = result(
        point(p99=0.02), meets=False, answers=(False,), predicted_ms=(19.0,), limit="It is slow."
    )
    assert late.sentence() == (
        "No setting is known that meets 10 ms at 100 requests/s; the closest is "
        "batch_timeout_micros 0, max_batch_size 32: measured p99 20 ms (18 to 22). Predicted: 19 "
        "ms. It is slow."
    )


def test_a_tuning_in_a_cell_has_its_figure_and_its_table() -> None:
    html = result()._repr_html_()
    assert "<td>5 ms, 32</td><td>20</td><td>inf</td>" in html
    assert html.count("data:image/png;base64,") == 1
    assert "<script" not in html


def test_a_tuning_survives_json_with_what_is_infinite() -> None:
    tuned = result()
    text = json.dumps(tuned.to_json(), allow_nan=False)
    assert TuneResult.from_json(json.loads(text, parse_constant=pytest.fail)) == tuned


def test_the_figure_shows_measured_and_predicted_and_the_limit() -> None:
    axes = result(point(p99=0.004), point(timeout=5000, latency={})).plot().axes[0]
    assert [text.get_text() for text in axes.get_legend().get_texts()] == [
        "measured", "predicted", "wanted",
    ]  # fmt: skip
    assert [text.get_text() for text in axes.get_xticklabels()] == ["0 ms, 32", "5 ms, 32"]
    assert axes.get_ylabel() == "latency, p99 (ms)"
