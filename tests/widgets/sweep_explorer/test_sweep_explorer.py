"""The sweep explorer's Python side with a real server; the browser's is in `tests/browser`."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import pytest

import workbench as wb
from tests.experiments.points import point
from tests.experiments.store.other_turn import Other
from tests.widgets.pages import Page
from workbench.core.batching.parameters import BatchingParameters
from workbench.core.status import ServingError
from workbench.experiments.load.borrowed_settings import kept_settings, slots_of
from workbench.experiments.simulator.calibrate import calibrate
from workbench.experiments.simulator.calibration import Calibration
from workbench.experiments.simulator.service_time import ServiceTime
from workbench.experiments.store.running import Running
from workbench.experiments.sweep.explore import Setting
from workbench.widgets.sweep_explorer import sweep_explorer as module
from workbench.widgets.sweep_explorer.sweep_explorer import Cancelled, SweepExplorer

CALIBRATION = Calibration(ServiceTime.linear(500.0, 5.0), "half", 1, 2, 1)
SETTING = Setting(1000, 8, 2, 200.0)


class ExplorerPage(Page):
    """A browser's end of an explorer, which does not wait for each answer."""

    def __init__(self, explorer: SweepExplorer, monkeypatch: pytest.MonkeyPatch) -> None:
        super().__init__(explorer._widget, monkeypatch)

    def done(self, number: int) -> tuple[bool, str]:
        found = self.wait(lambda m: m["kind"] == "done" and m["id"] == number)
        return found["ok"], found["text"]

    def kinds(self, kind: str) -> list[dict[str, Any]]:
        return [message for message in self.sent if message["kind"] == kind]


