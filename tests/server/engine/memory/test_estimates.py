"""Estimates: from the files alone, then from what the model's last load really took."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.models import BIG_WEIGHTS_BYTES
from workbench.server.engine.memory.estimates import (
    Files,
    Measured,
    VersionMemory,
    basis,
    estimate,
    read_files,
)

MB = 2**20
SMALL = Files(8, 2000)
LARGE = Files(400 * MB, 50_000)


def test_files_say_how_large_weights_and_graph_are(models: Path, tmp_path: Path) -> None:
    graph = (models / "big" / "saved_model.pb").stat().st_size
    assert read_files(str(models / "big")) == Files(BIG_WEIGHTS_BYTES, graph)
    assert read_files(str(tmp_path)) == Files(0, 0)
    # An index that is not one: the weights are not known.
    (tmp_path / "variables").mkdir()
    (tmp_path / "variables" / "variables.index").write_bytes(b"no table")
    (tmp_path / "saved_model.pbtxt").write_bytes(b"12345")
    assert read_files(str(tmp_path)) == Files(0, 5)


@pytest.mark.parametrize(
    ("weights", "peak", "steady"), [(400, 47, 22), (20 * MB, 65, 43), (400 * MB, 460, 437)]
)
def test_the_first_estimate_is_near_what_was_measured(weights: int, peak: int, steady: int) -> None:
    need = estimate(Files(weights, 20_000), None)
    assert need.peak["host"] == pytest.approx(peak * MB, rel=0.2)
    assert need.steady["host"] == pytest.approx(steady * MB, rel=0.2)
    assert need.prepared["host"] < 30 * MB


def test_the_next_one_is_from_the_last_load() -> None:
    last = Measured(LARGE, peak=500 * MB, steady=450 * MB)
    need = estimate(Files(200 * MB, 50_000), last)
    assert (need.peak["host"], need.steady["host"]) == (300 * MB, 250 * MB)
    shown = VersionMemory(LARGE, need, measured=last).to_json()
    assert shown["measured"] == {"peak": 500 * MB, "steady": 450 * MB}


def test_another_model_is_not_estimated_from_the_last_load() -> None:
    last = Measured(LARGE, peak=500 * MB, steady=450 * MB)
    # The same layers, larger ones, and a folder of which only the size is known.
    for files in (LARGE, Files(900 * MB, 110_000), Files(8, 0)):
        assert basis(files, last) is last
    assert basis(Files(8, 3 * MB), last) is None
    assert basis(LARGE, None) is None


def test_a_model_that_copies_its_weights_does_so_again() -> None:
    last = Measured(LARGE, peak=(450 + 16 + 400) * MB, steady=450 * MB)
    need = estimate(Files(800 * MB, 50_000), last)
    assert need.peak["host"] == (850 + 16 + 800) * MB


def test_what_a_small_one_took_says_little_of_a_large_one() -> None:
    last = Measured(SMALL, peak=60 * MB, steady=25 * MB)
    need = estimate(LARGE, last)
    assert need.steady["host"] == pytest.approx(425 * MB, abs=MB)
    assert need.peak["host"] == pytest.approx(460 * MB, abs=MB)
