"""Predict, then reveal: what is said of a guess, and what is sent."""

from __future__ import annotations

import time
from typing import Any

import pytest

from workbench.widgets.guess import PredictThenReveal

TRUTH = [0.0, 10.0, 20.0]


def asked(monkeypatch: pytest.MonkeyPatch) -> tuple[PredictThenReveal, list[dict[str, Any]]]:
    def measure(report: Any) -> list[float]:
        report("half way")
        return TRUTH

    widget = PredictThenReveal(
        "How much?", [1, 2, 4], measure, x_label="ms", y_label="requests/s", y_range=(0, 30)
    )
    sent: list[dict[str, Any]] = []
    monkeypatch.setattr(widget, "send", sent.append)
    return widget, sent


@pytest.mark.parametrize(
    ("guess", "said"),
    [
        (
            [1, 10, 21],
            "You predicted it well: the mean error is 3% of the measured range. It is largest at "
            "1 ms, where your guess was too high (1 instead of 0).",
        ),
        (
            [0, 2, 6],
            "The shape is right, but not the size: the mean error is 37% of the measured range. It "
            "is largest at 4 ms, where your guess was too low (6 instead of 20).",
        ),
        (
            [20, 10, 0],
            "It behaves differently from your guess: the mean error is 67% of the measured range. "
            "It is largest at 1 ms, where your guess was too high (20 instead of 0).",
        ),
        (
            [9, 9, 9],
            "It behaves differently from your guess: the mean error is 35% of the measured range. "
            "It is largest at 4 ms, where your guess was too low (9 instead of 20).",
        ),
    ],
)
def test_the_verdict(monkeypatch: pytest.MonkeyPatch, guess: list[float], said: str) -> None:
    widget, _ = asked(monkeypatch)
    assert widget.reveal(guess, lambda text: None) == said
    assert widget.frame["measured"].tolist() == TRUTH
    assert repr(widget) == f"<PredictThenReveal 'How much?': {said}>"
    assert len(widget.plot().axes[0].lines) == 2


def test_the_button_measures_and_tells_how_it_goes(monkeypatch: pytest.MonkeyPatch) -> None:
    widget, sent = asked(monkeypatch)
    widget._on_message(widget, {"op": "reveal", "id": 7, "guess": [0, 10, 20]}, [])
    end = time.monotonic() + 30
    while not (sent and sent[-1]["kind"] == "done"):
        assert time.monotonic() < end
        time.sleep(0.01)

    assert [message["kind"] for message in sent] == ["progress", "truth", "done"]
    assert sent[0]["text"] == "half way"
    assert (sent[1]["values"], sent[1]["guess"]) == (TRUTH, [0, 10, 20])
    assert (sent[2]["id"], sent[2]["ok"]) == (7, True)
    # A page that is opened again is shown what was revealed.
    widget._on_message(widget, {"op": "hello"}, [])
    assert sent[3] == sent[1]


def test_half_a_guess_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    widget, _ = asked(monkeypatch)
    with pytest.raises(ValueError, match=r"^guess must have 3 values; has 2$"):
        widget.reveal([1, 2])
    assert repr(widget) == "<PredictThenReveal 'How much?': not revealed yet>"


def test_places_and_ranges_are_checked() -> None:
    labels = {"x_label": "ms", "y_label": "y"}
    with pytest.raises(
        ValueError, match=r"^xs must be two or more ascending numbers; were \[2, 1\]"
    ):
        PredictThenReveal("?", [2, 1], lambda report: [], y_range=(0, 1), **labels)
    with pytest.raises(ValueError, match=r"^y_range must be a lower and a higher number"):
        PredictThenReveal("?", [1, 2], lambda report: [], y_range=(1, 1), **labels)


def test_what_lasts_is_written_anew_when_it_is_revealed(monkeypatch: pytest.MonkeyPatch) -> None:
    widget, _ = asked(monkeypatch)
    published: list[tuple[dict[str, Any], bool]] = []

    def publish(data: dict[str, Any], metadata: Any = None, **more: Any) -> None:
        published.append((data, more.get("update", False)))

    monkeypatch.setattr("IPython.display.publish_display_data", publish)
    monkeypatch.setattr("workbench.widgets.base.durable.in_notebook", lambda: True)
    widget._ipython_display_()
    assert [update for _, update in published] == [False, False]
    widget.reveal([0, 10, 20], lambda text: None)
    data, update = published[-1]
    assert update
    assert data["text/plain"] == repr(widget)
    assert "You predicted it well" in data["text/html"]
    assert data["image/png"].startswith("iVBOR")
