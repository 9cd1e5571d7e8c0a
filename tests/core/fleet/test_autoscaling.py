"""The decision how many servers a fleet needs, by hand and against a small model of a fleet."""

from __future__ import annotations

import json
import math
from dataclasses import replace

import pytest

from workbench.core.fleet.autoscaling import FleetLoad, ScalingRule, ScalingState, decide
from workbench.core.status import Code, ServingError

RULE = ScalingRule(
    min_servers=1,
    max_servers=8,
    target_rate=100.0,
    target_queued=10.0,
    up_cooldown_s=5.0,
    down_cooldown_s=60.0,
)
BY_QUEUE = replace(RULE, target_rate=None)


def test_the_rate_decides_how_many_servers_are_wanted_and_the_bounds_hold() -> None:
    for rate, wanted in ((0, 1), (99, 1), (101, 2), (350, 4), (5000, 8)):
        load = FleetLoad(ready=1, requests_per_s=rate)
        assert decide(RULE, ScalingState(1), 0.0, load)[0] == wanted
    few = replace(RULE, min_servers=3)
    assert decide(few, ScalingState(1), 0.0, FleetLoad(ready=1))[0] == 3
    assert decide(RULE, ScalingState(20), 0.0, FleetLoad(ready=20))[0] == 8


def test_a_long_queue_adds_servers_but_at_most_doubles_them() -> None:
    wanted, state = decide(BY_QUEUE, ScalingState(2), 0.0, FleetLoad(ready=2, queued=21))
    assert (wanted, state.reason) == (3, "queue")
    assert decide(BY_QUEUE, ScalingState(2), 0.0, FleetLoad(ready=2, queued=500))[0] == 4
    assert decide(BY_QUEUE, ScalingState(2), 0.0, FleetLoad(ready=2, queued=20))[0] == 2


def test_rejected_requests_add_a_server_without_the_cooldown() -> None:
    grown = ScalingState(2, grown_at_s=9.0)
    full = FleetLoad(ready=2, queued=500, rejected_per_s=0.5)
    wanted, state = decide(BY_QUEUE, grown, 10.0, full)
    assert (wanted, state.reason) == (3, "requests rejected")
    # The queue waits for the cooldown.
    assert decide(BY_QUEUE, grown, 10.0, replace(full, rejected_per_s=0.0))[0] == 2
    assert decide(BY_QUEUE, grown, 14.0, replace(full, rejected_per_s=0.0))[0] == 4


def test_while_servers_start_only_the_rate_adds_more_and_nothing_shrinks() -> None:
    state = ScalingState(2, grown_at_s=0.0, unsettled_since_s=0.0, unsettled_until_s=9.0)
    crowded = FleetLoad(ready=1, starting=1, queued=900, rejected_per_s=50.0)
    assert decide(RULE, state, 10.0, crowded)[0] == 2
    assert decide(RULE, state, 10.0, replace(crowded, requests_per_s=450.0))[0] == 5
    # The first report after the start still has rejections of the time before.
    wanted, state = decide(BY_QUEUE, state, 11.0, replace(crowded, ready=2, starting=0))
    assert wanted == 2
    # From then on rejections count, and the queue after the cooldown.
    assert decide(BY_QUEUE, state, 12.0, FleetLoad(ready=2, rejected_per_s=1.0))[0] == 3
    assert decide(BY_QUEUE, state, 12.0, FleetLoad(ready=2, queued=100))[0] == 2
    assert decide(BY_QUEUE, state, 14.0, FleetLoad(ready=2, queued=100))[0] == 4


def test_a_lost_server_that_does_not_start_again_holds_back_nothing_for_ever() -> None:
    rule = replace(BY_QUEUE, start_patience_s=30.0)
    state, lost = ScalingState(2), FleetLoad(ready=1, queued=500)
    wanted = 2
    at = -1.0
    while wanted == 2 and at < 100:
        at += 1.0
        wanted, state = decide(rule, state, at, lost)
    # The patience, and the cooldown after it.
    assert (at, wanted) == (34.0, 4)


def test_a_fleet_shrinks_after_a_long_low_load_to_the_most_that_was_needed() -> None:
    state = ScalingState(5)
    wanted = 5
    for second in range(60):
        # 70 % of the target of each: two servers, once three.
        rate = 200.0 if second == 30 else 120.0
        wanted, state = decide(RULE, state, float(second), FleetLoad(5, requests_per_s=rate))
        assert wanted == 5
    wanted, state = decide(RULE, state, 60.0, FleetLoad(5, requests_per_s=120.0))
    assert (wanted, state.reason) == (3, "low load")


