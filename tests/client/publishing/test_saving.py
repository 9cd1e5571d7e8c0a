from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.client.trainer import Trainer
from workbench.client.models.servable import is_saved_model, servable
from workbench.client.publishing import saving
from workbench.core.status import Code, ServingError


def names(folder: Path) -> list[str]:
    return sorted(os.listdir(folder))


def put_version(model: Any, base: Path, version: int) -> Path:
    return saving.put_version(servable(model), base, version)


def folders(base: Path, *versions: str) -> Path:
    for name in versions:
        (base / name).mkdir(parents=True)
    return base


def refused(call: Any) -> ServingError:
    with pytest.raises(ServingError) as caught:
        call()
    return caught.value


# Version folders.


def test_version_folders(tmp_path: Path) -> None:
    base = folders(tmp_path, "1", "007", "12.tmp", "latest", "-3", saving.ASIDE + "/9")
    assert saving.version_folders(base) == {1: base / "1", 7: base / "007"}
    assert saving.version_folders(tmp_path / "missing") == {}
    # A number that was rolled back is not given again.
    assert saving.next_version(base) == 10
    assert saving.next_version(tmp_path / "missing") == 1


@pytest.mark.parametrize(
    ("there", "name"),
    [((), "7"), (("1",), "7"), (("00000001",), "00000007"), (("1", "10"), "7"),
     (("00000001", "2"), "7")],
)  # fmt: skip
def test_a_folder_is_named_like_the_others(
    tmp_path: Path, there: tuple[str, ...], name: str
) -> None:
    assert saving.folder_name(folders(tmp_path, *there), 7) == name


# Putting versions there.


def test_a_saved_model_is_copied_whole(tmp_path: Path, models: Path) -> None:
    final = put_version(models / "lookup", tmp_path / "base", 3)
    assert final == tmp_path / "base" / "3"
    assert names(tmp_path / "base") == ["3"]
    assert names(final) == names(models / "lookup")
    assert names(final / "assets") == ["vocabulary.txt"]


def test_a_copy_shares_nothing_that_can_change(tmp_path: Path, models: Path) -> None:
    source = shutil.copytree(models / "half_plus_two", tmp_path / "source")
    final = put_version(source, tmp_path / "base", 1)
    before = (final / "saved_model.pb").read_bytes()
    # As an export into the same folder does: the file stays, its contents change.
    (source / "saved_model.pb").write_bytes(b"another graph")
    assert (final / "saved_model.pb").read_bytes() == before


def test_what_is_no_saved_model_is_refused_and_leaves_nothing(tmp_path: Path) -> None:
    source = folders(tmp_path, "source") / "source"
    error = refused(lambda: put_version(source, tmp_path / "base", 1))
    assert error == ServingError(
        Code.INVALID_ARGUMENT, f"{source} is not a SavedModel: it has no saved_model.pb"
    )
    # A name that is misspelt is a path without anything.
    error = refused(lambda: put_version(tmp_path / "model.keras", tmp_path / "base", 1))
    assert error == ServingError(
        Code.INVALID_ARGUMENT,
        f"There is no {tmp_path}/model.keras: give the path of a SavedModel or of a .keras file",
    )
    assert not (tmp_path / "base").exists()


def test_a_version_never_changes(tmp_path: Path, models: Path) -> None:
    base = folders(tmp_path / "base", "0001")
    error = refused(lambda: put_version(models / "text", base, 1))
    assert error == ServingError(
        Code.INVALID_ARGUMENT,
        f"Version 1 exists already in {base}: a version never changes its contents; publish the "
        "next one",
    )


def test_a_copy_that_fails_leaves_nothing(
    tmp_path: Path, models: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "rename", full)
    base = tmp_path / "base"
    error = refused(lambda: put_version(models / "text", base, 1))
    assert error == ServingError(
        Code.RESOURCE_EXHAUSTED,
        f"Version 1 could not be written to {base}: No space left on device. Nothing of it is "
        "left there, and the served versions go on serving",
    )
    assert names(base) == []


