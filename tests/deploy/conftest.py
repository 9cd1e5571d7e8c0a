"""The models of fleets, and a registry of servers of their own."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.exports import exported
from tests.own_registry import own_registry

_EXPORT_SECONDS = 100


@pytest.fixture(scope="session")
def fleet_models() -> Path:
    """SavedModels, each in a folder by its name (see `specimens/fleet_models.py`)."""
    return exported("tests.deploy.specimens.fleet_models", _EXPORT_SECONDS)


@pytest.fixture(scope="session")
def fleet_folder(fleet_models: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder for each model, with numbered versions; not to be written into."""
    root = tmp_path_factory.mktemp("fleet") / "models"
    for name, versions in {
        "pair": {1: "pair_1", 2: "pair_2"},
        "words": {7: "words"},
        "centred": {1: "centred"},
    }.items():
        for version, model in versions.items():
            shutil.copytree(fleet_models / model, root / name / str(version))
    return root


@pytest.fixture(scope="module")
def runtime(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A registry of our own; when all tests are done nothing may be left in it."""
    with own_registry(tmp_path_factory.mktemp("runtime")) as folder:
        yield folder
