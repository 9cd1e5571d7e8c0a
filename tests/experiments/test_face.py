"""What the dashboard shows of an experiment that was kept."""

from __future__ import annotations

import base64
import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests.experiments.points import point
from workbench.core.status import Code, ServingError
from workbench.experiments.face import face
from workbench.experiments.store.store import keep_result
from workbench.experiments.sweep.sweep_result import SweepResult


@pytest.fixture(autouse=True)
def data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("JUPYTER_DATA_DIR", str(tmp_path))


def kept_sweep() -> int:
    result = SweepResult(
        model="digits",
        version=1,
        where="engine",
        arrivals="poisson",
        seed=0,
        started_at=0.0,
        seconds=4.0,
        predicted_seconds=4.0,
        interrupted=True,
        points=(point(load={"rate": 1000.0}), point(timeout=2000, load={"rate": 1000.0})),
    )
    number = keep_result("sweep", "digits", result, "2 points").number
    assert number is not None
    return number


def test_the_face_of_a_sweep() -> None:
    number = kept_sweep()
    found = face(number)

    assert (found["number"], found["kind"], found["model"]) == (number, "sweep", "digits")
    assert found["sentences"][0].startswith("batch_timeout_micros 0, max_batch_size 32: 1000")
    assert found["sentences"][1] == "Interrupted: the points measured before were kept."
    assert found["tables"] == [
        {
            "title": "",
            "columns": [
                "max_batch_size",
                "batch_timeout_micros",
                "num_batch_threads",
                "rate",
                "achieved_per_s",
                "p50_ms",
                "p99_ms",
                "batch_rows",
                "rejected",
                "failed",
                "verdict",
            ],
            "rows": [
                ["32", timeout, "2", "1000", "1000", "5", "10", "20", "0", "0", "stable"]
                for timeout in ("0", "2000")
            ],
        }
    ]
    assert base64.b64decode(found["picture"]).startswith(b"\x89PNG")


def test_the_program_answers_in_json() -> None:
    command = [sys.executable, "-m", "workbench.experiments.face"]
    done = subprocess.run([*command, str(kept_sweep())], capture_output=True, check=True)
    assert json.loads(done.stdout)["summary"] == "2 points"
    refused = subprocess.run([*command, "77"], capture_output=True)
    assert (refused.returncode, json.loads(refused.stdout)) == (
        1,
        {"code": "NOT_FOUND", "message": "There is no experiment 77: see wb.history()"},
    )
    with pytest.raises(ServingError) as missing:
        face(77)
    assert missing.value.code is Code.NOT_FOUND
