"""Files leave the page cache when they are told to, and looking at them brings none back."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

from workbench.experiments.transitions.page_cache import bring_in, cached_share, evict

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells what is cached")

MEGABYTE = 2**20


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "variables").mkdir()
    (tmp_path / "variables" / "data").write_bytes(os.urandom(MEGABYTE))
    (tmp_path / "graph").write_bytes(os.urandom(3 * MEGABYTE))
    (tmp_path / "empty").touch()
    return tmp_path


def test_what_was_written_is_cached_until_it_is_evicted(folder: Path) -> None:
    assert cached_share(folder) == 1.0
    evict(folder)
    share = cached_share(folder)
    assert share is not None
    if share == 1.0:
        pytest.skip("this file system lives in memory: nothing can be evicted")
    assert share == 0.0
    # Looking does not bring it back; reading does, in part.
    assert cached_share(folder) == 0.0
    (folder / "variables" / "data").read_bytes()
    again = cached_share(folder)
    assert again is not None
    assert 0.2 < again < 0.6
    bring_in(folder)
    assert cached_share(folder) == 1.0


def test_a_link_to_a_version(folder: Path, tmp_path: Path) -> None:
    link = tmp_path.parent / "link-to-version"
    link.symlink_to(folder)
    assert cached_share(link) == 1.0


def test_a_folder_without_files(tmp_path: Path) -> None:
    assert cached_share(tmp_path) is None
    evict(tmp_path)


def test_where_it_cannot_be_told(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "platform", "darwin")
    assert cached_share(folder) is None
