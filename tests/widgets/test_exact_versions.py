"""What a live view is sent of versions beyond 2^53 - 1, and what it may ask for."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import anywidget
import pytest

import workbench as wb
from workbench.widgets.base.live import LiveWidget

LAST = 2**63 - 1
BEFORE = LAST - 1


def test_a_page_gets_versions_as_text_and_sends_them_back(
    models: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    base = tmp_path / "base"
    for version in (BEFORE, LAST):
        shutil.copytree(models / "half_plus_two", base / str(version))
    sent: list[Any] = []
    monkeypatch.setenv("JUPYTER_RUNTIME_DIR", str(tmp_path / "runtime"))
    monkeypatch.setattr(
        anywidget.AnyWidget, "send", lambda self, content, buffers=None: sent.append(content)
    )
    with wb.serve(base, "exact", version_policy="all", labels={"new": LAST}) as server:
        server.wait_for(BEFORE)
        server.wait_for(LAST)
        server.predict([1.0], version=LAST)
        for widget in (server.card(), server.timeline()):
            sent.clear()
            message, _ = widget.news({})
            widget.send(message)
            # A page rounds what it reads as a number.
            told = json.loads(json.dumps(sent[0]), parse_int=float)["pulse"]
            versions = [each["version"] for each in told["model"]["versions"]]
            assert versions == [str(LAST), str(BEFORE)]
            assert told["model"]["labels"] == {"new": str(LAST)}
            states = {e["version"] for e in told["events"] if e["kind"] == "state"}
            assert states == {str(LAST), str(BEFORE)}
            assert {m[2] for m in told["memory"] if m[1] == "worker"} == states
            assert {s[1] for s in told["seconds"]} >= {str(LAST)}
            assert [d[2] for d in told["dots"]] == [str(LAST)]
        card: LiveWidget = server.card()
        text = card._orders["labels"]({"value": {"old": str(BEFORE), "new": str(LAST)}})
        assert text == f"new is version {LAST}, old is version {BEFORE}."
        assert server.labels == {"old": BEFORE, "new": LAST}


def test_what_a_view_knows_from_the_beginning_is_exact() -> None:
    widget = LiveWidget("s", "m", {"versions": [BEFORE, LAST, 3]})
    assert widget.about == {"versions": [str(BEFORE), str(LAST), 3]}
