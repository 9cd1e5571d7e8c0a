from __future__ import annotations

import os
import shutil
import stat
from pathlib import Path
from typing import Any

import pytest

from workbench.core.status import Code, ServingError
from workbench.processes import paths


@pytest.fixture
def runtime(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "deep" / "runtime"
    monkeypatch.setenv("JUPYTER_RUNTIME_DIR", str(folder))
    return folder


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


@pytest.mark.parametrize("name", ["a", "digits", "A-1_b.c", "7", "x" * 64])
def test_names_that_can_be_used(name: str) -> None:
    assert paths.check_name(name) == name


@pytest.mark.parametrize(
    ("name", "clean"),
    [("", ""), ("x" * 65, "x" * 64), ("a/b", "a-b"), ("../a", "a"), (".a", "a"), ("-a", "a"),
     ("_a", "a"), ("a b", "a-b"), ("é", "e"), ("a\n", "a"), ("a\0", "a"), (None, ""), (5, ""),
     ("my model (final).v2", "my-model-final-.v2"), ("长度", "")],
)  # fmt: skip
def test_names_that_cannot(name: Any, clean: str) -> None:
    with pytest.raises(ServingError) as refused:
        paths.check_name(name)
    assert refused.value == ServingError(
        Code.INVALID_ARGUMENT,
        f"Server name {name!r} cannot be used: it needs 1 to 64 letters, digits, '.', '_' or '-', "
        "and must begin with a letter or digit" + (f"; {clean!r} can be used" if clean else ""),
    )
    if clean:
        assert paths.check_name(clean) == paths.clean_name(name)


def test_the_runtime_folder_is_jupyters_and_is_made(runtime: Path) -> None:
    assert paths.runtime_folder() == runtime
    assert runtime.is_dir()
    assert paths.entry_path("digits") == runtime / "workbench-digits.json"
    assert paths.server_folder("digits") == runtime / "workbench-digits"


def test_a_private_folder_is_closed_to_others(tmp_path: Path) -> None:
    folder = tmp_path / "a" / "b"
    paths.make_private(folder)
    assert mode(folder) == 0o700
    folder.chmod(0o755)
    paths.make_private(folder)
    assert mode(folder) == 0o700


def test_a_folder_of_somebody_else_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "folder"
    paths.make_private(folder)
    before = os.getuid()
    monkeypatch.setattr(os, "getuid", lambda: before + 1)
    with pytest.raises(ServingError) as refused:
        paths.make_private(folder)
    assert refused.value == ServingError(
        Code.FAILED_PRECONDITION,
        f"{folder} belongs to another user; remove it or use another name",
    )


def test_a_socket_lies_in_its_folder_where_its_path_fits(tmp_path: Path) -> None:
    name = "control.sock"
    fits = Path("/") / ("x" * (103 - len(name) - 2))
    assert paths.socket_path(fits) == fits / name
    assert len(os.fsencode(fits / name)) == 103
    elsewhere = paths.socket_path(Path(f"{fits}x"))
    try:
        assert elsewhere.name == name
        assert elsewhere.parent.name.startswith("wb-")
        assert mode(elsewhere.parent) == 0o700
    finally:
        shutil.rmtree(elsewhere.parent)
    # Bytes count, not letters.
    elsewhere = paths.socket_path(Path("/") / ("é" * 60))
    assert elsewhere.parent.name.startswith("wb-")
    shutil.rmtree(elsewhere.parent)


def test_a_private_file_is_replaced_at_once(tmp_path: Path) -> None:
    path = tmp_path / "file"
    paths.write_private(path, b"first")
    with path.open("rb") as reader:
        paths.write_private(path, b"second")
        # Whoever reads has the one or the other, whole.
        assert reader.read() == b"first"
    assert path.read_bytes() == b"second"
    assert mode(path) == 0o600
    assert os.listdir(tmp_path) == ["file"]


def test_a_write_that_fails_leaves_what_was_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "file"
    paths.write_private(path, b"first")

    def fail(*_: object) -> None:
        raise OSError("no")

    monkeypatch.setattr(os, "replace", fail)
    with pytest.raises(OSError, match="no"):
        paths.write_private(path, b"second")
    assert path.read_bytes() == b"first"
    assert os.listdir(tmp_path) == ["file"]
