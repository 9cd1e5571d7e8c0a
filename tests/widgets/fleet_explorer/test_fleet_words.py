"""The fleet explorer's sentences: from the figures of the run, whatever the sliders."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import Any

import pytest

from workbench.widgets.fleet_explorer.fleet_scenario import FleetRun, ServerModel, run
from workbench.widgets.fleet_explorer.fleet_words import held, policies_sentence, sentence

FORMULA = ServerModel.of(None, None, None)
FIRST = FORMULA.first_choice()


def ran(**changes: Any) -> FleetRun:
    return run(replace(FIRST, **changes), FORMULA)


def test_a_lost_server_that_is_missed() -> None:
    done = ran()
    said = sentence(done)
    found = re.fullmatch(
        r"With 3 of 4 servers the fleet is offered 1\.2 times what it can answer; queues grow "
        r"until the lost server is back \((\d+) requests in all before, (\d+) then\); (\d+) of "
        r"5,700 requests fail \((\d+) lost\)\.",
        said,
    )
    assert found is not None, said
    before, then, failed, lost = map(int, found.groups())
    assert before == round(held(done, (0.1, 0.25)))
    assert then > 2 * before
    assert failed == lost == done.result.outcome_counts["lost"]


def test_a_lost_server_that_is_not_missed() -> None:
    said = sentence(ran(servers=16))
    assert said.startswith("With 15 of 16 servers the fleet is offered 0.24 times what it can")
    assert "queues do not grow until the lost server is back (" in said


def test_a_lost_server_where_queues_are_full_anyway() -> None:
    said = sentence(ran(rate=30_000))
    assert "is offered 4.5 times what it can answer; queues overflow until the lost" in said
    assert re.search(r"requests fail \([\d,]+ rejected, \d+ lost\)\.$", said)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"servers": 1, "event": "loss"}, "The only server is lost, and nothing answers until"),
        ({"servers": 1, "event": "unload_first"}, "The only server is away while it changes"),
        (
            {"servers": 1, "event": "nothing", "rate": 1000},
            "The server is offered 0.45 times what it can answer; queues do not grow, and p99 is",
        ),
        ({"event": "nothing"}, "The 4 servers are offered 0.89 times what they can answer; queues"),
        (
            {"event": "nothing", "rate": 10_000},
            "The 4 servers are offered 1.1 times what they can answer; queues grow all the time, ",
        ),
        ({"event": "unload_first"}, "With 3 of 4 servers while one changes its version, the fleet"),
    ],
)
def test_what_happened(changes: dict[str, Any], said: str) -> None:
    assert sentence(ran(**changes)).startswith(said)


def test_nothing_failed() -> None:
    said = sentence(ran(event="smooth"))
    assert "is offered 0.97 times what it can answer" in said
    before, during = map(float, re.findall(r"([\d.]+) ms", said))
    assert during > before
    assert said.endswith("during it; no request fails.")


def test_the_decisions_of_the_autoscaler() -> None:
    done = ran(event="autoscaling", servers=2)
    said = sentence(done)
    assert said.startswith("The rate falls from 7,900/s to a quarter at half-time; the autoscaler ")
    changes = done.result.wanted[1:]
    listed = ", to ".join(f"{servers} ({why})" for _, servers, why in changes)
    assert f"goes from 2 servers to {listed};" in said
    assert {why for _, _, why in changes} >= {"rate", "low load"}
    calm = sentence(ran(event="autoscaling", servers=1, rate=100))
    assert "and the autoscaler leaves the fleet at 1 server; no request fails." in calm


def test_the_herd_is_worse_than_chance() -> None:
    herd = ran(event="nothing", servers=10, rate=10_000, report_interval_micros=10_000)
    said = policies_sentence(herd)
    assert re.match(r"Lowest p99: (round robin|random), ", said)
    assert "Highest: least outstanding, " in said
    one = ran(event="nothing", servers=1, rate=1000)
    assert policies_sentence(one).startswith("The policies do not differ: p99 is ")
