"""Which folders may be served: what lies outside, and what is not one's own."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from workbench.core.status import Code, ServingError
from workbench.jupyter.server_extension import servable_folders


@pytest.fixture
def root(tmp_path: Path) -> Path:
    root = tmp_path / "files"
    for path in (root / "digits" / "1", root / "digits" / "2", tmp_path / "outside"):
        path.mkdir(parents=True)
        (path / "saved_model.pb").write_bytes(b"")
    (root / "digits" / "3").mkdir()
    (root / "way-out").symlink_to(tmp_path / "outside")
    return root


@pytest.mark.parametrize("path", ["digits", "/digits", "digits/../digits/", " digits "])
def test_the_browsers_paths_are_below_the_root(root: Path, path: str) -> None:
    assert servable_folders.resolve(path, str(root)) == root / "digits"


def test_a_folder_of_this_machine_is_named_whole(root: Path) -> None:
    assert servable_folders.resolve(str(root / "digits"), str(root)) == root / "digits"


@pytest.mark.parametrize("path", ["../outside", "way-out", "/etc", "~", "digits/../../outside"])
def test_nothing_outside_is_served(root: Path, path: str) -> None:
    with pytest.raises(ServingError, match="outside the folder") as refused:
        servable_folders.resolve(path, str(root))
    assert refused.value.code is Code.PERMISSION_DENIED


def test_other_folders_can_be_allowed(root: Path, tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    # The link itself, as a server follows it when it is swapped.
    assert servable_folders.resolve("way-out", str(root), [str(outside)]) == root / "way-out"


@pytest.mark.parametrize(
    ("path", "code"),
    [
        ("", Code.INVALID_ARGUMENT),
        (None, Code.INVALID_ARGUMENT),
        (["digits"], Code.INVALID_ARGUMENT),
        ("a\0b", Code.INVALID_ARGUMENT),
        ("nothing", Code.NOT_FOUND),
        ("digits/1/saved_model.pb", Code.NOT_FOUND),
    ],
)
def test_what_is_no_folder(root: Path, path: object, code: Code) -> None:
    with pytest.raises(ServingError) as refused:
        servable_folders.resolve(path, str(root))
    assert refused.value.code is code


def test_files_on_no_disk_of_this_machine(root: Path) -> None:
    with pytest.raises(ServingError, match="not in a folder of this machine"):
        servable_folders.resolve("digits", None)


def test_what_a_folder_holds(root: Path) -> None:
    os.chmod(root / "digits" / "1" / "saved_model.pb", 0o600)
    about = servable_folders.look(root / "digits")
    assert about == {"kind": "versions", "name": "digits", "versions": [1, 2], "foreign": None}
    about = servable_folders.look(root / "digits" / "1")
    assert about == {"kind": "saved_model", "name": "digits", "versions": [], "foreign": None}
    assert servable_folders.look(root)["kind"] is None
    (root / ".my model!").mkdir()
    assert servable_folders.look(root / ".my model!")["name"] == "my-model"


def test_what_everybody_can_write_to_is_not_ones_own(root: Path) -> None:
    file = root / "digits" / "2" / "saved_model.pb"
    file.chmod(0o666)
    assert servable_folders.foreign(root / "digits/1") is None
    assert servable_folders.foreign(
        root / "digits"
    ) == f"{file} can be written to by every user of " + ("this machine")
    with pytest.raises(ServingError, match="A SavedModel is a program"):
        servable_folders.check_trusted(root / "digits", "yes")
    servable_folders.check_trusted(root / "digits", True)
