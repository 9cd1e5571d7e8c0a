"""A served digits model for experiments, as a user would have it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

import workbench as wb


@pytest.fixture(scope="module")
def served_digits(models: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[wb.Server]:
    """A real server of its own for each file of tests; its files and the experiments that are kept
    lie in temporary folders."""
    with pytest.MonkeyPatch.context() as patch:
        for name in ("JUPYTER_RUNTIME_DIR", "JUPYTER_DATA_DIR"):
            patch.setenv(name, str(tmp_path_factory.mktemp(name.lower())))
        with wb.serve(models / "digits", name="digits", num_batch_threads=2) as server:
            yield server
