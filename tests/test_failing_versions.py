"""Versions that are no good, published under each policy on a real server."""

from __future__ import annotations

import re
from pathlib import Path
from typing import NamedTuple

import pytest

import workbench as wb
from docs.failing_table import Outcome, Trial, run_all, run_trials, to_markdown
from workbench.core.status import ServingError
from workbench.core.versions.policies import TRANSITIONS

NOT_FOUND = r"404: Servable not found for request: Latest\(failing\)"


class Cell(NamedTuple):
    """What a cell of the table says: texts are regular expressions."""

    serves: str
    away: str
    failed: bool
    held: bool
    callers: str


UNHARMED = Cell("the old version", "never", False, False, "")
AWAY = Cell("nothing", "and not back", True, False, NOT_FOUND)
COMES_BACK = Cell("the old version", r"\d+ ms", True, False, "")
WAITED_FOR_IT = Cell("the old version", r"\d+ ms", False, True, "")
STILL_WAITING = Cell("nothing", "and not back", False, True, "nothing within 5 s|")
WRONG = r"400: Failed to process element: 0 of 'instances' list\. Error: INVALID_ARGUMENT"
TAKES_OVER = Cell("the new version", r"\d+ ms", True, False, WRONG)

PUBLISHED = {
    "bad graph": r"NOT_FOUND: Version \d+ of failing did not load: Op type not registered ",
    "corrupt weights": r"DATA_LOSS: Version \d+ of failing did not load: ",
    "too big": r"(RESOURCE_EXHAUSTED|UNAVAILABLE): Version \d+ of failing did not load: ",
    "too slow": r"DEADLINE_EXCEEDED: Version \d+ of failing is not available after 3 s: it is ",
    "half copied": r"DEADLINE_EXCEEDED: Version \d+ of failing is not available after 3 s: "
    "variables/variables.data-00000-of-00001 has 4 of 8 bytes",
    "wrong signature": "it is available",
}
# The old version has gone by the time the new one fails, and comes back then.
FAILS_LATE = {
    "smooth": UNHARMED,
    "unload_first": COMES_BACK,
    "unload_first+hold": WAITED_FOR_IT,
    "staged": COMES_BACK,
    "staged+hold": WAITED_FOR_IT,
}
# It is on its way for longer than is looked at.
NOT_YET = {
    "smooth": UNHARMED,
    "unload_first": AWAY,
    "unload_first+hold": STILL_WAITING,
    "staged": AWAY,
    "staged+hold": STILL_WAITING,
}
CELLS = {
    # What shows when the graph is read shows while the old version still serves.
    "bad graph": {**FAILS_LATE, "staged": UNHARMED, "staged+hold": UNHARMED},
    "corrupt weights": FAILS_LATE,
    "too big": FAILS_LATE,
    "too slow": NOT_YET,
    "half copied": dict.fromkeys(TRANSITIONS, UNHARMED),
    "wrong signature": {
        "smooth": TAKES_OVER._replace(away="never"),
        "unload_first": TAKES_OVER,
        "unload_first+hold": TAKES_OVER._replace(held=True),
        "staged": TAKES_OVER,
        "staged+hold": TAKES_OVER._replace(held=True),
    },
}


def check(outcome: Outcome, cell: Cell) -> None:
    """The outcome is what the cell says."""
    where = (outcome.trial, outcome.policy)
    assert (where, outcome.served_by) == (where, cell.serves)
    assert re.fullmatch(cell.away, outcome.away), (where, outcome.away)
    assert (where, outcome.failed > 0) == (where, cell.failed)
    # How many wait depends on how long the gap is: under staged it may be a moment only.
    assert (where, outcome.held > 0) == (where, cell.held), outcome.recording
    assert re.match(cell.callers, outcome.callers), (where, outcome.callers)
    assert re.match(PUBLISHED[outcome.trial], outcome.published), (where, outcome.published)


@pytest.fixture
def failing(models: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> wb.Server:
    for name in ("JUPYTER_RUNTIME_DIR", "JUPYTER_DATA_DIR"):
        monkeypatch.setenv(name, str(tmp_path / name))
    return wb.serve(models / "half_plus_two", name="failing")


def test_a_broken_graph(failing: wb.Server, models: Path) -> None:
    trials = [Trial("bad graph", models / "bad_graph")]
    policies = ("smooth", "unload_first+hold")
    with failing as server:
        found = run_trials(server, trials, [1.0], policies)
        assert (server.versions.available, server.transition) == ([1], "smooth")
        assert [p.name for p in server.base_path.iterdir() if p.name.isdigit()] == ["1"]
        server.publish(models / "half_plus_three")
        server.control.patch_model("failing", version_policy="all")
        server.wait_for(1)
        with pytest.raises(ServingError, match="Exactly one version of failing must serve"):
            run_trials(server, trials, [1.0])
    for policy, outcome in zip(policies, found, strict=True):
        check(outcome, CELLS["bad graph"][policy])
        assert outcome.row()["serves afterwards"] == "the old version"
    assert found[0].row()["callers get"] == "the answer"
    written = to_markdown(found)
    lines = written.splitlines()
    assert lines[0] == "## Bad graph"
    assert lines[2].startswith(
        "The publisher gets `NOT_FOUND: Version N of failing did not load: Op type not"
    )
    assert lines[4] == "| policy | serves afterwards | away | failed | held | callers get |"
    assert str(models) not in written


# Thirty versions under live traffic: some minutes.
@pytest.mark.soak
@pytest.mark.timeout(1500)
def test_every_cell_of_the_table(
    models: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("JUPYTER_RUNTIME_DIR", "JUPYTER_DATA_DIR"):
        monkeypatch.setenv(name, str(tmp_path / name))
    outcomes = run_all(models)
    assert {(o.trial, o.policy) for o in outcomes} == {
        (trial, policy) for trial in CELLS for policy in TRANSITIONS
    }
    for outcome in outcomes:
        check(outcome, CELLS[outcome.trial][outcome.policy])
