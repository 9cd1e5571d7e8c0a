"""A calibration of a real server, and a tuning built on it."""

from __future__ import annotations

import json

import numpy as np
import pytest

import workbench as wb
from workbench.core.batching.parameters import BatchingParameters
from workbench.core.status import ServingError
from workbench.experiments.load.server_load import EngineResult
from workbench.experiments.simulator import calibrate as calibration
from workbench.experiments.simulator.calibrate import calibrate, full_rate
from workbench.experiments.simulator.calibration import Calibration
from workbench.experiments.tuning.tune import tune
from workbench.experiments.tuning.tune_result import TuneResult
from workbench.load.arrivals import constant


def test_it_measures_every_size_alone_and_in_company(served_digits: wb.Server) -> None:
    said: list[str] = []

    found = served_digits.calibrate(max_batch_size=8, seconds=0.8, progress=said.append)

    assert found.service.rows.tolist() == [1, 2, 3, 4, 6, 8]
    assert (found.service.in_flight, found.slots, found.rows, found.version) == (4, 2, 1, 1)
    assert all(found.service.median(rows, flight) > 0 for rows in (1, 8) for flight in (1, 2, 4))
    assert found.service.arrival_micros > 0
    full = ("1 in flight", "2 in flight", "4 in flight")
    assert [line.split(":")[0] for line in said if "rows, " in line] == [
        *(
            f"{n} rows, {step}"
            for n in (1, 2, 3, 4, 6, 8)
            for step in (("alone", *full) if n in (1, 4, 8) else full)
        ),
        *(f"{n} rows, after a pause" for n in (1, 4, 8)),
    ]
    assert found.service.following_micros is not None
    assert found.service.wake_cost_micros > 0
    assert said[-2:] == [
        f"{found.service.hiccups.per_second:.1f} hiccups of the machine a second",
        "matching the simulator",
    ]
    assert found.service.rested_micros is not None
    frame = found.frame
    assert list(frame.columns) == ["in_flight", "rows", "p10_ms", "p50_ms", "p90_ms"]
    assert frame["in_flight"].tolist() == [0] * 6 + [1] * 6 + [2] * 6 + [4] * 6
    again = Calibration.from_json(json.loads(json.dumps(found.to_json(), allow_nan=False)))
    assert again.to_json() == found.to_json()
    # It was kept.
    assert found.number is not None
    kept = wb.load_experiment(found.number)
    assert (kept.to_json(), kept.number) == (found.to_json(), found.number)
    assert wb.history("digits")["kind"][found.number] == "calibration"
    (axes,) = kept.plot().axes
    labels = [text.get_text() for text in axes.get_legend().get_texts()]
    assert labels == ["alone, after a pause", "1 in flight", "2 in flight", "4 in flight"]
    # Measured again, it is more exact.
    finer = served_digits.calibrate(max_batch_size=8, seconds=0.5, refine=found, progress=False)
    assert finer.times == 2
    assert (finer.number or 0) > found.number
    with pytest.raises(ServingError, match=r"6, 8\] cannot be refined by one with \[1, 2, 3, 4\]"):
        served_digits.calibrate(max_batch_size=4, refine=found)
    # What was measured can be simulated at once.
    result = again.simulate(BatchingParameters(max_batch_size=4), constant(100, count=20))
    assert result.answered.all()


def test_a_tuning_without_an_answer_applies_nothing(
    served_digits: wb.Server,
) -> None:
    served_digits.batching = None
    known = calibrate(served_digits, max_batch_size=4, seconds=0.5, keep=False)
    assert known.number is None

    found = served_digits.tune(
        p99_ms=1000, rate=200, calibration=known, verify=2, seconds=0.5, progress=False
    )

    assert served_digits.batching is None
    assert (found.applied, found.meets, len(found.measured)) == (False, None, 1)
    assert found.parameters == found.measured[0].batching
    assert str(found).startswith("Not sure yet whether batch_timeout_micros 0")
    assert wb.load_experiment(found.number or 0) == found
    assert TuneResult.from_json(found.to_json(), found.number) == found


@pytest.mark.alone
def test_a_tuning_that_meets_the_latency_is_applied_when_asked(served_digits: wb.Server) -> None:
    known = calibrate(served_digits, max_batch_size=4, seconds=0.5, keep=False)

    applied = tune(
        served_digits,
        p99_ms=1000,
        rate=500,
        calibration=known,
        verify=1,
        seconds=30,
        apply=True,
        keep=False,
        progress=False,
    )

    assert (applied.applied, applied.meets, applied.answers) == (True, True, (True,)), str(applied)
    assert applied.goodput == 1.0
    assert applied.measured[0].rejected == 0.0
    assert served_digits.batching == applied.parameters


def test_the_sizes_are_powers_and_a_few_in_between() -> None:
    free = BatchingParameters()
    assert calibration._sizes(free, 1, 100) == [1, 2, 3, 4, 6, 8, 12, 16, 32, 64, 100]
    assert calibration._sizes(free, 4, 24) == [4, 8, 12, 16, 24]
    compiled = BatchingParameters(max_batch_size=32, allowed_batch_sizes=(8, 16, 32))
    assert calibration._sizes(compiled, 1, 16) == [8, 16]
    assert calibration._main([1, 2, 3, 4, 6, 8, 12, 16, 32, 64, 100]) == [1, 4, 16, 64, 100]
    assert calibration._main([8]) == [8]


@pytest.mark.parametrize(("seconds", "flight"), [(0.16, 4), (0.35, 2), (1.0, 1)])
def test_a_capacity_counts_whole_turns(seconds: float, flight: int) -> None:
    """Batches of 8 requests that take 30 ms each, all slots in step."""
    ends = np.repeat(np.arange(30_000, 2_000_000, 30_000), 8 * flight)
    none = np.zeros(0, np.int64)
    result = EngineResult(none, none, ends, none, {}, {}, seconds, 0.1, 1, "")

    assert full_rate(result, 8 * flight) == pytest.approx(8 * flight / 0.03, rel=1e-6)


def test_a_capacity_does_not_count_the_time_of_a_hiccup() -> None:
    ends = np.repeat(np.arange(0, 400_000, 2000), 8)
    ends[ends > 100_000] += 30_000
    none = np.zeros(0, np.int64)
    result = EngineResult(none, none, ends, none, {}, {}, 0.4, 0.1, 1, "")

    assert full_rate(result, 8) == pytest.approx(4000)


def test_a_payload_must_have_rows_enough(served_digits: wb.Server) -> None:
    with pytest.raises(ServingError) as refused:
        served_digits.calibrate([[0.0] * 64], rows=2)
    assert str(refused.value) == (
        "The payload has too few rows (1) for requests of 2: give at least 2"
    )
