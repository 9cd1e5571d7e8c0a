"""What the sliders of the fleet explorer become: how many requests, and which fleet."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from workbench.core.status import ServingError
from workbench.experiments.fleet.fleet_server import Phase
from workbench.experiments.simulator.calibration import Calibration
from workbench.experiments.simulator.service_time import ServiceTime
from workbench.widgets.fleet_explorer.fleet_choice import EVENTS, SLIDERS, FleetChoice, scales
from workbench.widgets.fleet_explorer.fleet_scenario import (
    ServerModel,
    arrivals,
    request_count,
    run,
)

FORMULA = ServerModel.of(None, None, None)
FIRST = FORMULA.first_choice()


def test_without_run_times_there_is_a_formula_and_it_says_so() -> None:
    assert FORMULA.service.mean(1) == 4200
    assert FORMULA.service.mean(16) == 7200
    assert FORMULA.about == ("Run times: a formula, 4 ms for a batch and 0.2 ms for each row.")
    # Batches of 16 take 7.2 ms.
    assert FORMULA.capacity(16) == pytest.approx(16 / 7.2e-3)
    given = ServerModel.of(ServiceTime.linear(1000.0), 2, None)
    assert (given.slots, given.rows, given.about) == (2, 1, "Run times: as given.")


def test_a_calibration_brings_its_slots_and_rows() -> None:
    known = Calibration(ServiceTime.linear(1000.0, 100.0), "digits", 3, 2, 4)
    model = ServerModel.of(known, None, None)
    assert (model.service, model.slots, model.rows) == (known.service, 2, 4)
    assert model.about == "Run times: calibration of digits, version 3."
    # Two executors run batches of 16 requests of four rows in 7.4 ms.
    assert model.capacity(64) == pytest.approx(2 * 16 / 7.4e-3)
    assert model.first_choice().max_batch_size == 64
    assert all(size % 4 == 0 for size in scales(model.first_choice(), 4)["max_batch_size"])
    assert ServerModel.of(known, 1, 4).slots == 1
    with pytest.raises(ServingError, match=r"^The calibration is for requests of 4 rows, not 1"):
        ServerModel.of(known, None, 1)
    with pytest.raises(ServingError, match=r"^slots must be at least 1; was 0$"):
        ServerModel.of(known, 0, None)


def test_at_first_the_fleet_can_hardly_do_without_a_server() -> None:
    share = FIRST.rate / FORMULA.capacity(FIRST.max_batch_size)
    assert FIRST.servers - 1 < share < FIRST.servers
    assert FIRST.event == "loss"


def test_every_slider_has_the_chosen_value_among_its_own() -> None:
    odd = FleetChoice(1234, 9, balancers=7, report_interval_micros=1, max_batch_size=17)
    found = scales(odd)
    assert list(found) == list(SLIDERS)
    for name, values in found.items():
        assert values == sorted(set(values))
        assert getattr(odd, name) in values
    assert found["report_interval_micros"][0] == 0


def test_a_choice_is_checked_and_survives_json() -> None:
    assert FleetChoice.from_json(FIRST.to_json()) == FIRST
    for wrong in ({"servers": 0}, {"policy": "best"}, {"event": "flood"}, {"colour": "red"}):
        with pytest.raises(ServingError):
            FleetChoice.from_json(wrong)


def test_the_costlier_a_request_the_fewer_are_simulated() -> None:
    """A simulated batch costs more than a request in it, and so do reports."""
    full = replace(FIRST, rate=50_000)
    single = replace(FIRST, max_batch_size=1)
    reported = replace(FIRST, report_interval_micros=1000, servers=32, balancers=16)
    assert request_count(full, FORMULA) > request_count(FIRST, FORMULA)
    assert request_count(FIRST, FORMULA) > 2 * request_count(single, FORMULA)
    assert request_count(reported, FORMULA) < request_count(single, FORMULA)
    assert request_count(replace(reported, rate=100), FORMULA) == 100
    # The event loop of a calibrated server is simulated too.
    looped = replace(FORMULA, service=replace(FORMULA.service, arrival_micros=1.0))
    assert request_count(FIRST, looped) < 0.7 * request_count(FIRST, FORMULA)


@pytest.mark.parametrize("choice", [FIRST, replace(FIRST, rate=2000), replace(FIRST, rate=30_000)])
def test_the_usual_batch_is_about_that_of_the_simulation(choice: FleetChoice) -> None:
    quiet = replace(choice, event="nothing")
    found = run(quiet, FORMULA).result.summary()["batch_rows_mean"]
    assert FORMULA.usual_batch(quiet) == pytest.approx(found, rel=0.3)


def test_all_policies_get_the_same_requests() -> None:
    done = run(FIRST, FORMULA)
    assert len(done.comparison.results) == 4
    for policy, result in done.comparison.results.items():
        assert result.setting.policy == policy
        assert np.array_equal(result.arrived, done.result.arrived)
    assert done.result.setting.policy == "least_outstanding"
    assert len(done.result.arrived) == request_count(FIRST, FORMULA)
    assert done.span == pytest.approx(done.result.arrived[-1], abs=1e-6)


@pytest.mark.parametrize(
    ("event", "phases"),
    [
        ("nothing", {Phase.SERVING}),
        ("loss", {Phase.SERVING, Phase.LOST}),
        ("smooth", {Phase.SERVING, Phase.SLOWER}),
        ("unload_first", {Phase.SERVING, Phase.DRAINING, Phase.AWAY}),
        ("autoscaling", {Phase.ABSENT, Phase.STARTING, Phase.SERVING, Phase.DRAINING}),
    ],
)
def test_each_event_happens_within_the_run(event: str, phases: set[Phase]) -> None:
    assert event in EVENTS
    done = run(replace(FIRST, event=event), FORMULA)
    lanes = done.result.lanes
    seen = {spell.phase for lane in lanes for spell in lane.spells if spell.end > spell.start}
    assert seen == phases
    if event in ("smooth", "unload_first"):
        changed = [any(s.phase is not Phase.SERVING for s in lane.spells) for lane in lanes]
        assert all(changed)
    assert lanes[0].spells[-1].phase is Phase.SERVING


def test_under_autoscaling_the_load_falls_at_half_time() -> None:
    at = arrivals(replace(FIRST, event="autoscaling"), 5000, 0)
    assert len(at) == 5000
    early, late = (at < at[-1] / 2).sum(), (at >= at[-1] / 2).sum()
    assert late / early == pytest.approx(0.25, rel=0.1)
    assert (np.diff(at) > 0).all()
