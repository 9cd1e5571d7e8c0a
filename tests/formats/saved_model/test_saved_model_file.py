"""The outline of `saved_model.pb`, read without TensorFlow."""

from __future__ import annotations

from pathlib import Path

import pytest

from workbench.formats.saved_model.saved_model_file import (
    NotSavedModel,
    Outline,
    TruncatedFile,
    read_outline,
)


@pytest.mark.parametrize(
    ("name", "outline"),
    [
        ("half_plus_two", Outline(True, ())),
        ("text", Outline(False, ())),
        ("digits", Outline(True, ())),
        ("lookup", Outline(True, ("vocabulary.txt",))),
    ],
)
def test_reads_what_tensorflow_wrote(models: Path, name: str, outline: Outline) -> None:
    assert read_outline(str(models / name / "saved_model.pb")) == outline


@pytest.mark.parametrize("name", ["text", "lookup"])
def test_every_shorter_file_is_truncated(models: Path, tmp_path: Path, name: str) -> None:
    whole = (models / name / "saved_model.pb").read_bytes()
    path = tmp_path / "saved_model.pb"
    for size in range(0, len(whole), 1 + len(whole) // 400):
        path.write_bytes(whole[:size])
        with pytest.raises(TruncatedFile):
            read_outline(str(path))


def test_something_else_is_told_apart(tmp_path: Path) -> None:
    path = tmp_path / "saved_model.pb"
    path.write_text("PK\x05 is no field of a SavedModel")
    with pytest.raises(NotSavedModel, match="field 0 has the wire type 5"):
        read_outline(str(path))
    path.write_bytes(b"\x10\xff\xff")
    with pytest.raises(TruncatedFile, match="it ends within a field's head"):
        read_outline(str(path))