def test_what_a_killed_publisher_left_is_removed_by_the_next(tmp_path: Path, models: Path) -> None:
    """And what a living one is writing is not."""
    code = (
        "import sys, time; from pathlib import Path\n"
        "from workbench.client.publishing import saving\n"
        "from workbench.client.models.servable import servable\n"
        "saving._copy = lambda source, target: (print(flush=True), time.sleep(60))\n"
        "saving.put_version(servable(sys.argv[1]), Path(sys.argv[2]), 1)"
    )
    publisher = subprocess.Popen(
        [sys.executable, "-c", code, str(models / "half_plus_two"), str(tmp_path)],
        stdout=subprocess.PIPE,
    )
    with publisher:
        assert publisher.stdout is not None
        publisher.stdout.readline()
        put_version(models / "half_plus_two", tmp_path, 2)
        beside = [name for name in os.listdir(tmp_path) if name.startswith(".1.")]
        assert (len(beside), sorted(os.listdir(tmp_path))) == (1, [*beside, "2"])
        publisher.kill()
    put_version(models / "half_plus_two", tmp_path, 3)
    assert sorted(os.listdir(tmp_path)) == ["2", "3"]


@pytest.mark.parametrize("model", [5, None, b"bytes", {"a": 1}])
def test_what_is_no_model(tmp_path: Path, model: Any) -> None:
    error = refused(lambda: put_version(model, tmp_path / "base", 1))
    assert error == ServingError(
        Code.INVALID_ARGUMENT,
        f"An object of type {type(model).__name__} cannot be served: give a Keras model, a "
        "tf.Module, the path of a SavedModel or of a .keras file, or the path of a folder of "
        "numbered versions",
    )
    assert not (tmp_path / "base").exists()


# Rolling back and undoing it.


def test_rolling_back_moves_aside_and_undo_brings_back_the_last(tmp_path: Path) -> None:
    base = folders(tmp_path, "1", "2", "0003")
    for version, name in ((1, "1"), (3, "0003")):
        saving.roll_back(base, version)
        os.utime(base / saving.ASIDE / name, (version, version))
    assert names(base) == [saving.ASIDE, "2"]
    assert saving.undo_roll_back(base) == 3
    assert saving.undo_roll_back(base) == 1
    assert names(base) == [saving.ASIDE, "0003", "1", "2"]
    assert refused(lambda: saving.undo_roll_back(base)) == ServingError(
        Code.INVALID_ARGUMENT, f"Nothing was rolled back in {base}, so there is nothing to undo"
    )


def test_rolling_back_what_is_not_there(tmp_path: Path) -> None:
    assert refused(lambda: saving.roll_back(tmp_path, 4)) == ServingError(
        Code.INVALID_ARGUMENT, f"There is no version 4 in {tmp_path}"
    )


def test_a_number_that_was_rolled_back_before_is_replaced(tmp_path: Path) -> None:
    base = folders(tmp_path, "1", saving.ASIDE + "/1/old")
    saving.roll_back(base, 1)
    assert names(base / saving.ASIDE / "1") == []


def test_a_link_is_moved_and_what_it_leads_to_is_left_alone(tmp_path: Path) -> None:
    source = folders(tmp_path, "source/inner") / "source"
    os.utime(source, (1, 1))
    base = folders(tmp_path / "base")
    base.mkdir()
    for _ in range(2):
        (base / "1").symlink_to(source)
        saving.roll_back(base, 1)
    assert (names(source), source.stat().st_mtime) == (["inner"], 1)
    assert saving.undo_roll_back(base) == 1
    assert (base / "1").resolve() == source


# With TensorFlow, in a process that has it.


@pytest.mark.parametrize("kind", ["keras", "keras two inputs", "module", "named module"])
def test_models_in_memory_are_saved(trainer: Trainer, tmp_path: Path, kind: str) -> None:
    final = trainer.put(kind, str(tmp_path / "base"), 1)
    assert final == str(tmp_path / "base" / "1")
    assert names(tmp_path / "base") == ["1"]
    assert is_saved_model(Path(final))


@pytest.mark.parametrize(
    ("kind", "message"),
    [
        ("unbuilt",
         "Keras model 'unbuilt' has no input shape yet: call it once, or begin it with "
         "keras.Input"),
        ("bare module",
         "Bare has no function that can be served: decorate its __call__ with "
         "@tf.function(input_signature=[tf.TensorSpec([None, ...], tf.float32)])"),
        ("int",
         "An object of type int cannot be served: give a Keras model, a tf.Module, the path of a "
         "SavedModel or of a .keras file, or the path of a folder of numbered versions"),
    ],
)  # fmt: skip
def test_models_that_cannot_be_saved(
    trainer: Trainer, tmp_path: Path, kind: str, message: str
) -> None:
    error = refused(lambda: trainer.put(kind, str(tmp_path / "base"), 1))
    assert error == ServingError(Code.INVALID_ARGUMENT, message)
    assert not (tmp_path / "base").exists()
