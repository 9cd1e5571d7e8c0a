"""Health checks against the histories that HAProxy's rules give."""

from __future__ import annotations

from dataclasses import replace

import pytest

from workbench.core.fleet.health import HealthRule, ServerHealth
from workbench.core.status import ServingError

RULE = HealthRule(
    interval_micros=1000, fast_interval_micros=100, down_interval_micros=500, fall=3, rise=2
)


def history(rule: HealthRule, results: str) -> str:
    """Up (U) or down (d) after each passed (+) or failed (-) check, of a server that was sure to be
    up."""
    health = ServerHealth(rule, 0)
    health.checked(True, 0)
    states = []
    for number, result in enumerate(results):
        health.checked(result == "+", number)
        states.append("U" if health.up else "d")
    return "".join(states)


def test_a_server_goes_down_after_fall_failures_and_up_after_rise_successes() -> None:
    assert history(RULE, "--+---") == "UUUUUd"
    assert history(RULE, "---+-++") == "UUddddU"
    assert history(replace(RULE, fall=1, rise=1), "-+-") == "dUd"


def test_before_its_first_checks_one_failure_is_enough() -> None:
    health = ServerHealth(RULE, 0)
    assert health.up
    health.checked(False, 10)
    assert not health.up
    assert not ServerHealth(RULE, 0, up=False).up


def test_checks_come_faster_while_it_is_not_sure_and_slower_while_it_is_down() -> None:
    health = ServerHealth(RULE, 0)
    # Of a new server it is not sure.
    assert health.next_check == 100
    for passed, now, following in (
        (True, 100, 1100),
        (False, 1100, 1200),
        (False, 1200, 1300),
        (False, 1300, 1800),
        (True, 1800, 1900),
        (True, 1900, 2900),
    ):
        health.checked(passed, now)
        assert health.next_check == following
    assert ServerHealth(HealthRule(), 5).next_check == 2_000_005


@pytest.mark.parametrize(
    ("on_error", "up_after_one", "up_after_check"),
    [
        ("mark-down", False, False),
        ("sudden-death", True, False),
        ("fail-check", True, True),
        ("fastinter", True, True),
    ],
)
def test_failed_requests_do_what_the_rule_says(
    on_error: str, up_after_one: bool, up_after_check: bool
) -> None:
    rule = replace(RULE, error_limit=2, on_error=on_error)
    health = ServerHealth(rule, 0)
    health.checked(True, 0)
    health.observed(True, 10)
    health.observed(False, 20)
    health.observed(True, 30)
    # A good one came between them.
    assert (health.up, health.next_check) == (True, 1000)
    health.observed(True, 40)
    assert (health.up, health.next_check) == (up_after_one, 140)
    health.checked(False, 140)
    assert health.up == up_after_check


def test_requests_are_not_observed_without_a_limit() -> None:
    health = ServerHealth(RULE, 0)
    for now in range(100):
        health.observed(True, now)
    assert health.up


def test_a_rule_goes_through_json_and_refuses_what_it_does_not_know() -> None:
    assert HealthRule.from_json(RULE.to_json()) == RULE
    for data, text in (
        ({"fall": 0}, "Health check setting 'fall' must be a whole number, at least 1; was 0"),
        ({"on_error": "pray"}, "must be 'fastinter', 'fail-check', 'sudden-death' or 'mark-down'"),
        ({"inter": 3}, "Unknown health check setting 'inter'"),
    ):
        with pytest.raises(ServingError) as refused:
            HealthRule.from_json(data)
        assert text in refused.value.message
