"""The live card of a fleet: a recorded fleet, and the browser's end of the widget."""

from __future__ import annotations

import pytest

from tests.deploy.fleet.recorded_fleet import recorded_fleet, recorded_time
from tests.widgets.pages import Page
from workbench.deploy.display.fleet_card import FleetCard
from workbench.facade.notebook_fleet import Fleet
from workbench.widgets.fleet_card_widget import FleetCardWidget, show_fleet


def test_the_page_gets_the_card_and_what_changes(monkeypatch: pytest.MonkeyPatch) -> None:
    with recorded_fleet("rolled") as recording, recorded_time(recording.wall):
        fleet = Fleet(recording.record)
        widget = FleetCardWidget(fleet.card)
        renewed: list[str] = []
        monkeypatch.setattr(widget, "_renew", lambda: renewed.append(str(widget)))
        page = Page(widget, monkeypatch)
        page.say(op="hello", view="v")
        first = page.wait(lambda m: m["kind"] == "fleet")
        assert "2 of 2 servers serve, revision 2" in first["html"]
        # The page says itself how old it is.
        assert "as of" not in first["html"]
        assert first["wall"] == recording.wall
        assert fleet.token not in first["html"]
        recording.fail("head")
        page.say(op="hello", view="v")
        page.wait(lambda m: m["kind"] == "fleet" and "The head at" in m["html"])
        page.say(op="seen", view="v", value=False)
        # The numbers change all the time; the saved notebook is written only for what counts.
        assert len(renewed) == 1
        assert "The head at" in renewed[0]
        assert "as of" in widget.lasting().html
        assert widget.lasting().text == str(widget)


def test_a_terminal_shows_the_text(capsys: pytest.CaptureFixture[str]) -> None:
    def ask() -> FleetCard:
        raise AssertionError("a terminal needs no widget")

    with pytest.raises(NotImplementedError):
        show_fleet(ask)
    with recorded_fleet("rolled") as recording, recorded_time(recording.wall):
        from IPython.lib.pretty import pretty

        text = pretty(Fleet(recording.record))
    assert text.startswith("Fleet shop, as of ")
    assert "shop-n7b8c4m9" in text
