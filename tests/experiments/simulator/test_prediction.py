"""Predictions with intervals."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from workbench.core.batching.parameters import BatchingParameters
from workbench.core.status import Code, ServingError
from workbench.experiments.simulator.calibration import Calibration
from workbench.experiments.simulator.hiccups import Hiccups
from workbench.experiments.simulator.prediction import Prediction, spells, typical
from workbench.experiments.simulator.service_time import ServiceTime
from workbench.load.intervals import Interval

SETTING = BatchingParameters(max_batch_size=8, max_enqueued_batches=100, num_batch_threads=1)


def calibration(hiccups: Hiccups | None = None, drift: float = 0.0) -> Calibration:
    rows, micros = np.array([1, 2]), np.array([[[1000.0], [1000.0]]])
    service = ServiceTime(rows, micros, hiccups=hiccups or Hiccups())
    return Calibration(service, "m", 1, slots=1, rows=1, drift=drift)


def test_each_figure_has_an_interval_around_the_estimate() -> None:
    found = calibration().predict(SETTING, rate=500)

    for interval in (found.achieved, *found.latency.values()):
        assert interval.low < interval.estimate < interval.high
        assert interval.confidence == 0.9
    assert found.achieved.estimate == pytest.approx(500, rel=0.05)
    assert list(found.latency) == ["p50", "p90", "p99"]


def test_a_prediction_shows_itself_as_a_sentence() -> None:
    latency = {"p50": Interval(0.001, 0.0015, 0.002, 0.9), "p99": Interval(0.002, 0.004, 0.03, 0.9)}

    assert str(Prediction(Interval(900.0, 1000.0, 1100.0, 0.9), latency)) == (
        "Predicted: 1000 requests/s (900 to 1100), p50 1.5 ms (1 to 2), p99 4 ms (2 to 30); "
        "in brackets, where 9 of 10 measurements lie."
    )


def test_a_typical_spell_is_not_the_one_with_a_hiccup() -> None:
    sent = np.arange(0, 1, 1e-4)
    latency = np.where((sent > 0.42) & (sent < 0.44), 0.02, 0.001)
    assert np.quantile(latency, 0.99) == 0.02
    assert typical(sent, latency) == 0.001
    # At 1000 requests a second, a spell of 500 requests takes half a second.
    few = slice(None, None, 10)
    assert typical(sent[few], latency[few]) == pytest.approx((0.001 + 0.02) / 2)
    assert np.isnan(typical(np.zeros(0), np.zeros(0)))
    assert typical(np.array([0.0]), np.array([0.5]), 50.0) == 0.5
    assert [spells(rate) for rate in (10, 20_000, 10**6)] == [5000, 10_000, 40_000]


def test_a_machine_that_drifts_or_is_held_up_makes_it_wider() -> None:
    def p99(known: Calibration) -> Interval:
        return known.predict(SETTING, rate=500).latency["p99"]

    steady, drifting = p99(calibration()), p99(calibration(drift=0.25))
    assert drifting.low < steady.low
    held_up = p99(calibration(Hiccups(10.0, np.array([30_000.0]))))
    assert held_up.high > 2 * steady.high
    # Without any, the machine is quiet.
    assert held_up.low == steady.low


def test_near_the_capacity_the_interval_is_wide() -> None:
    known = calibration()
    easy, hard = (known.predict(SETTING, rate=rate).latency["p99"] for rate in (2000, 7500))
    assert hard.relative_width > 1.3 * easy.relative_width


def test_a_closed_loop_is_predicted_by_its_callers() -> None:
    found = calibration().predict(SETTING, callers=16)

    # Full batches of 8, one after the other.
    assert found.achieved.estimate == pytest.approx(8000, rel=0.02)
    assert found.achieved.low < 8000 / 1.1
    assert found == calibration().predict(SETTING, callers=16)


def test_the_parameters_may_be_a_dictionary() -> None:
    known = calibration()
    some = {"max_batch_size": 8, "max_enqueued_batches": 100, "num_batch_threads": 1}
    assert known.predict(some, rate=500) == known.predict(SETTING, rate=500)
    with pytest.raises(ServingError, match="max_batch"):
        known.predict({"max_batch": 8}, rate=500)


def test_a_load_is_a_rate_or_a_number_of_callers() -> None:
    with pytest.raises(ServingError, match="Give a rate or a number of callers"):
        calibration().predict(SETTING)
    with pytest.raises(ServingError, match="Give a rate or a number of callers"):
        calibration().predict(SETTING, rate=1.0, callers=1)


def test_another_calibration_refines_it() -> None:
    first = calibration()
    slower = replace(first, service=first.service.scaled(4.0), drift=0.2)

    once = first.refined(slower)
    assert (once.times, once.drift) == (2, 0.2)
    # Half of the machine's change counts at once, and the mean of both is half of the rest.
    assert once.service.median(1) == pytest.approx(1000 * 4**0.75)
    assert "version 1 (mean of 2 calibrations): with" in str(once)
    # The last ones count.
    for _ in range(40):
        once = once.refined(slower)
    assert once.times == 5
    assert once.service.median(1) == pytest.approx(4000, rel=0.01)
    assert Calibration.from_json(once.to_json()).times == 5


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"model": "n"}, "with model m cannot be refined by one with n"),
        ({"rows": 2}, "with rows 1 cannot be refined by one with 2"),
        ({"version": 2}, "with version 1 cannot be refined by one with 2"),
        (
            {"service": ServiceTime.exponential(9.0)},
            "batch sizes [1, 2] cannot be refined by one with [1]",
        ),
    ],
)
def test_a_calibration_of_something_else_refines_nothing(change: dict[str, Any], said: str) -> None:
    other = replace(calibration(), **change)
    with pytest.raises(ServingError) as refused:
        calibration().refined(other)
    assert refused.value.code is Code.INVALID_ARGUMENT
    assert said in str(refused.value)
    assert str(refused.value).endswith(": calibrate without refine")
