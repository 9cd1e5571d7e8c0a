"""Reading a version's files before they are needed: which, how far, and what stands against it."""

from __future__ import annotations

from pathlib import Path

import pytest

from workbench.server.worker import prefetch
from workbench.server.worker.prefetch import Cached, PageCacheReader, available_bytes


def put(folder: Path, files: dict[str, int]) -> Path:
    for name, size in files.items():
        file = folder / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(b"x" * size)
    return folder


def test_variables_and_assets_are_read_and_nothing_else(tmp_path: Path) -> None:
    put(
        tmp_path,
        {
            "saved_model.pb": 100,
            "variables/variables.index": 10,
            "variables/variables.data-00000-of-00002": 3 * 1024 * 1024 + 1,
            "variables/variables.data-00001-of-00002": 0,
            "variables/notes.txt": 1000,
            "assets/words.txt": 7,
            "assets/deep/more.txt": 5,
            "assets.extra/tf_serving_warmup_requests": 1000,
        },
    )
    size = 10 + 3 * 1024 * 1024 + 1 + 7 + 5
    assert PageCacheReader(str(tmp_path)).result() == Cached(size, size)


def test_a_version_without_variables_has_nothing_to_read(tmp_path: Path) -> None:
    assert PageCacheReader(str(tmp_path)).result() == Cached(0, 0)


def test_what_would_fill_the_memory_is_left(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    put(tmp_path, {"variables/variables.index": 51})
    monkeypatch.setattr(prefetch, "available_bytes", lambda: 100)
    assert PageCacheReader(str(tmp_path)).result() == Cached(
        0, 51, "51 bytes are more than half of the 100 available"
    )
    put(tmp_path, {"variables/variables.index": 50})
    assert PageCacheReader(str(tmp_path)).result() == Cached(50, 50)


def test_where_the_system_does_not_say_what_is_available_it_is_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    put(tmp_path, {"variables/variables.index": 51})
    monkeypatch.setattr(prefetch, "available_bytes", lambda: None)
    assert PageCacheReader(str(tmp_path)).result() == Cached(51, 51)


def test_a_file_that_cannot_be_read_is_told_of(tmp_path: Path) -> None:
    put(tmp_path, {"variables/variables.data": 5})
    gone = tmp_path / "variables" / "variables.index"
    gone.symlink_to(tmp_path / "nowhere")
    assert PageCacheReader(str(tmp_path)).result() == Cached(
        0, 0, f"{gone}: No such file or directory"
    )


def test_the_available_memory_is_the_systems() -> None:
    available = available_bytes()
    with open("/proc/meminfo") as file:
        total = int(file.readline().split()[1]) * 1024
    assert available is not None
    assert 0 < available <= total
