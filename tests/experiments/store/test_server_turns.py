"""Turns on a server: refused, waited for, taken over, and shared within one experiment."""

from __future__ import annotations

import threading
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from tests.experiments.store.other_turn import Other
from workbench.core.status import Code, Reason, ServingError
from workbench.experiments.store import server_turns as turns
from workbench.experiments.store.server_turns import Turn


@pytest.fixture
def server(tmp_path: Path) -> Any:
    entry = SimpleNamespace(folder=str(tmp_path))
    return SimpleNamespace(
        name="digits", model="digits", control=SimpleNamespace(entry=lambda: entry)
    )


def test_a_second_experiment_is_told_whose_turn_it_is(
    server: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("JPY_SESSION_NAME", "work/Untitled.ipynb")
    other = Other(server)
    try:
        with pytest.raises(ServingError) as refused:
            Turn("tune", server)
    finally:
        other.end()
    assert refused.value == ServingError(
        Code.FAILED_PRECONDITION,
        "Untitled.ipynb holds server 'digits' for a sweep, for about 40 s more: wait for it, or "
        "take over (when_busy='wait' or 'take over')",
        Reason.HELD,
    )
    Turn("tune", server).end()


def test_waiting_reports_and_then_has_its_turn(server: Any) -> None:
    other, lines = Other(server), []

    def report(text: str) -> None:
        lines.append(text)
        threading.Thread(target=other.end).start()

    turn = Turn("tune", server, "wait", report)

    assert "for a sweep, for about 40 s more" in lines[0]
    turn.end()


def test_taking_over_asks_the_other_to_leave(server: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    other = Other(server)
    monkeypatch.setenv("JPY_SESSION_NAME", "mine.ipynb")
    turn = Turn("tune", server, "take over")
    turn.end()
    other.end()
    assert other.wanted_by == "mine.ipynb"


def test_every_wait_has_a_limit(server: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(turns, "WAIT_SECONDS", 0.05)
    other = Other(server)
    begun = time.monotonic()
    try:
        with pytest.raises(ServingError) as refused:
            Turn("tune", server, "wait")
    finally:
        other.end()
    assert refused.value.code is Code.DEADLINE_EXCEEDED
    assert time.monotonic() - begun >= 0.05


def test_an_experiment_within_another_shares_its_turn(server: Any) -> None:
    outer = Turn("tune", server)
    inner = Turn("calibration", server)
    inner.expect(1000)
    inner.end()
    with pytest.raises(ServingError), _elsewhere(server):
        pass
    outer.end()


def _elsewhere(server: Any) -> Any:
    """A turn of another thread, whose error is raised here."""
    found: list[ServingError] = []

    def run() -> None:
        try:
            Turn("sweep", server).end()
        except ServingError as error:
            found.append(error)

    thread = threading.Thread(target=run)
    thread.start()
    thread.join(10)
    if found:
        raise found[0]
    return threading.Lock()


def test_an_unknown_choice_is_refused(server: Any) -> None:
    with pytest.raises(ServingError) as refused:
        Turn("sweep", server, "fight")  # type: ignore[arg-type]
    assert str(refused.value) == (
        "when_busy must be one of 'refuse', 'wait', 'take over'; was 'fight'"
    )
