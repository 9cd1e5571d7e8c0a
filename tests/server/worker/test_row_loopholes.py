"""No graph is believed to keep rows apart that does not, however the rows come together."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.exports import export

_SECONDS = 100


@pytest.fixture(scope="module")
def facts(tmp_path_factory: pytest.TempPathFactory) -> dict[str, dict[str, bool]]:
    """Whether rows are proven to stay apart, of each model by its name."""
    folder = tmp_path_factory.mktemp("loopholes")
    export("tests.server.worker.row_loopholes", folder, _SECONDS)
    found: dict[str, dict[str, bool]] = json.loads(Path(folder, "facts.json").read_text())
    return found


def test_what_mixes_is_never_proven(facts: dict[str, dict[str, bool]]) -> None:
    assert [name for name, apart in facts["mixing"].items() if apart] == []
    assert len(facts["mixing"]) >= 20


def test_what_keeps_rows_apart_is_proven(facts: dict[str, dict[str, bool]]) -> None:
    assert [name for name, apart in facts["apart"].items() if not apart] == []
