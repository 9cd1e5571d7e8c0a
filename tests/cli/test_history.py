"""`workbench history` without a server: its table fits the screen, its errors name commands."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from workbench.cli.main import main
from workbench.experiments.store.store import Store

LONG = "smooth is the best by far, " * 20


@pytest.fixture(autouse=True)
def saved(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("JUPYTER_DATA_DIR", str(tmp_path))
    with Store() as store:
        store.add("transitions", "digits", {}, LONG)
        store.add("sweep", "a-model-with-a-long-name", {}, "short")


@pytest.mark.parametrize("width", [60, 80, 120])
def test_the_table_fits_the_screen(
    width: int, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", str(width))
    assert main(["history"]) == 0
    head, short, long = capsys.readouterr().out.splitlines()
    assert head.split()[:4] == ["NUMBER", "KIND", "MODEL", "SAVED"]
    assert short.endswith("short") or width == 60
    assert len(long) == width
    assert long.endswith("…")


def test_json_is_not_cut(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["history", "--json", "--model", "digits"]) == 0
    assert [each["summary"] for each in json.loads(capsys.readouterr().out)] == [LONG]


def test_an_unknown_number_speaks_of_the_command(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["history", "99"]) == 1
    assert capsys.readouterr().err == (
        "workbench: There is no experiment 99: `workbench history` lists those that are saved\n"
    )
