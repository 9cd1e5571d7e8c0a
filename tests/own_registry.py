"""A registry of servers that only some tests have."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest


@contextmanager
def own_registry(folder: Path) -> Iterator[Path]:
    """`folder` is the registry; when all tests are done, nothing may be left in it."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("JUPYTER_RUNTIME_DIR", str(folder))
        yield folder
    assert os.listdir(folder) == []
