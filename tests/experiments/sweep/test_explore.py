"""Settings of the sliders, and what the simulator says of them."""

from __future__ import annotations

import json

import pytest

from tests.experiments.points import point
from workbench.core.batching.parameters import BatchingParameters
from workbench.core.status import ServingError
from workbench.experiments.simulator.calibration import Calibration
from workbench.experiments.simulator.service_time import ServiceTime
from workbench.experiments.sweep.explore import (
    AXES,
    Setting,
    curve_values,
    point_figures,
    predicted_curve,
    predicted_point,
    scales,
)

SETTING = Setting(1000, 32, 2, 500.0)
BASE = BatchingParameters(max_enqueued_batches=7)
CALIBRATION = Calibration(ServiceTime.linear(1000.0, 10.0), "digits", 1, 2, 1)


def test_a_setting_changes_its_three_parameters_alone() -> None:
    changed = SETTING.parameters(BASE)
    assert changed == BatchingParameters(
        max_batch_size=32, batch_timeout_micros=1000, num_batch_threads=2, max_enqueued_batches=7
    )
    assert Setting.of(changed, 500.0) == SETTING
    assert Setting.from_json(SETTING.to_json()) == SETTING
    assert str(SETTING) == "delay 1 ms, batches of up to 32, 2 threads"
    padded = SETTING.parameters(
        BatchingParameters(max_batch_size=64, allowed_batch_sizes=(8, 48, 64))
    )
    assert padded.allowed_batch_sizes == (8, 32)


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({"rate": 0}, "rate must be a number of at least 1; was 0"),
        ({"rate": float("inf")}, "rate must be a whole number; was inf"),
        ({"max_batch_size": 1.5}, "max_batch_size must be a whole number; was 1.5"),
        ({"num_batch_threads": True}, "num_batch_threads must be a number of at least 1; was True"),
        ({"batch_timeout_micros": "1"}, "batch_timeout_micros must be a number of at least 0"),
        ({"speed": 1}, "A setting has batch_timeout_micros, max_batch_size, num_batch_threads"),
    ],
)
def test_what_is_no_setting_is_refused(values: dict[str, object], said: str) -> None:
    with pytest.raises(ServingError, match=said):
        Setting.from_json({**SETTING.to_json(), **values})


def test_scales_hold_what_is_in_force() -> None:
    found = scales(Setting(123, 1000, 2, 77.0), rows=4)
    assert list(found) == list(AXES)
    assert found["batch_timeout_micros"][:5] == [0, 100, 123, 130, 160]
    assert found["batch_timeout_micros"][-1] == 100_000
    assert found["max_batch_size"] == [4, 8, 16, 32, 64, 128, 256, 1000]
    assert found["num_batch_threads"][:4] == [1, 2, 3, 4]
    assert 77.0 in found["rate"]
    assert (found["rate"][0], found["rate"][-1]) == (10, 50_000)
    for values in found.values():
        assert values == sorted(set(values))


def test_a_curve_has_the_ends_of_its_scale_and_the_chosen_value() -> None:
    values = curve_values(range(100), 37)
    assert (values[0], values[-1], 37 in values, len(values)) == (0, 99, True, 16)
    assert curve_values([1, 2, 3], 2) == [1, 2, 3]


def test_a_longer_delay_makes_larger_batches_and_longer_waits() -> None:
    short, long = predicted_curve(
        CALIBRATION, BASE, SETTING, "batch_timeout_micros", [0, 20_000], requests=1000
    )
    assert long.batch_rows > 3 * short.batch_rows
    assert long.percentile("p50") > short.percentile("p50") + 0.005
    assert long.reasons["timeout"] > 0.9 * sum(long.reasons.values())
    assert sum(size * n for size, n in long.sizes.items()) == long.samples == 1000
    assert 0 < short.run < 0.002
    assert (short.verdict, long.verdict) == ("stable", "stable")
    # The same seed says the same.
    assert long == predicted_point(CALIBRATION, BASE, Setting(20_000, 32, 2, 500.0), requests=1000)


def test_too_much_load_is_saturated_and_says_why() -> None:
    found = predicted_point(CALIBRATION, BASE, Setting(0, 1, 1, 50_000.0))
    assert found.verdict == "saturated"
    assert found.rejected > 0.5
    figures = point_figures(found)
    assert "The queue rejected" in figures["diagnoses"][0]


def test_there_is_no_such_axis() -> None:
    with pytest.raises(ServingError, match="not against 'colour'"):
        predicted_curve(CALIBRATION, BASE, SETTING, "colour", [1])


def test_figures_of_a_point_are_plain_and_have_units() -> None:
    figures = point_figures(point(timeout=2000, load={"rate": 250.0}, sizes={4: 2, 1: 3}))
    json.dumps(figures, allow_nan=False)
    assert figures["setting"] == {
        "batch_timeout_micros": 2000,
        "max_batch_size": 32,
        "num_batch_threads": 2,
        "rate": 250.0,
    }
    assert figures["sizes"] == [[1, 3], [4, 2]]
    assert figures["p99"][1] == pytest.approx(10_000)
