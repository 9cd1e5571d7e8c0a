"""News to those who look, orders one after the other, and the truth about the end."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import pytest

import workbench as wb
from tests.widgets.pages import Page


@pytest.fixture
def page(live: wb.Server, monkeypatch: pytest.MonkeyPatch) -> Iterator[Page]:
    page = Page(live.card(), monkeypatch)
    yield page
    page.say(op="seen", value=False)


def test_a_new_view_gets_what_was_and_then_each_happening_once(live: wb.Server, page: Page) -> None:
    page.say(op="hello")
    first = page.wait(lambda m: m["kind"] == "pulse")["pulse"]
    live.predict([1.0])
    page.wait(lambda m: m["kind"] == "pulse" and any(s[2] for s in m["pulse"]["seconds"]))

    states = [(e["version"], e["data"]["state"]) for e in first["events"] if e["kind"] == "state"]
    assert states[-1] == (1, "AVAILABLE")
    assert first["model"]["name"] == "half"
    assert any(role == "worker" and version == 1 for _, role, version, *_ in first["memory"])
    pulses = [m["pulse"] for m in page.sent if m["kind"] == "pulse"]
    seqs = [e["seq"] for p in pulses for e in p["events"]]
    assert len(seqs) == len(set(seqs))
    dots = [tuple(d) for p in pulses for d in p["dots"]]
    assert len(dots) == len(set(dots)) >= 1
    assert dots[-1][2:] == (1, 0, 1)


def test_nobody_looks_and_nothing_is_asked(page: Page) -> None:
    page.say(op="hello")
    page.wait(lambda m: m["kind"] == "pulse")
    page.say(op="seen", value=False)
    time.sleep(0.3)
    before = len(page.sent)
    time.sleep(1.2)
    assert len(page.sent) == before
    page.say(op="seen", value=True)
    page.wait(lambda m: m in page.sent[before:] and m["kind"] == "pulse")


def test_orders_act_and_say_how_it_went(live: wb.Server, page: Page, models: Path) -> None:
    assert page.order("transition", value="unload_first") == (
        True,
        "The next change of version will be unload_first.",
    )
    assert live.transition == "unload_first"
    value = {"max_batch_size": 16, "batch_timeout_micros": 2500}
    assert page.order("batching", value=value) == (
        True,
        "Batches of up to 16 rows wait 2.5 ms at most.",
    )
    assert live.batching is not None
    assert (live.batching.max_batch_size, live.batching.batch_timeout_micros) == (16, 2500)
    assert page.order("batching", value=None) == (True, "Batching is automatic.")
    assert live.batching is None
    path = str(models / "half_plus_three")
    assert page.order("publish", path=path) == (True, "Version 2 serves.")
    assert page.order("rollback") == (
        True,
        "Version 1 serves again; Undo roll back brings the other back.",
    )
    assert page.order("undo") == (True, "Version 2 is back.")
    assert live.predict([1.0]).tolist() == [3.5]
    page.order("rollback")
    page.order("transition", value="smooth")


def test_an_order_that_fails_says_why(page: Page, tmp_path: Path) -> None:
    assert page.order("publish", path=" ") == (
        False,
        "Name the folder of a SavedModel to publish.",
    )
    ok, text = page.order("publish", path=str(tmp_path))
    assert not ok
    assert str(tmp_path) in text
    ok, text = page.order("transition", value="sideways")
    assert (ok, text.partition(":")[0]) == (False, "Unknown transition 'sideways'")


def test_the_end_of_the_server_is_told(
    models: Path, live: wb.Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    with wb.serve(models / "half_plus_two", "short") as server:
        page = Page(server.timeline(), monkeypatch)
        page.say(op="hello")
        page.wait(lambda m: m["kind"] == "pulse")
        server.stop()
        # A question that was under way when it stopped may go unanswered; the next one knows.
        page.wait(lambda m: m == {"kind": "ended", "text": "server stopped"})
        assert {m["text"] for m in page.sent if m["kind"] == "ended"} <= {
            "the server does not answer",
            "server stopped",
        }
        page.say(op="seen", value=False)


def test_what_is_displayed_holds_no_token(live: wb.Server) -> None:
    assert live.token is not None
    assert live.token not in str(live.card().about)


def test_each_view_speaks_for_itself(page: Page) -> None:
    page.say(op="hello", view="a")
    page.say(op="hello", view="b")
    page.say(op="seen", view="a", value=False)
    assert page.widget.wanted
    page.say(op="seen", view="b", value=False)
    assert not page.widget.wanted


def test_a_view_that_comes_while_news_are_fetched_is_told_everything(page: Page) -> None:
    """In a subshell its message is taken in the middle of a question to the server."""
    page.say(op="hello", view="a")
    page.wait(lambda m: m["kind"] == "pulse")
    page.say(op="seen", view="a", value=False)
    ask = page.widget.news

    def meanwhile(marks: dict) -> tuple[dict, dict]:
        found = ask(marks)
        if marks:
            page.widget._on_message(page.widget, {"op": "hello", "view": "b"}, [])
        return found

    page.widget.news = meanwhile
    page.sent.clear()
    page.widget.pulse()
    page.widget.news = ask
    fresh = page.wait(lambda m: m["kind"] == "pulse" and m["fresh"])
    assert any(e["kind"] == "state" for e in fresh["pulse"]["events"])
    page.say(op="seen", view="b", value=False)
