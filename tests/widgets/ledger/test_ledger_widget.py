"""The ledger's widget on a real server: news, the question whether one more fits, what lasts."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import workbench as wb
from tests.widgets.pages import Page
from workbench.core.status import Code, ServingError


@pytest.fixture
def page(live: wb.Server, monkeypatch: pytest.MonkeyPatch) -> Iterator[Page]:
    page = Page(live.ledger(), monkeypatch)
    yield page
    page.say(op="seen", value=False)


def test_news_add_up_and_say_how_each_part_is_known(page: Page) -> None:
    page.say(op="hello")
    news = page.wait(lambda m: m["kind"] == "ledger")
    (host,) = [d for d in news["devices"] if d["device"] == "host"]
    assert sum(part["bytes"] for part in host["parts"]) == host["total"]
    assert {part["how"] for part in host["parts"]} == {"measured", "estimated"}
    labels = [part["label"] for part in host["parts"]]
    assert "version 1: runtime" in labels
    assert labels[-2:] == ["not of this server", "free"]
    assert host["limit"] > host["reserved"] > 0


def test_what_fits_is_told_for_each_transition_and_nothing_is_loaded(
    live: wb.Server, page: Page, models: Path
) -> None:
    before = live.versions.available
    page.say(op="hello")
    page.wait(lambda m: m["kind"] == "ledger")
    ok, text = page.order("fit", path=str(models / "half_plus_three"))
    assert (ok, text) == (True, f"It fits under {live.transition}.")
    (told,) = [m["fit"] for m in page.sent if m["kind"] == "fit"]
    assert [(t["name"], t["fits"], t["cure"]) for t in told["transitions"]] == [
        ("smooth", True, ""),
        ("staged", True, ""),
        ("unload_first", True, ""),
    ]
    assert told["peak"]["host"] > 0
    # A view that is opened later is told too.
    page.sent.clear()
    page.say(op="hello", view="second")
    assert page.wait(lambda m: m["kind"] == "ledger" and "fit" in m)["fit"] == told
    page.say(op="seen", view="second", value=False)
    assert live.versions.available == before


def test_what_does_not_fit_is_told_with_its_cure(live: wb.Server, page: Page, models: Path) -> None:
    reserved = live.budget["host"]["reserved"]
    live.budget = reserved + 2**20
    try:
        ok, text = page.order("fit", path=str(models / "half_plus_three"))
    finally:
        live.budget = None
    assert (ok, text) == (True, f"It does not fit under {live.transition}.")
    (told,) = [m["fit"] for m in page.sent if m["kind"] == "fit"]
    smooth = told["transitions"][0]
    assert not smooth["fits"]
    assert smooth["cure"].startswith("it fits ")


def test_a_folder_without_a_model_is_refused(page: Page, tmp_path: Path) -> None:
    assert page.order("fit", path=" ") == (False, "Name the folder of a SavedModel.")
    ok, text = page.order("fit", path=str(tmp_path))
    assert not ok
    assert text.startswith(f"There is no SavedModel in {tmp_path}: it has no saved_model.pb; give")


def test_what_lasts(live: wb.Server, models: Path, capsys: pytest.CaptureFixture[str]) -> None:
    widget = live.ledger()
    widget.will_it_fit(str(models / "half_plus_three"))
    kept = widget.lasting()
    assert kept.png is not None
    assert kept.html.count("<img") == 1
    assert "data:image/png;base64," in kept.html
    assert "<td>version 1: weights</td>" in kept.html
    assert "as the next version of half" in kept.html
    assert kept.text.splitlines()[0].startswith("Memory of half, as of ")
    # Outside a notebook it is its text.
    widget._ipython_display_()
    assert capsys.readouterr().out == kept.text + "\n"


def test_what_lasts_is_written_anew_when_versions_change(
    live: wb.Server, models: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    published: list[tuple[dict[str, Any], bool]] = []

    def publish(data: dict[str, Any], metadata: Any = None, **more: Any) -> None:
        published.append((data, more.get("update", False)))

    monkeypatch.setattr("IPython.display.publish_display_data", publish)
    monkeypatch.setattr("workbench.widgets.base.durable.in_notebook", lambda: True)
    widget = live.ledger()
    widget._ipython_display_()
    assert ["application/vnd.jupyter.widget-view+json" in data for data, _ in published] == [
        True,
        False,
    ]
    widget.news({})
    widget.news({})
    assert [update for _, update in published] == [False, False, True]
    page = Page(widget, monkeypatch)
    page.order("fit", path=str(models / "half_plus_three"))
    assert [update for _, update in published] == [False, False, True, True]
    assert "as the next version of half" in published[-1][0]["text/html"]


def test_the_end_of_the_server_is_told(
    live: wb.Server, models: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with wb.serve(models / "half_plus_two", "brief") as server:
        page = Page(server.ledger(), monkeypatch)
        page.say(op="hello")
        page.wait(lambda m: m["kind"] == "ledger")
        server.stop()
        page.wait(lambda m: m == {"kind": "ended", "text": "server stopped"})
        page.say(op="seen", value=False)
        with pytest.raises(ServingError) as caught:
            server.ledger()
    assert caught.value.code is Code.NOT_FOUND
