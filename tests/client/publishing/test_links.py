"""Paths as they were written, and servers of folders behind links that are swapped."""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import workbench as wb
from workbench.client.outcomes import Launched, Published, Reused
from workbench.client.publishing.links import as_written, is_same_folder

_SECONDS = 30.0


def lead(link: Path, target: Path) -> None:
    """Let a link lead elsewhere, at once."""
    beside = link.with_name(link.name + ".beside")
    beside.symlink_to(target)
    beside.rename(link)


def until(holds: Callable[[], Any], what: str) -> None:
    end = time.monotonic() + _SECONDS
    while not holds():
        assert time.monotonic() < end, f"waited in vain until {what}"
        time.sleep(0.05)


def test_a_path_keeps_its_links(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "release-7" / "inner").mkdir(parents=True)
    (tmp_path / "deep").mkdir()
    (tmp_path / "current").symlink_to("release-7")
    (tmp_path / "deep" / "current").symlink_to(tmp_path / "release-7" / "inner")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path))
    for given in ("current", "./current", "~/current", tmp_path / "current"):
        assert as_written(given) == tmp_path / "current"
    # Above the folder that the link leads to, as the system has it.
    assert as_written("deep/current/../../current") == tmp_path / "current"
    assert as_written("deep/../current/inner") == tmp_path / "current" / "inner"
    assert is_same_folder(tmp_path / "current", tmp_path / "release-7")
    assert not is_same_folder(tmp_path / "current", tmp_path / "nowhere")
    assert is_same_folder(tmp_path / "nowhere", tmp_path / "nowhere")


def test_a_folder_of_versions_behind_a_link_is_followed(
    runtime: Path, models: Path, tmp_path: Path
) -> None:
    shutil.copytree(models / "half_plus_two", tmp_path / "release-7" / "1")
    shutil.copytree(models / "half_plus_three", tmp_path / "release-8" / "1")
    current = tmp_path / "current"
    current.symlink_to("release-7")
    with wb.serve(current, "followed") as server:
        assert server.base_path == current
        assert server.predict([1.0]).tolist() == [2.5]  # type: ignore[union-attr]
        lead(current, tmp_path / "release-8")
        # No call is needed, and none fails meanwhile.
        until(lambda: server.predict([1.0]).tolist() == [3.5], "the new release answers")  # type: ignore[union-attr]
        for path in (current, tmp_path / "release-8"):
            assert wb.serve(path, "followed").outcome == Reused("followed", server.url)
        with pytest.raises(wb.ServingError, match="is running already, for"):
            wb.serve(tmp_path / "release-7", "followed")


def test_a_saved_model_behind_a_link_is_copied_and_served_again_when_asked(
    runtime: Path, models: Path, tmp_path: Path
) -> None:
    """Also where its own files lie behind links, as in a mounted ConfigMap."""
    for name, export in (("release-7", "half_plus_two"), ("release-8", "half_plus_three")):
        whole = shutil.copytree(models / export, tmp_path / "data" / name)
        (tmp_path / name).mkdir()
        for part in whole.iterdir():
            (tmp_path / name / part.name).symlink_to(part)
    current = tmp_path / "current"
    current.symlink_to("release-7")
    with wb.serve(current, "copied") as server:
        assert isinstance(server.outcome, Launched)
        assert "serve it again when the link has been swapped" in server.outcome.note
        assert wb.serve(current, "copied").outcome == Reused("copied", server.url)
        lead(current, tmp_path / "release-8")
        assert server.predict([1.0]).tolist() == [2.5]  # type: ignore[union-attr]
        again = wb.serve(current, "copied")
        assert isinstance(again.outcome, Published)
        assert again.outcome.version == 2
        assert again.predict([1.0]).tolist() == [3.5]  # type: ignore[union-attr]


def test_a_release_that_differs_in_its_weights_alone(
    runtime: Path, models: Path, tmp_path: Path
) -> None:
    """Weights behind a link belong to the model."""
    for name, export in (("release-7", "half_plus_two"), ("release-8", "half_plus_three")):
        (tmp_path / name).mkdir()
        shutil.copy(models / "half_plus_two" / "saved_model.pb", tmp_path / name)
        (tmp_path / name / "variables").symlink_to(models / export / "variables")
    (tmp_path / "current").symlink_to("release-7")
    with wb.serve(tmp_path / "current", "weights"):
        lead(tmp_path / "current", tmp_path / "release-8")
        again = wb.serve(tmp_path / "current", "weights")
        assert isinstance(again.outcome, Published)
        assert again.predict([1.0]).tolist() == [3.5]  # type: ignore[union-attr]