def test_a_moment_of_load_begins_the_cooldown_again() -> None:
    state = ScalingState(2)
    for second in range(150):
        busy = FleetLoad(ready=2, requests_per_s=190.0 if second == 50 else 10.0)
        wanted, state = decide(RULE, state, float(second), busy)
        assert wanted == (2 if second < 111 else 1)


def test_an_empty_queue_alone_does_not_bring_back_the_overload() -> None:
    """Two servers were too few for 300/s; three have no queue, and stay as long as it goes on."""
    state = ScalingState(2)
    wanted, state = decide(
        BY_QUEUE, state, 0.0, FleetLoad(ready=2, queued=25, requests_per_s=300.0)
    )
    assert wanted == 3
    for second in range(1, 300):
        wanted, state = decide(
            BY_QUEUE, state, float(second), FleetLoad(ready=3, requests_per_s=300.0)
        )
        assert wanted == 3
    for second in range(300, 361):
        wanted, state = decide(
            BY_QUEUE, state, float(second), FleetLoad(ready=3, requests_per_s=90.0)
        )
    assert wanted == 1


def test_a_faster_model_makes_an_old_overload_forgotten() -> None:
    state = ScalingState(2, overload_rate=50.0)
    _, state = decide(BY_QUEUE, state, 0.0, FleetLoad(ready=2, requests_per_s=400.0))
    assert state.overload_rate == 200.0


@pytest.mark.parametrize("rule", [RULE, BY_QUEUE])
@pytest.mark.parametrize("start_s", [1.0, 10.0, 40.0])
@pytest.mark.parametrize("rate", [80.0, 140.0, 199.0, 260.0, 555.0])
def test_a_steady_load_makes_no_fleet_flap(rule: ScalingRule, start_s: float, rate: float) -> None:
    """Servers of 110 requests/s whose starts take a third of what the others can do: the number of
    servers grows to what is enough, and never changes its direction."""
    servers, starts, queue = 1, list[float](), 0.0
    state, history = ScalingState(1), [1]
    for second in range(900):
        starts, begun = [at for at in starts if at > second], starts
        servers += len(begun) - len(starts)
        speed = 110.0 * servers * (0.67 if starts else 1.0)
        room = 40.0 * servers
        arrived = queue + rate - speed
        rejected, queue = max(0.0, arrived - room), min(max(0.0, arrived), room)
        load = FleetLoad(servers, len(starts), queue, rate, rejected)
        wanted, state = decide(rule, state, float(second), load)
        # Between two decisions the state goes through JSON, as in a deployment.
        state = ScalingState.from_json(json.loads(json.dumps(state.to_json())))
        starts += [second + start_s] * (wanted - servers - len(starts))
        servers = min(servers, wanted)
        history.append(wanted)
    assert history == sorted(history)
    assert 110.0 * servers >= rate
    # A queue at most doubles servers that are too few.
    assert servers <= 2 * math.ceil(rate / 110.0)
    assert queue == 0.0


def test_a_rule_goes_through_json_and_refuses_what_it_does_not_know() -> None:
    assert ScalingRule.from_json(json.loads(json.dumps(RULE.to_json()))) == RULE
    assert ScalingRule.from_json({}) == ScalingRule()
    for data, text in (
        ({"max_servers": 0}, "Scaling setting 'max_servers' must be a whole number, at least 1"),
        ({"target_rate": "fast"}, "must be a number of requests/s, above 0, or None"),
        ({"down_share": 1.5}, "'down_share' must be a number, above 0 and at most 1; was 1.5"),
        ({"servers": 3}, "Unknown scaling setting 'servers'"),
        ({"min_servers": 9}, "min_servers must not be larger than max_servers; they were 9 and 4"),
    ):
        with pytest.raises(ServingError) as refused:
            ScalingRule.from_json(data)
        assert refused.value.code is Code.INVALID_ARGUMENT
        assert text in refused.value.message
    with pytest.raises(ServingError, match="The scaling settings must be an object; were 3"):
        ScalingRule.from_json(3)  # type: ignore[arg-type]
