"""One live server for all tests of widgets."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

import workbench as wb


@pytest.fixture(scope="package")
def live(tmp_path_factory: pytest.TempPathFactory, models: Path) -> Iterator[wb.Server]:
    """A server of a SavedModel (x/2 + 2), in a registry of its own."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("JUPYTER_RUNTIME_DIR", str(tmp_path_factory.mktemp("runtime")))
        with wb.serve(models / "half_plus_two", "half") as server:
            yield server
