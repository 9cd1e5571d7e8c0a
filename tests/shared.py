"""What some tests read from a folder beside the repository, which not every machine has."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

SHARED = Path(__file__).parents[2] / "shared"


def beside(*names: str) -> Path:
    """A file or folder in `../shared`. Where that folder is absent the test is skipped, and says
    so; on a machine that checks changes (`CI`), it must not lack this part of it."""
    path = SHARED.joinpath(*names)
    if not path.exists():
        absent = f"there is no {path}"
        assert not ("CI" in os.environ and SHARED.is_dir()), absent
        pytest.skip(absent)
    return path
