"""Thousands of version folders: only those that may be served are looked into."""

from __future__ import annotations

import os
import shutil
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from workbench.core.versions.version_policy import VersionPolicy
from workbench.server.engine.versions import source
from workbench.server.engine.versions.source import FolderSource, Poll

MANY = 5000


@pytest.fixture(autouse=True)
def old_files(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(source, "SETTLE_SECONDS", -1.0)


@pytest.fixture(scope="module")
def many(models: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Versions 1 to 5000, of which only the last three hold a model."""
    base = tmp_path_factory.mktemp("many")
    for version in range(1, MANY - 2):
        (base / str(version)).mkdir()
    for version in range(MANY - 2, MANY + 1):
        shutil.copytree(models / "half_plus_two", base / str(version))
    return base


@pytest.fixture
def looked(many: Path, monkeypatch: pytest.MonkeyPatch) -> Counter[str]:
    """How often each name in the base path was looked at, in whatever way."""
    counted: Counter[str] = Counter()

    def count(name: str) -> None:
        original: Any = getattr(os, name)

        def counting(path: Any = ".", *arguments: Any, **options: Any) -> Any:
            within = os.path.relpath(os.fspath(path), many) if isinstance(path, str) else ""
            counted[within.split(os.sep)[0]] += 1
            return original(path, *arguments, **options)

        monkeypatch.setattr(os, name, counting)

    for name in ("stat", "listdir", "scandir"):
        count(name)
    return counted


def numbers(poll: Poll) -> list[int]:
    assert poll.aspired is not None
    assert poll.waiting == {}
    return [found.version for found in poll.aspired]


@pytest.mark.parametrize(
    ("policy", "versions"),
    [
        (VersionPolicy(), [MANY]),
        (VersionPolicy("latest", 2), [MANY - 1, MANY]),
        (VersionPolicy("specific", versions=(MANY - 2,)), [MANY - 2]),
    ],
)
def test_only_what_may_be_served_is_looked_into(
    many: Path, looked: Counter[str], policy: VersionPolicy, versions: list[int]
) -> None:
    folder = FolderSource("m", str(many))
    for _ in range(2):
        looked.clear()
        poll = folder.poll(policy)
        assert numbers(poll) == versions
        assert len(poll.present) == MANY
        # The base path is listed once; the entries' types, which some file systems do not tell,
        # are not asked for.
        assert looked.pop(".") == 1
        assert {name for name in looked if name.isdigit()} == {str(v) for v in versions}


def test_names_are_read_again_only_when_they_have_changed(
    many: Path, models: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = FolderSource("m", str(many))
    assert numbers(folder.poll(VersionPolicy())) == [MANY]
    parsed: list[str] = []
    original = source.parse_version
    monkeypatch.setattr(source, "parse_version", lambda name: parsed.append(name) or original(name))
    assert numbers(folder.poll(VersionPolicy())) == [MANY]
    assert parsed == []
    new = many / str(MANY + 1)
    shutil.copytree(models / "half_plus_two", new)
    try:
        assert numbers(folder.poll(VersionPolicy())) == [MANY + 1]
    finally:
        shutil.rmtree(new)
    assert numbers(folder.poll(VersionPolicy())) == [MANY]


def test_an_older_version_is_found_where_the_newest_are_not_good(
    many: Path, looked: Counter[str]
) -> None:
    folder = FolderSource("m", str(many))
    first = folder.poll(VersionPolicy())
    assert first.aspired is not None
    avoid = {MANY: first.aspired[0].fingerprint}
    assert folder.knows_others(MANY)
    looked.clear()
    poll = folder.poll(VersionPolicy(), avoid)
    assert (numbers(poll), poll.replaced) == ([MANY - 1], {MANY})
    assert {name for name in looked if name.isdigit()} == {str(MANY), str(MANY - 1)}
    # One on probation serves beside the one that would be chosen without it.
    poll = folder.poll(VersionPolicy(), probation={MANY})
    assert numbers(poll) == [MANY - 1, MANY]
