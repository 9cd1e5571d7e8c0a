"""The record that lies beside a SavedModel."""

from __future__ import annotations

from pathlib import Path

import pytest

from workbench.core.status import Code, ServingError
from workbench.formats.saved_model.version_record import (
    VersionRecord,
    read_record,
    record_file,
)


def test_it_is_read_as_it_was_written(tmp_path: Path) -> None:
    record = VersionRecord({"a_b": "a b"}, ("tensorflow_text",))
    record.write(tmp_path)
    assert read_record(tmp_path) == record
    assert record_file(tmp_path) == tmp_path / "assets.extra" / "workbench.json"


def test_one_that_says_nothing_is_no_file(tmp_path: Path) -> None:
    VersionRecord().write(tmp_path)
    assert list(tmp_path.iterdir()) == []
    assert read_record(tmp_path) == VersionRecord()


def test_what_a_later_format_adds_is_no_harm(tmp_path: Path) -> None:
    record_file(tmp_path).parent.mkdir()
    record_file(tmp_path).write_text('{"format": 1, "more": true}')
    assert read_record(tmp_path) == VersionRecord()


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("", "it is not JSON of at most 1 MiB"),
        ('{"format": 1, "columns": ' + " " * 2**20 + "{}}", "it is not JSON of at most 1 MiB"),
        ("[]", "it is not an object with format 1"),
        ('{"format": 2}', "it is not an object with format 1"),
        ('{"format": 1, "columns": []}', "its columns do not map names to names"),
        ('{"format": 1, "columns": {"a": 1}}', "its columns do not map names to names"),
        ('{"format": 1, "packages": "os"}',
         "its packages are not a list of importable package names"),
        ('{"format": 1, "packages": ["../evil"]}',
         "its packages are not a list of importable package names"),
    ],
)  # fmt: skip
def test_a_damaged_one_is_refused(tmp_path: Path, text: str, why: str) -> None:
    file = record_file(tmp_path)
    file.parent.mkdir()
    file.write_text(text)
    with pytest.raises(ServingError) as refused:
        read_record(tmp_path)
    assert refused.value == ServingError(
        Code.INVALID_ARGUMENT,
        f"{file} cannot be read: {why}; remove the file, or publish the model again",
    )
