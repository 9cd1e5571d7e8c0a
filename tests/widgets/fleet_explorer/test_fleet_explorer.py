"""The fleet explorer's Python side; the browser's is in `tests/browser`."""

from __future__ import annotations

import threading
import time
from dataclasses import replace
from typing import Any

import pytest

import workbench as wb
from tests.widgets.pages import WAIT_SECONDS, Page
from workbench.core.status import ServingError
from workbench.experiments.simulator.calibration import Calibration
from workbench.experiments.simulator.service_time import ServiceTime
from workbench.widgets.fleet_explorer import fleet_explorer as module
from workbench.widgets.fleet_explorer.fleet_choice import EVENTS, FleetChoice
from workbench.widgets.fleet_explorer.fleet_scenario import FleetRun, ServerModel

QUIET = FleetChoice(1000, 2, max_batch_size=8)


def test_it_begins_with_a_lost_server_and_a_formula() -> None:
    explorer = wb.fleet_explorer()
    assert repr(explorer) == (
        "<FleetExplorer 7,900 requests/s, 4 servers, least outstanding, event: a server is lost "
        "and comes back>"
    )
    assert explorer.choice.event == "loss"
    lines = str(explorer).splitlines()
    assert lines[1] == "Run times: a formula, 4 ms for a batch and 0.2 ms for each row."
    assert lines[2] == explorer.sentence
    assert [line.split()[0] for line in lines[4:]] == [
        *("policy", "round_robin", "random", "two_choices", "least_outstanding")
    ]
    assert explorer.about["service"] == lines[1]
    assert explorer.about["events"] == [list(event) for event in EVENTS.items()]
    assert explorer.about["meanings"]["servers"] == "servers at the start"


def test_a_calibration_is_used() -> None:
    slow, fast = (
        wb.fleet_explorer(Calibration(ServiceTime.linear(micros), "digits", 1, 1, 1), choice=QUIET)
        for micros in (8000.0, 1000.0)
    )
    assert slow.frame["p50_ms"].min() > 8 > 4 > fast.frame["p50_ms"].max()
    assert slow.about["service"] == "Run times: calibration of digits, version 1."


def test_choose_moves_the_sliders_and_the_page_follows(monkeypatch: pytest.MonkeyPatch) -> None:
    explorer = wb.fleet_explorer(choice=QUIET)
    page = Page(explorer, monkeypatch)
    said = explorer.choose(servers=3, policy="random", event="smooth")
    assert said == explorer.sentence
    assert explorer.choice == replace(QUIET, servers=3, policy="random", event="smooth")
    (news,) = page.sent
    assert news["fleet"]["choice"] == explorer.choice.to_json()
    assert explorer.result is explorer.comparison.results["random"]
    assert len(explorer.plot().axes) == 3
    for wrong in ({"servers": 0}, {"colour": "red"}):
        with pytest.raises(ServingError):
            explorer.choose(**wrong)
    assert explorer.choice.servers == 3


def test_a_page_asks_and_is_answered(monkeypatch: pytest.MonkeyPatch) -> None:
    explorer = wb.fleet_explorer(choice=QUIET)
    page = Page(explorer, monkeypatch)
    page.say(op="hello")
    assert page.sent[0]["fleet"]["choice"] == QUIET.to_json()
    assert page.order("simulate", choice={**QUIET.to_json(), "servers": 5}) == (True, "")
    assert page.sent[1]["fleet"]["choice"]["servers"] == 5
    ok, text = page.order("simulate", choice={**QUIET.to_json(), "servers": 99})
    assert (ok, text) == (
        False,
        "Fleet explorer setting 'servers' must be a whole number, at least 1 and at most 32; was "
        "99",
    )
    assert explorer.choice.servers == 5
    # Requests of four rows do not fit into batches of two.
    wide = wb.fleet_explorer(rows=4, choice=replace(QUIET, max_batch_size=4))
    page = Page(wide, monkeypatch)
    refused = page.order("simulate", choice={**QUIET.to_json(), "max_batch_size": 2})
    assert refused == (False, "Task size 4 is larger than maximum input batch size 2")


def test_the_newest_position_wins(monkeypatch: pytest.MonkeyPatch) -> None:
    explorer = wb.fleet_explorer(choice=QUIET)
    page = Page(explorer, monkeypatch)
    simulated: list[int] = []
    begun, go = threading.Event(), threading.Event()
    real = module.run

    def slow(choice: FleetChoice, model: ServerModel, seed: int = 0) -> FleetRun:
        simulated.append(choice.servers)
        begun.set()
        assert go.wait(WAIT_SECONDS)
        return real(choice, model, seed)

    monkeypatch.setattr(module, "run", slow)
    page.say(op="simulate", id=0, choice=QUIET.to_json())
    assert begun.wait(WAIT_SECONDS)
    for servers in range(3, 13):
        page.say(op="simulate", id=servers, choice={**QUIET.to_json(), "servers": servers})
    go.set()
    page.wait(lambda message: message.get("id") == 12)
    assert simulated == [2, 12]
    assert explorer.choice.servers == 12
    # Each was answered, also those that were left out.
    done = {message["id"] for message in page.sent if message["kind"] == "done"}
    assert done == {0, *range(3, 13)}


def test_what_lasts_is_drawn_anew_when_the_sliders_rest(monkeypatch: pytest.MonkeyPatch) -> None:
    explorer = wb.fleet_explorer(choice=QUIET)
    published: list[tuple[dict[str, Any], bool]] = []

    def publish(data: dict[str, Any], metadata: Any = None, **more: Any) -> None:
        published.append((data, more.get("update", False)))

    monkeypatch.setattr("IPython.display.publish_display_data", publish)
    monkeypatch.setattr("workbench.widgets.base.durable.in_notebook", lambda: True)
    monkeypatch.setattr(module, "_REST_SECONDS", 0.1)
    explorer._ipython_display_()
    assert [update for _, update in published] == [False, False]
    kept = published[1][0]
    assert "<script" not in kept["text/html"]
    assert "2 servers" in kept["text/html"]
    assert "least_outstanding" in kept["text/html"]
    assert kept["image/png"].startswith("iVBOR")
    for servers in (3, 4, 5):
        explorer.choose(servers=servers)
    end = time.monotonic() + WAIT_SECONDS
    while "5 servers" not in published[-1][0]["text/html"]:
        assert time.monotonic() < end
        time.sleep(0.02)
    assert published[-1][1]
