"""What happens to the servers of a simulated fleet, and what their callers notice of it."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from workbench.core.batching.parameters import BatchingParameters
from workbench.core.fleet.autoscaling import ScalingRule
from workbench.core.fleet.health import HealthRule
from workbench.experiments.fleet.fleet_outcomes import Outcome
from workbench.experiments.fleet.fleet_result import FleetResult
from workbench.experiments.fleet.fleet_server import Phase
from workbench.experiments.fleet.fleet_setting import (
    FleetSetting,
    RetryRule,
    RollingChange,
    ServerLoss,
)
from workbench.experiments.fleet.simulate_fleet import simulate_fleet
from workbench.experiments.simulator.service_time import ServiceTime
from workbench.load.arrivals import constant, poisson

BATCHES = BatchingParameters(max_batch_size=16, max_enqueued_batches=1000)
SERVICE = ServiceTime.linear(4000, 200)
CHECKS = HealthRule(
    interval_micros=250_000,
    fast_interval_micros=100_000,
    down_interval_micros=250_000,
    fall=2,
    error_limit=1,
    on_error="mark-down",
)
KEEP_ALL = RetryRule(
    attempts=4, on=("refused", "lost"), connect_timeout_micros=200_000, close_when_down=True
)
"""HAProxy as it is set up before real servers; see `docs/reliability.md`."""
PAIR = FleetSetting(servers=2, to_server_micros=60, from_server_micros=60, health=CHECKS)
LOAD = poisson(1500, seed=1, duration=6.0)


def run(setting: FleetSetting, seed: int = 1) -> FleetResult:
    return simulate_fleet(BATCHES, LOAD, SERVICE, 1, setting, seed=seed)


def phases(result: FleetResult, server: int) -> list[tuple[str, float, float]]:
    return [
        (spell.phase.value, round(spell.start, 3), round(spell.end, 3))
        for spell in result.lanes[server].spells
    ]


# Losses.


def test_a_killed_server_loses_nothing_where_everything_is_tried_again() -> None:
    loss = ServerLoss(server=1, at_s=2.0, back_after_s=2.0)
    result = run(replace(PAIR, losses=[loss], retry=KEEP_ALL))
    assert result.answered.all()
    assert result.retries.sum() > 0
    # HAProxy waits 0.2 s before it tries a refused connection again.
    assert 0.2 < result.latency.max() < 0.25
    assert [(phase, start) for phase, start, _ in phases(result, 1)] == [
        ("serving", 0.0),
        ("lost", 2.0),
        ("serving", 4.0),
    ]
    # Two checks bring it back.
    again = result.lanes[1].came[result.lanes[1].came > 2.0]
    assert 4.0 < again.min() < 4.8


def test_requests_in_flight_are_lost_without_retries_of_them() -> None:
    """The default of HAProxy tries again only what could not be sent."""
    result = run(replace(PAIR, losses=[ServerLoss(server=1, at_s=2.0)]))
    lost = result.outcome == Outcome.LOST
    assert 0 < lost.sum() <= 40
    assert (np.abs(result.arrived[lost] - 2.0) < 0.02).all()
    assert np.isnan(result.done[lost]).all()
    assert result.outcome_counts == {
        "answered": len(LOAD) - int(lost.sum()),
        "lost": int(lost.sum()),
    }
    never = run(replace(PAIR, losses=[ServerLoss(server=1, at_s=2.0)], retry=RetryRule(attempts=0)))
    assert (never.outcome == Outcome.REFUSED).sum() > 0


def test_capacity_halves_until_the_checks_notice() -> None:
    """Without observed requests, round robin sends every other request to the dead server until two
    checks have failed: those wait for the pause of a retry."""
    blunt = replace(CHECKS, error_limit=0)
    setting = replace(
        PAIR, policy="round_robin", health=blunt, losses=[ServerLoss(server=1, at_s=2.0)]
    )
    patient = replace(KEEP_ALL, attempts=20, connect_timeout_micros=50_000)
    result = run(replace(setting, retry=patient))
    assert result.answered.all()
    again = result.arrived[result.retries > 0]
    # A check every 250 ms, and the next one after 100 ms.
    assert 0.1 < again.max() - 2.0 < 0.36
    share = (result.retries > 0)[(result.arrived > 2.0) & (result.arrived < again.max())].mean()
    assert share == pytest.approx(0.5, abs=0.05)
    assert set(result.server[result.arrived > again.max() + 0.06]) == {0}


def test_a_silent_server_is_noticed_by_checks_and_its_sessions_are_closed() -> None:
    loss = ServerLoss(server=1, at_s=2.0, silent=True)
    result = run(replace(PAIR, losses=[loss], retry=KEEP_ALL))
    assert result.answered.all()
    assert 0.2 < result.latency.max() < 0.9
    # Without that, what it had hangs until the end.
    hanging = run(replace(PAIR, losses=[loss], retry=replace(KEEP_ALL, close_when_down=False)))
    assert 0 < (hanging.outcome == Outcome.UNANSWERED).sum() < 100
    # Or until the balancer's own timeout.
    timed = run(
        replace(
            PAIR,
            losses=[loss],
            retry=replace(KEEP_ALL, close_when_down=False, timeout_micros=1_000_000),
        )
    )
    out = timed.outcome == Outcome.TIMEOUT
    assert 0 < out.sum() < 100
    assert timed.seconds < 7.2


def test_without_any_server_requests_fail_at_once() -> None:
    setting = FleetSetting(servers=1, losses=[ServerLoss(server=0, at_s=3.0, back_after_s=1.0)])
    result = run(setting)
    failed = result.arrived[result.outcome == Outcome.NO_SERVER]
    assert len(failed) > 1000
    assert 3.0 <= failed.min() < failed.max() < 4.0
    assert result.outcome[-1] == Outcome.ANSWERED


def test_a_batch_of_a_lost_server_has_no_end() -> None:
    result = run(replace(PAIR, losses=[ServerLoss(server=1, at_s=2.0)]))
    ended = result.lanes[1].batches.ended
    assert np.isnan(ended).sum() == 1
    assert np.nanmax(ended) <= 2.0


def test_a_request_that_times_out_is_sent_again_where_the_rule_says_so() -> None:
    setting = FleetSetting(
        servers=2,
        policy="round_robin",
        retry=RetryRule(attempts=1, on=("timeout",), timeout_micros=6000),
    )
    slow = ServiceTime.linear(10_000)
    result = simulate_fleet(BATCHES, constant(10, count=2), slow, 1, setting)
    assert result.outcome.tolist() == [Outcome.TIMEOUT] * 2
    assert result.retries.tolist() == [1, 1]
    assert result.seconds == pytest.approx(0.1 + 0.012, abs=1e-4)


# Rejections.


def test_rejected_requests_can_be_sent_to_another_server() -> None:
    small = BatchingParameters(max_batch_size=1, max_enqueued_batches=1)
    at = np.array([0.0, 0.0001, 0.0002, 0.0003])
    setting = FleetSetting(servers=2, policy="round_robin")
    once = simulate_fleet(small, at, ServiceTime.linear(5000), 1, setting)
    assert once.answered.all()
    five = np.append(at, [0.0004, 0.0005])
    full = simulate_fleet(small, five, ServiceTime.linear(5000), 1, setting)
    assert full.outcome.tolist() == [0, 0, 0, 0, Outcome.REJECTED, Outcome.REJECTED]
    again = simulate_fleet(
        small, five, ServiceTime.linear(5000), 1,
        replace(setting, retry=RetryRule(attempts=2, on=("rejected",))),
    )  # fmt: skip
    assert again.retries.tolist() == [0, 0, 0, 0, 2, 2]


# A new version.


def test_a_smooth_change_makes_one_server_after_the_other_slower() -> None:
    change = RollingChange(at_s=1.0, slower_s=1.0, slower_by=2.0, pause_s=0.5)
    result = run(FleetSetting(servers=2, change=change))
    assert result.answered.all()
    assert [phases(result, server)[1] for server in (0, 1)] == [
        ("slower", 1.0, 2.0),
        ("slower", 2.5, 3.5),
    ]
    batches = result.lanes[0].batches
    took = np.rint((batches.ended - batches.started) * 1e6) / (4000 + 200 * batches.sizes)
    during = (batches.started > 1.0) & (batches.started < 2.0)
    assert took[during].tolist() == pytest.approx([2.0] * int(during.sum()))
    assert took[~during].tolist() == pytest.approx([1.0] * int((~during).sum()))


def test_a_drained_server_goes_away_without_a_failure() -> None:
    change = RollingChange(at_s=1.0, away_s=1.0)
    result = run(replace(PAIR, change=change))
    assert result.answered.all()
    away = [next(s for s in lane.spells if s.phase is Phase.AWAY) for lane in result.lanes]
    assert away[1].start >= away[0].end
    assert not any(
        ((lane.came > spell.start) & (lane.came < spell.end)).any()
        for lane, spell in zip(result.lanes, away, strict=True)
    )


def test_a_server_that_is_away_unannounced_refuses_until_checks_notice() -> None:
    change = RollingChange(at_s=1.0, away_s=1.0, drained=False)
    result = run(replace(PAIR, policy="round_robin", change=change))
    rejected = result.arrived[result.outcome == Outcome.REJECTED]
    assert len(rejected) > 100
    # Two checks of each server.
    first = rejected[rejected < 2.0]
    assert first.max() - 1.0 < 0.36


def test_a_server_that_is_lost_while_it_changes_does_not_stop_the_change() -> None:
    change = RollingChange(at_s=1.0, slower_s=1.0)
    loss = ServerLoss(server=0, at_s=1.5)
    result = run(FleetSetting(servers=2, change=change, losses=[loss]))
    assert [each[0] for each in phases(result, 0)] == ["serving", "slower", "lost"]
    assert phases(result, 1)[1] == ("slower", 2.0, 3.0)


# The autoscaler.


def test_the_autoscaler_follows_the_load_and_does_not_flap() -> None:
    rule = ScalingRule(
        max_servers=8,
        target_rate=1800.0,
        target_queued=60.0,
        up_cooldown_s=5.0,
        down_cooldown_s=5.0,
    )
    setting = FleetSetting(servers=1, scaling=rule, start_up_s=2.0, scaling_interval_s=0.5)
    busy = poisson(6000, seed=1, duration=12.0)
    calm = 12.0 + poisson(1000, seed=2, duration=15.0)
    result = simulate_fleet(BATCHES, np.concatenate([busy, calm]), SERVICE, 1, setting)
    wanted = [servers for _, servers, _ in result.wanted]
    peak = wanted.index(max(wanted))
    assert wanted == sorted(wanted[: peak + 1]) + sorted(wanted[peak + 1 :], reverse=True)
    # 6000 requests/s, and 1800 a server.
    assert max(wanted) == 4
    assert wanted[-1] == 1
    reasons = [why for _, _, why in result.wanted[1:]]
    assert reasons[0] == "rate"
    assert reasons[-1] == "low load"
    # A server that leaves answers what it has.
    assert result.answered[result.arrived > 12.0].all()
    assert result.lanes[-1].spells[-1].phase is Phase.ABSENT
    assert 1 < result.summary()["servers_mean"] < 5


def test_the_autoscaler_replaces_a_lost_server() -> None:
    rule = ScalingRule(min_servers=2, max_servers=3)
    setting = replace(PAIR, scaling=rule, start_up_s=1.0, losses=[ServerLoss(server=0, at_s=2.5)])
    result = run(replace(setting, retry=KEEP_ALL))
    assert [each[0] for each in phases(result, 0)] == ["serving", "lost", "starting", "serving"]
    assert [servers for _, servers, _ in result.wanted] == [2]


# All of it.


def test_the_same_seed_gives_the_same_result() -> None:
    setting = replace(
        PAIR,
        policy="two_choices",
        balancers=3,
        losses=[ServerLoss(server=1, at_s=2.0, back_after_s=1.0)],
        change=RollingChange(at_s=3.5, slower_s=0.5),
        retry=KEEP_ALL,
    )
    one, same, other = run(setting, 5), run(setting, 5), run(setting, 6)
    assert np.array_equal(one.done, same.done, equal_nan=True)
    assert np.array_equal(one.server, same.server)
    assert not np.array_equal(one.server, other.server)


def test_a_setting_goes_through_json() -> None:
    setting = replace(
        PAIR,
        losses=[ServerLoss(server=1, at_s=2.0, silent=True)],
        change=RollingChange(at_s=3.5, slower_s=0.5),
        scaling=ScalingRule(max_servers=5),
        retry=KEEP_ALL,
    )
    assert FleetSetting.from_json(setting.to_json()) == setting
    assert FleetSetting.from_json({}) == FleetSetting()
