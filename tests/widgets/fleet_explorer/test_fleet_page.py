"""The data that the page of the fleet explorer draws."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest

from workbench.experiments.fleet.fleet_outcomes import Outcome
from workbench.widgets.fleet_explorer.fleet_page import STEPS, latency_over_time, page
from workbench.widgets.fleet_explorer.fleet_scenario import ServerModel, run

FORMULA = ServerModel.of(None, None, None)
FIRST = FORMULA.first_choice()


def test_the_page_has_what_the_result_has() -> None:
    done = run(FIRST, FORMULA)
    data = json.loads(json.dumps(page(done), allow_nan=False))
    result = done.result
    assert data["choice"] == FIRST.to_json()
    assert data["requests"] == len(result.arrived)
    assert [lane["server"] for lane in data["lanes"]] == [0, 1, 2, 3]
    for lane, drawn in zip(result.lanes, data["lanes"], strict=True):
        assert len(drawn["queue"]) == STEPS
        assert 0.5 * lane.longest < max(drawn["queue"]) <= lane.longest
        assert drawn["spells"][-1]["end"] == pytest.approx(done.span, abs=1e-6)
    assert [s["phase"] for s in data["lanes"][1]["spells"]] == ["serving", "lost", "serving"]
    for line in data["policies"]:
        found = done.comparison.results[line["policy"]].summary()
        assert line["p99"] == pytest.approx(1e6 * found["latency_s"][99.0], abs=1)
        assert line["longest"] == found["longest_queue"]
        assert line["failed"] == found["failed_share"]


def test_places_without_a_server_have_no_lane() -> None:
    done = run(replace(FIRST, event="autoscaling", servers=2), FORMULA)
    lanes = page(done)["lanes"]
    assert len(lanes) == max(servers for _, servers, _ in done.result.wanted)
    assert len(done.result.lanes) == 32
    assert "starting" in [spell["phase"] for spell in lanes[-1]["spells"]]


def test_latency_over_time_counts_every_request_once() -> None:
    done = run(replace(FIRST, rate=30_000), FORMULA)
    found = latency_over_time(done.result, done.span)
    assert sum(found["failed"]) == int((done.result.outcome != Outcome.ANSWERED).sum())
    assert len({len(values) for values in found.values()}) == 1
    # The first part, by hand.
    first = done.result.arrived < done.span / len(found["at"])
    answered = first & done.result.answered
    latency = (done.result.done - done.result.arrived)[answered]
    assert found["p50"][0] == pytest.approx(1e6 * np.median(latency), abs=1)
    assert found["p99"][0] == pytest.approx(1e6 * np.quantile(latency, 0.99), abs=1)


def test_a_time_without_answers_has_no_latency() -> None:
    done = run(replace(FIRST, servers=1, rate=2000), FORMULA)
    found = latency_over_time(done.result, done.span)
    assert None in found["p50"]
    gone = [at for at, value in zip(found["at"], found["p50"], strict=True) if value is None]
    assert 0.2 * done.span < min(gone) < max(gone) < 0.7 * done.span
