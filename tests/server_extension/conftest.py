"""A real Jupyter Server around the extension, for the tests of this folder alone.

Imported here and not as a plugin: its fixtures would otherwise run around every other test.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from pytest_jupyter.jupyter_server import *  # noqa: F403

NOTEBOOK = """{
 "cells": [{"cell_type": "markdown", "id": "one", "metadata": {}, "source": ["# Quickstart"]}],
 "metadata": {},
 "nbformat": 4,
 "nbformat_minor": 5
}"""


@pytest.fixture
def notebooks(tmp_path: Path) -> Path:
    folder = tmp_path / "notebooks"
    folder.mkdir()
    (folder / "00-quickstart.ipynb").write_text(NOTEBOOK)
    return folder


@pytest.fixture
def jp_server_config(notebooks: Path) -> dict[str, Any]:
    return {
        "ServerApp": {
            "jpserver_extensions": {"workbench.server_extension": True},
            "allow_unauthenticated_access": False,
        },
        "WorkbenchExtension": {"notebooks_dir": str(notebooks), "control_seconds": 10.0},
    }
