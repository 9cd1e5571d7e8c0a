"""No graph is believed to keep rows apart that does not, however the rows come together."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

_SECONDS = 100


@pytest.fixture(scope="module")
def facts(tmp_path_factory: pytest.TempPathFactory) -> dict[str, dict[str, bool]]:
    """Whether rows are proven to stay apart, of each model by its name."""
    folder = tmp_path_factory.mktemp("loopholes")
    done = subprocess.run(
        [sys.executable, "-m", "tests.worker.row_loopholes", str(folder)],
        env={**os.environ, "TF_CPP_MIN_LOG_LEVEL": "2", "CUDA_VISIBLE_DEVICES": ""},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        timeout=_SECONDS,
        text=True,
    )
    assert done.returncode == 0, done.stdout
    found: dict[str, dict[str, bool]] = json.loads(Path(folder, "facts.json").read_text())
    return found


def test_what_mixes_is_never_proven(facts: dict[str, dict[str, bool]]) -> None:
    assert [name for name, apart in facts["mixing"].items() if apart] == []
    assert len(facts["mixing"]) >= 20


def test_what_keeps_rows_apart_is_proven(facts: dict[str, dict[str, bool]]) -> None:
    assert [name for name, apart in facts["apart"].items() if not apart] == []
