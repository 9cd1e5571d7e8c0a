"""SavedModels with damaged or missing files: each is told by its cause, in one sentence."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.server.worker.conftest import Ask
from workbench.core.status import Code, ServingError

_AGAIN = "; copy this version here again, or export it again"
_DATA = "variables/variables.data-00000-of-00001"
Damage = Callable[[Path], None]


def written(name: str, data: bytes) -> Damage:
    def damage(folder: Path) -> None:
        (folder / name).write_bytes(data)

    return damage


def halved(name: str) -> Damage:
    def damage(folder: Path) -> None:
        os.truncate(folder / name, (folder / name).stat().st_size // 2)

    return damage


def removed(name: str) -> Damage:
    return lambda folder: (folder / name).unlink()


def as_text(data: bytes) -> Damage:
    def damage(folder: Path) -> None:
        (folder / "saved_model.pb").unlink()
        (folder / "saved_model.pbtxt").write_bytes(data)

    return damage


_CORRUPT = (
    "Can't parse {folder}/saved_model.pb as binary proto: Error parsing message with type "
    "'tensorflow.SavedModel': Wire format was corrupt"
)
_POINTER = b"version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\nsize 12345\n"


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (written("saved_model.pb", b""), "{folder}/saved_model.pb holds no graph (the file is "
         "empty)"),
        (halved("saved_model.pb"), _CORRUPT),
        (written("saved_model.pb", b"\x05 something else"), _CORRUPT),
        (written("saved_model.pb", b"<!DOCTYPE html><html>Not Found</html>"), _CORRUPT + " (it is "
         "an HTML page: a download saved an error page instead of the file)"),
        (written("saved_model.pb", _POINTER), _CORRUPT + " (it is a pointer of Git LFS: `git lfs "
         "pull` fetches the file itself)"),
        (written("saved_model.pb", b"PK\x03\x04 zip"), _CORRUPT + " (it is an archive: unpack it "
         "first)"),
        (as_text(b"meta_graphs { nonsense"), "Can't parse {folder}/saved_model.pbtxt as text "
         'proto: 1:15 : Message type "tensorflow.MetaGraphDef" has no field named "nonsense"'),
        (as_text(b"\xff\xfe"), "Can't parse {folder}/saved_model.pbtxt as text proto: 'utf-8' "
         "codec can't decode byte 0xff in position 0: invalid start byte"),
        (as_text(b""), "{folder}/saved_model.pbtxt holds no graph (the file is empty)"),
        (lambda folder: shutil.rmtree(folder / "variables"), "{folder}/variables/variables.index "
         "is missing, which the model's variables need"),
        (removed("variables/variables.index"), "{folder}/variables/variables.index is missing, "
         "which the model's variables need"),
        (written("variables/variables.index", b""), "{folder}/variables/variables.index cannot be "
         "read: file is too short to be an sstable (the file is empty)"),
        (halved("variables/variables.index"), "{folder}/variables/variables.index cannot be read: "
         "not an sstable (bad magic number)"),
        (removed(_DATA), "{folder}/" + _DATA + " is missing"),
        (halved(_DATA), "{folder}/" + _DATA + " is shorter than variables.index says"),
    ],
)  # fmt: skip
@pytest.mark.parametrize("export", ["half_plus_two", "keeper"])
def test_damaged_files_are_named(
    ask: Ask, models: Path, tmp_path: Path, export: str, damage: Damage, message: str
) -> None:
    """Of TensorFlow 1 and 2 alike."""
    folder = shutil.copytree(models / export, tmp_path / export)
    damage(folder)
    with pytest.raises(ServingError) as raised:
        ask("load", str(folder), ("serve",))
    assert raised.value == ServingError(Code.DATA_LOSS, message.format(folder=folder) + _AGAIN)


def test_damaged_bytes_are_told_in_one_line(ask: Ask, models: Path) -> None:
    with pytest.raises(ServingError) as raised:
        ask("load", str(models / "corrupt"), ("serve",))
    assert raised.value.code is Code.DATA_LOSS
    assert "Checksum does not match" in raised.value.message
    assert "\n" not in raised.value.message


def test_a_value_that_is_missing_is_named(ask: Ask, models: Path, tmp_path: Path) -> None:
    """TensorFlow says "No variables to save" where a TensorFlow 2 model lacks one."""
    for export, other, key, variable in (
        ("half_plus_two", "counter", "a", "variables a, b"),
        ("keeper", "half_plus_two", "kept/.ATTRIBUTES/VARIABLE_VALUE", "variable "),
    ):
        folder = shutil.copytree(models / export, tmp_path / export)
        shutil.rmtree(folder / "variables")
        shutil.copytree(models / other / "variables", folder / "variables")
        with pytest.raises(ServingError) as raised:
            ask("load", str(folder), ("serve",))
        assert raised.value.code is Code.NOT_FOUND
        assert raised.value.message.startswith(
            f"Key {key} not found in checkpoint: {folder}/variables/variables.index has no value "
            f"for {variable}"
        )
        assert raised.value.message.endswith(
            "; export the model again, its graph and its variables together"
        )
