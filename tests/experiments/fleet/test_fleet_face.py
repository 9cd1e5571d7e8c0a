"""The fleet simulator as its users see it: `wb`, settings that are refused, tables and figures."""

from __future__ import annotations

import numpy as np
import pytest

import workbench as wb
from workbench.core.fleet.autoscaling import ScalingRule
from workbench.core.status import ServingError
from workbench.experiments.fleet.fleet_setting import (
    FleetSetting,
    RetryRule,
    RollingChange,
    ServerLoss,
)
from workbench.experiments.simulator.service_time import ServiceTime
from workbench.load.arrivals import poisson

SERVICE = ServiceTime.exponential(1000)
SINGLES = wb.BatchingParameters(max_batch_size=1, max_enqueued_batches=10_000)


@pytest.mark.parametrize(
    ("made", "text"),
    [
        (
            lambda: FleetSetting(servers=0),
            "Fleet setting 'servers' must be a whole number, at least 1 and at most 100000; was 0",
        ),
        (
            lambda: FleetSetting(policy="fastest"),
            "Fleet setting 'policy' must be 'round_robin', 'random', 'two_choices' or "
            "'least_outstanding'; was 'fastest'",
        ),
        (
            lambda: FleetSetting(servers=2, losses=[ServerLoss(server=2)]),
            "Server 2 cannot be lost: there are 2, counted from 0",
        ),
        (
            lambda: RetryRule(on=("gone",)),
            "Fleet setting 'on' must be a list of 'refused', 'lost', 'rejected', 'timeout'; was "
            "('gone',)",
        ),
        (
            lambda: RollingChange(slower_by=0.5),
            "Fleet setting 'slower_by' must be a number, at least 1; was 0.5",
        ),
        (
            lambda: FleetSetting(health=3),  # type: ignore[arg-type]
            "Fleet setting 'health' must be a HealthRule, or None for balancers that know at once "
            "which servers serve; was 3",
        ),
        (
            lambda: FleetSetting.from_json({"nodes": 3}),
            "Unknown fleet setting 'nodes': known are balancer_micros, ",
        ),
        (
            lambda: FleetSetting.from_json({"losses": [{"node": 3}]}),
            "Unknown loss setting 'node': known are at_s, ",
        ),
        (
            lambda: FleetSetting.from_json({"retry": {"attempts": -1}}),
            "Fleet setting 'attempts' must be a whole number, at least 0; was -1",
        ),
    ],
)
def test_a_setting_that_is_not_allowed_is_named(made: object, text: str) -> None:
    with pytest.raises(ServingError) as refused:
        made()  # type: ignore[operator]
    assert refused.value.message.startswith(text)


def test_requests_that_no_batch_can_hold_are_a_mistake() -> None:
    with pytest.raises(ServingError, match="Task size 2 is larger than maximum input batch size 1"):
        wb.simulate_fleet(SINGLES, np.zeros(1), SERVICE, 1, FleetSetting(), rows=2)
    with pytest.raises(ServingError, match="there are 3 for 1 arrivals"):
        wb.simulate_fleet(SINGLES, np.zeros(1), SERVICE, 1, FleetSetting(), rows=np.ones(3, int))


def test_nothing_to_do_is_a_result_too() -> None:
    result = wb.simulate_fleet(SINGLES, np.zeros(0), SERVICE, 1, FleetSetting(servers=3))
    assert result.summary()["requests"] == 0
    assert result.summary()["longest_queue"] == 0


def test_a_summary_has_the_run_in_a_few_numbers() -> None:
    arrivals = poisson(2400, seed=1, count=12_000)
    result = wb.simulate_fleet(SINGLES, arrivals, SERVICE, 1, FleetSetting(servers=4))
    found = result.summary()
    assert found["requests"] == 12_000
    assert found["achieved_per_s"] == pytest.approx(2400, rel=0.05)
    assert found["occupancy"] == pytest.approx(0.6, abs=0.04)
    assert found["servers_mean"] == pytest.approx(4)
    assert found["failed_share"] == 0.0
    assert found["outcomes"] == {"answered": 12_000}
    assert found["latency_s"][50.0] == pytest.approx(float(np.median(result.latency)))
    lane = result.lanes[2]
    # Little's law: as many requests as arrive a second, times the time that each stays.
    at = np.linspace(0.1, arrivals[-1], 4000)
    stays = float((np.sort(lane.went) - np.sort(lane.came)).mean())
    rate = len(lane.came) / arrivals[-1]
    assert lane.outstanding(at).mean() == pytest.approx(rate * stays, rel=0.05)


def test_policies_side_by_side() -> None:
    arrivals = poisson(3200, seed=1, count=6000)
    found = wb.compare_policies(SINGLES, arrivals, SERVICE, 1, FleetSetting(servers=4))
    frame = found.frame.set_index("policy")
    assert list(frame.index) == ["round_robin", "random", "two_choices", "least_outstanding"]
    assert frame.p99_ms["least_outstanding"] < frame.p99_ms["two_choices"] < frame.p99_ms["random"]
    assert frame.busiest_share.between(1.0, 1.2).all()
    titles = [axes.get_title(loc="left") for axes in found.plot().axes]
    assert [title for title in titles if title] == [
        "round robin",
        "random",
        "two choices",
        "least outstanding",
    ]
    with pytest.raises(ServingError, match="Fleet setting 'policy' must be"):
        wb.compare_policies(SINGLES, arrivals, SERVICE, 1, FleetSetting(), policies=["best"])


def test_the_figure_names_what_happened() -> None:
    setting = FleetSetting(
        servers=2,
        losses=[ServerLoss(server=1, at_s=0.5)],
        change=RollingChange(at_s=1.5, slower_s=0.5),
        scaling=ScalingRule(min_servers=2, max_servers=3, target_rate=500.0),
        start_up_s=0.5,
    )
    arrivals = poisson(1200, seed=1, duration=3.0)
    result = wb.simulate_fleet(SINGLES, arrivals, SERVICE, 1, setting)
    assert result._repr_png_().startswith(b"\x89PNG")
    figure = result.plot()
    legend = {text.get_text() for text in figure.legends[0].get_texts()}
    assert {"answered", "failed", "lost", "starting", "slower", "servers wanted"} <= legend
    lanes = figure.axes[2]
    assert lanes.get_ylabel() == "server"
    # One column for each step of time, one row for each server.
    assert lanes.images[0].get_array().shape[0] == 3


def test_of_many_servers_some_are_drawn() -> None:
    arrivals = poisson(20_000, seed=1, duration=0.1)
    result = wb.simulate_fleet(SINGLES, arrivals, SERVICE, 1, FleetSetting(servers=300))
    lanes = result.plot().axes[2]
    shown = lanes.images[0].get_array().shape[0]
    assert shown == 40
    assert lanes.get_yticklabels()[0].get_text() == "0"
