from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest

from tests.client.trainer import Trainer
from workbench.client.models.servable import servable
from workbench.client.publishing.fingerprint import of_path, of_version, remember


@pytest.fixture
def export(tmp_path: Path, models: Path) -> Path:
    return shutil.copytree(models / "half_plus_two", tmp_path / "export")


def test_it_changes_with_weights_and_graphs(trainer: Trainer) -> None:
    one = trainer.fingerprint("keras:1")
    assert one == trainer.fingerprint("keras:1")
    kinds = ["keras:2", "keras two inputs", "module:1", "module:2", "named module:1"]
    assert len({one, *(trainer.fingerprint(kind) for kind in kinds)}) == 6


def test_a_path_stands_for_the_files_that_lie_there(
    export: Path, tmp_path: Path, models: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    one = of_path(export)
    assert one == of_path(models / "half_plus_two")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path))
    assert one == servable("export").digest() == servable("~/export").digest()
    # When it was written is nothing to it; what was written is, also where the size is the same.
    os.utime(export / "saved_model.pb", (1, 1))
    assert of_path(export) == one
    data = bytearray((export / "saved_model.pb").read_bytes())
    data[-1] ^= 1
    (export / "saved_model.pb").write_bytes(data)
    changed = of_path(export)
    (export / "more").write_bytes(b"")
    assert len({one, changed, of_path(export)}) == 3


def test_a_version_is_known_by_what_it_was_made_from(export: Path, tmp_path: Path) -> None:
    folder = str(tmp_path)
    remember(folder, "m", 1, export, "digest")
    remember(folder, "m", 2, export, "other")
    assert of_version(folder, "m", 1, export) == "digest"
    # Moving it aside and back changes nothing.
    moved = export.rename(tmp_path / "aside")
    assert of_version(folder, "m", 2, moved) == "other"
    # One that nobody has recorded, or that was put in another's place, is looked at.
    assert of_version(folder, "n", 1, moved) == of_path(moved)
    graph = (moved / "saved_model.pb").read_bytes()
    (moved / "saved_model.pb").write_bytes(graph + b"\0")
    assert of_version(folder, "m", 1, moved) == of_path(moved)
