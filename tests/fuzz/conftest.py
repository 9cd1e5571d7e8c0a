"""The target of the fuzzing, once for each module."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.fuzz.target import Remote


@pytest.fixture(scope="module")
def remote(models: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Remote]:
    with Remote(models, tmp_path_factory.mktemp("fuzz")) as remote:
        yield remote
