"""Running experiments: reported in the store, and cancelled from elsewhere."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

import workbench as wb
from workbench.core.status import Code, ServingError
from workbench.experiments.store.running import Cancelled, Running
from workbench.experiments.store.store import Store
from workbench.processes.lease import ask_to_leave, holder_of

# Begins an experiment, says its number and waits until it is killed.
_BEGIN = """
import sys
from workbench.experiments.store.store import Store
with Store() as store:
    print(store.begin("sweep", "digits", "desk"), flush=True)
    sys.stdin.read()
"""


@pytest.fixture(autouse=True)
def data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("JUPYTER_DATA_DIR", str(tmp_path))


@pytest.fixture
def desk(tmp_path: Path) -> Any:
    entry = SimpleNamespace(folder=str(tmp_path))
    return SimpleNamespace(
        name="desk", model="digits", control=SimpleNamespace(entry=lambda: entry)
    )


def test_an_experiment_is_told_from_its_start_to_its_end(
    desk: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("workbench.experiments.store.running._WRITE_SECONDS", 0.0)
    with Running("sweep", desk, True, False) as running, Store() as store:
        running.tell("point 1 of 4", 0.25, 7.4)
        (told,) = store.running()
        assert told["told_at"] >= told["started_at"]
        number = told["number"]
        assert {k: v for k, v in told.items() if not k.endswith("_at")} == {
            "number": number,
            "kind": "sweep",
            "model": "digits",
            "server": "desk",
            "text": "point 1 of 4, about 7 s left",
            "share": 0.25,
            "cancelled": False,
        }
        store.cancel(number)
        assert store.running()[0]["cancelled"]
        with pytest.raises(Cancelled, match="The experiment was cancelled"):
            running.tell("point 2 of 4", 0.5)
    with Store() as store:
        assert store.running() == []
        with pytest.raises(ServingError) as over:
            store.cancel(number)
    assert over.value == ServingError(
        Code.NOT_FOUND, f"No running experiment has the number {number}"
    )


def test_what_is_not_kept_is_not_told(desk: Any) -> None:
    with Running("tune", desk, False, False) as running, Store() as store:
        running.tell("measured 1 of 3", 0.3)
        assert store.running() == []


def test_an_experiment_that_is_taken_over_ends(
    desk: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("workbench.experiments.store.running._WRITE_SECONDS", 0.0)
    with Running("sweep", desk, False, False) as running:
        running.tell("point 1 of 4", 0.25)
        holder = holder_of(tmp_path / "experiment.lock")
        assert holder is not None
        ask_to_leave(tmp_path / "experiment.lock", holder, "Lab.ipynb")
        with pytest.raises(Cancelled, match=r"Lab\.ipynb takes the server over"):
            running.tell("point 2 of 4", 0.5)
    with Running("tune", desk, False, False):
        pass


def test_a_killed_experiment_is_not_under_way() -> None:
    process = subprocess.Popen(
        [sys.executable, "-c", _BEGIN], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    assert process.stdout is not None
    number = int(process.stdout.readline())
    with Store() as store:
        assert [each["number"] for each in store.running()] == [number]
        process.kill()
        process.communicate()
        assert store.running() == []
        # The row is gone, too, and not only left out.
        assert not store.is_cancelled(number)


def test_a_sweep_that_is_cancelled_keeps_what_it_has(served_digits: wb.Server) -> None:
    seen: list[dict[str, Any]] = []

    def on_point(_: object) -> None:
        with Store() as store:
            seen.extend(store.running())
            store.cancel(seen[-1]["number"])

    found = served_digits.sweep(
        rate=[50.0, 100.0, 200.0], seconds=1.0, progress=False, on_point=on_point
    )

    assert (found.interrupted, len(found.points)) == (True, 1)
    (told,) = seen
    assert (told["kind"], told["model"], told["server"]) == ("sweep", "digits", "digits")
    assert told["text"].startswith("point 1 of 3, ")
    with Store() as store:
        assert store.running() == []
        assert store.list()[0]["number"] == found.number
