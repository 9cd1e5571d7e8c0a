"""What is left of a timeline: the last change of version as a figure, a table and text."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

import workbench as wb
from tests.widgets.pages import Page
from workbench.widgets.timeline.timeline_figure import (
    Span,
    frame_of,
    plot_timeline,
    spans_of,
    text_of,
    window,
)

MB = 2**20


def event(at: float, version: int, state: str, line: str | None = None) -> dict[str, Any]:
    data = {"state": state}
    return {
        "kind": "state",
        "monotonic": at,
        "version": version,
        "data": data,
        "line": line,
    }


NEWS: dict[str, Any] = {
    "now": 100.0,
    "wall": 1.7e9,
    "events": [
        event(1, 1, "AVAILABLE"),
        event(90, 2, "LOADING"),
        {"kind": "decision", "monotonic": 90, "version": 2, "data": {}, "line": "Loading 2"},
        event(92, 2, "AVAILABLE", "Loaded 2"),
        event(93, 1, "UNLOADING"),
        event(94, 1, "END"),
    ],
    "memory": [
        [80.0, "worker", 1, 0, 50 * MB, True],
        [91.0, "worker", 2, 0, 70 * MB, False],
        [91.0, "server", None, 0, 99 * MB, True],
    ],
    "seconds": [[50, 1, 7, 0, 1, 2], [91, 1, 5, 1, 900, 2000], [93, 2, 6, 0, 900, 3000]],
    "dots": [[91.5, 1500, 1, 0, 1], [91.6, 0, 1, 14, 1], [93.5, 2500, 2, 0, 1]],
}


def test_states_in_time() -> None:
    assert spans_of(NEWS) == [
        Span(1, "AVAILABLE", 1, 93),
        Span(1, "UNLOADING", 93, 94),
        Span(2, "LOADING", 90, 92),
        Span(2, "AVAILABLE", 92, 100),
    ]


def test_it_begins_shortly_before_the_last_change() -> None:
    assert window(NEWS) == (88, 100)
    assert window({**NEWS, "events": []}) == (95, 100)
    assert window({**NEWS, "events": [event(1, 1, "AVAILABLE")], "now": 500}) == (495, 500)


def test_a_row_a_version() -> None:
    frame = frame_of(NEWS).set_index("version")
    assert frame["state"].to_dict() == {1: "gone", 2: "available"}
    assert frame["answered"].to_dict() == {1: 5, 2: 6}
    assert frame["failed"].to_dict() == {1: 1, 2: 0}
    assert frame["memory, most (MB)"].to_dict() == {1: 50, 2: 70}
    assert frame["p99 up to, most (ms)"].to_dict() == {1: 2, 2: 3}
    assert text_of(NEWS, "Timeline").splitlines()[-2:] == ["Loading 2", "Loaded 2"]


def test_the_figure() -> None:
    figure = plot_timeline(NEWS, "Timeline of m")
    lanes, _, requests, latency = figure.axes
    assert [t.get_text() for t in lanes.get_yticklabels()] == ["v1", "v2"]
    assert len(lanes.patches) == 4
    assert sorted(bar.get_height() for bar in requests.patches) == [1, 5, 6]
    assert len(latency.collections[0].get_offsets()) == 2
    assert latency.get_xlim() == (-12, 0)
    assert figure._repr_png_()[:8] == b"\x89PNG\r\n\x1a\n"


def test_nothing_has_happened_yet() -> None:
    empty = {**NEWS, "events": [], "memory": [], "seconds": [], "dots": []}
    assert frame_of(empty).empty
    assert plot_timeline(empty, "Timeline")._repr_png_()[:8] == b"\x89PNG\r\n\x1a\n"


def test_after_a_change_what_lasts_is_brought_up_to_date(
    live: wb.Server, models: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    published: list[tuple[dict[str, Any], bool]] = []

    def publish(data: dict[str, Any], metadata: Any = None, **more: Any) -> None:
        published.append((data, more.get("update", False)))

    monkeypatch.setattr("IPython.display.publish_display_data", publish)
    monkeypatch.setattr("workbench.widgets.base.durable.in_notebook", lambda: True)
    monkeypatch.setattr("workbench.widgets.timeline.timeline._SETTLED_SECONDS", 0.2)
    widget = live.timeline()
    widget._ipython_display_()
    assert [update for _, update in published] == [False, False]
    page = Page(widget, monkeypatch)
    page.say(op="hello")
    # The server is that of tests before, which may have published, too.
    row = f"<td>{live.publish(models / 'half_plus_three')}</td>"
    page.wait(lambda _: any(update and row in data["text/html"] for data, update in published))
    page.say(op="seen", value=False)
    live.rollback()