@pytest.fixture
def explorer(
    live: wb.Server, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> Iterator[SweepExplorer]:
    monkeypatch.setenv("JUPYTER_DATA_DIR", str(tmp_path))
    live.batching = BatchingParameters(max_batch_size=4, batch_timeout_micros=300)
    yield live.sweep_explorer(seconds=0.5, rate=200.0)
    live.batching = None


def test_it_begins_where_the_server_is(explorer: SweepExplorer, live: wb.Server) -> None:
    assert explorer.setting == Setting(300, 4, slots_of(live), 200.0)
    assert repr(explorer) == "<SweepExplorer half: not calibrated, 0 points measured>"
    assert str(explorer).splitlines()[1:] == [
        "Not calibrated: the simulator knows no run times yet.",
        "Nothing is measured yet.",
    ]
    assert explorer.plot() is None
    assert explorer.result is None
    with pytest.raises(ServingError, match="Calibrate first"):
        explorer.curve(SETTING, "rate")
    # Outside a notebook there is no widget, and the text stands for it.
    with pytest.raises(NotImplementedError):
        explorer._ipython_display_()


def test_calibrate_drag_measure_and_export(
    explorer: SweepExplorer, live: wb.Server, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(module, "run_calibration", partial(calibrate, seconds=0.5))
    page = ExplorerPage(explorer, monkeypatch)
    page.say(op="hello")
    page.say(op="seen", value=False)
    assert page.sent[0]["calibration"] is None

    page.say(op="calibrate", id=1)
    ok, text = page.done(1)
    assert ok, text
    assert text.startswith("Calibrated with version 1: one row runs ")
    assert [m["busy"] for m in page.kinds("state")] == ["", "calibrating", ""]
    assert any("4 rows, 1 in flight" in m["text"] for m in page.kinds("progress"))

    page.say(op="curve", id=2, setting=SETTING.to_json(), axis="batch_timeout_micros")
    assert page.done(2) == (True, "")
    (curve,) = page.kinds("curve")
    assert (curve["setting"], curve["axis"]) == (SETTING.to_json(), "batch_timeout_micros")
    delays = [point["setting"]["batch_timeout_micros"] for point in curve["points"]]
    assert delays == sorted(delays)
    assert 1000 in delays
    assert curve["points"][-1]["p50"][1] > curve["points"][0]["p50"][1]
    assert (explorer.setting, explorer.axis) == (SETTING, "batch_timeout_micros")

    page.say(op="measure", id=3, setting=SETTING.to_json())
    ok, text = page.done(3)
    assert ok, text
    assert text.endswith("The server has its parameters back.")
    assert live.batching == BatchingParameters(max_batch_size=4, batch_timeout_micros=300)
    shares = [m["share"] for m in page.kinds("progress") if m["share"] is not None]
    assert (shares[0], shares[-1]) == (0.0, 1.0)
    state = page.kinds("state")[-1]
    assert [p["setting"] for p in state["points"]] == [SETTING.to_json()]
    (point,) = explorer.points
    assert point.batching == SETTING.parameters(explorer._base)
    assert explorer.result is not None
    assert explorer.result.points == (point,)
    assert explorer.frame["rate"].tolist() == [200.0]
    assert "half" in str(explorer)
    assert wb.history("half")["kind"].tolist() == ["sweep", "calibration"]

    # What outlives the kernel.
    lasting = explorer.lasting()
    assert lasting.png is not None
    assert "<img" in lasting.html
    assert "Sweep of half" in lasting.html
    assert len(explorer.plot().axes) == 2  # type: ignore[union-attr]

    page.say(op="export", id=4, setting=SETTING.to_json())
    assert page.done(4) == (
        True,
        "max_batch_size {\n  value: 8\n}\nbatch_timeout_micros {\n  value: 1000\n}\n"
        "max_enqueued_batches {\n  value: 10\n}\nnum_batch_threads {\n  value: 2\n}\n",
    )
    assert explorer.export(tmp_path / "batching.txt").read_text() == page.done(4)[1]
    page.say(op="apply", id=5, setting=SETTING.to_json())
    assert page.done(5) == (True, "In force: delay 1 ms, batches of up to 8, 2 threads.")
    assert live.batching == SETTING.parameters(BatchingParameters())


def test_what_lacked_an_answer_is_measured_for_longer(explorer: SweepExplorer) -> None:
    once = point(timeout=1000, size=8, slots=2, load={"rate": 200.0}, seconds=2.0)
    for lacks, seconds in ((None, 2.0), (5.0, 8.5), (100.0, 12.4), (math.inf, 12.4)):
        explorer.points = [replace(once, lacks=lacks)]
        assert explorer._seconds_for(SETTING) == pytest.approx(seconds)
        assert explorer._seconds_for(replace(SETTING, rate=201.0)) == 0.5


def test_cancel_ends_a_measurement_and_the_server_is_as_before(
    live: wb.Server, explorer: SweepExplorer, monkeypatch: pytest.MonkeyPatch
) -> None:
    # So certain no point ever is, so that it goes on until it is cancelled.
    long = live.sweep_explorer(CALIBRATION, rate=50.0, seconds=600.0)
    monkeypatch.setattr(module, "sweep", partial(module.sweep, precision=1e-9))
    page = ExplorerPage(long, monkeypatch)
    page.say(op="measure", id=1, setting=SETTING.to_json())
    page.wait(lambda m: m["kind"] == "progress" and (m["share"] or 0) > 0)
    # The page stays alive meanwhile, and another experiment on the server is refused.
    page.say(op="curve", id=2, setting=SETTING.to_json(), axis="rate")
    assert page.done(2) == (True, "")
    with pytest.raises(
        ServingError, match=r"holds server 'half' for a sweep, for about \d+ s more"
    ):
        explorer.measure()
    with pytest.raises(ServingError, match="The explorer is already measuring"):
        long.calibrate()
    page.say(op="cancel", id=3)
    assert page.done(3) == (True, "cancelling …")
    assert page.done(1) == (False, "Cancelled: the server has its parameters back.")
    assert long.points == []
    assert live.batching == BatchingParameters(max_batch_size=4, batch_timeout_micros=300)


def test_cancel_ends_a_calibration(
    live: wb.Server, explorer: SweepExplorer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "run_calibration", partial(calibrate, seconds=0.5))
    with pytest.raises(Cancelled):
        explorer.calibrate(lambda text, share: explorer.cancel())
    assert explorer.calibration is None
    assert live.batching == BatchingParameters(max_batch_size=4, batch_timeout_micros=300)


@pytest.fixture
def other(live: wb.Server) -> Iterator[Other]:
    holder = Other(live)
    yield holder
    holder.end()


def test_a_page_waits_for_another_experiment_or_gives_up(
    live: wb.Server, other: Other, explorer: SweepExplorer, monkeypatch: pytest.MonkeyPatch
) -> None:
    page = ExplorerPage(explorer, monkeypatch)
    asked = {"op": "measure", "setting": SETTING.to_json()}
    page.say(**asked, id=1)
    refused = page.wait(lambda m: m["kind"] == "done" and m["id"] == 1)
    assert (refused["ok"], refused["reason"]) == (False, "held")
    assert re.search(
        r"holds server 'half' for a sweep, for about \d+ s more: wait", refused["text"]
    )

    page.say(**asked, id=2, when_busy="wait")
    page.wait(lambda m: m["kind"] == "progress" and "s more" in m["text"])
    assert page.kinds("state")[-1]["busy"] == "measuring"
    page.say(op="cancel", id=3)
    assert page.done(2) == (False, "Cancelled: nothing was measured.")
    assert page.kinds("state")[-1]["busy"] == ""

    page.say(**asked, id=4, when_busy="wait")
    other.end()
    ok, text = page.done(4)
    assert ok, text
    assert len(explorer.points) == 1


def test_a_page_takes_the_server_over(
    live: wb.Server, other: Other, explorer: SweepExplorer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "run_calibration", partial(calibrate, seconds=0.5))
    page = ExplorerPage(explorer, monkeypatch)
    page.say(op="calibrate", id=1, when_busy="take over")
    ok, text = page.done(1)
    assert ok, text
    assert other.wanted_by is not None


def test_a_page_hears_that_another_experiment_takes_over(
    live: wb.Server, explorer: SweepExplorer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "run_calibration", partial(calibrate, seconds=60))
    page = ExplorerPage(explorer, monkeypatch)
    page.say(op="calibrate", id=1)
    page.wait(lambda m: m["kind"] == "progress")
    with Running("tune", live, False, False, "take over"):
        ok, text = page.done(1)
    assert not ok
    assert text.endswith(" takes the server over: the server has its parameters back.")
    assert page.kinds("state")[-1]["busy"] == ""


def test_a_flood_of_curves_leaves_the_last_one(
    live: wb.Server, explorer: SweepExplorer, monkeypatch: pytest.MonkeyPatch
) -> None:
    flooded = live.sweep_explorer(CALIBRATION, rate=200.0)
    page = ExplorerPage(flooded, monkeypatch)
    for number in range(200):
        setting = Setting(number * 100, 8, 2, 200.0)
        page.say(op="curve", id=number, setting=setting.to_json(), axis="batch_timeout_micros")
    assert page.done(199) == (True, "")
    # Each was answered, and the last curve is that of the last value.
    assert len(page.kinds("done")) == 200
    curves = page.kinds("curve")
    assert curves[-1]["setting"]["batch_timeout_micros"] == 19_900
    assert len(curves) < 200
    assert flooded.setting.batch_timeout_micros == 19_900


def test_what_cannot_be_simulated_says_why(
    live: wb.Server, explorer: SweepExplorer, monkeypatch: pytest.MonkeyPatch
) -> None:
    page = ExplorerPage(live.sweep_explorer(CALIBRATION), monkeypatch)
    page.say(op="curve", id=1, setting={**SETTING.to_json(), "rate": -1}, axis="rate")
    assert page.done(1) == (False, "rate must be a number of at least 1; was -1")
    with pytest.raises(ServingError, match="requests of 1 rows, not 2: calibrate with rows=2"):
        live.sweep_explorer(CALIBRATION, rows=2)


def test_a_server_that_has_ended(models: Path, live: wb.Server, monkeypatch: Any) -> None:
    with wb.serve(models / "half_plus_two", "brief") as server:
        explorer = server.sweep_explorer(CALIBRATION)
        page = ExplorerPage(explorer, monkeypatch)
    page.say(op="measure", id=1, setting=SETTING.to_json())
    ok, text = page.done(1)
    assert not ok
    assert "brief" in text
    # The curve needs no server.
    page.say(op="curve", id=2, setting=SETTING.to_json(), axis="rate")
    assert page.done(2) == (True, "")


def test_one_thread_may_nest_experiments(live: wb.Server) -> None:
    with kept_settings(live) as outer, kept_settings(live) as inner:
        assert outer.before == inner.before
