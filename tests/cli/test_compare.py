"""`workbench compare-versions | compare-transitions` on a real server."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

import workbench as wb
from workbench.cli.main import main

X = np.linspace(-1, 1, 50, dtype=np.float32)


@pytest.fixture(scope="module")
def half(models: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[wb.Server]:
    with pytest.MonkeyPatch.context() as patch:
        for name in ("JUPYTER_RUNTIME_DIR", "JUPYTER_DATA_DIR"):
            patch.setenv(name, str(tmp_path_factory.mktemp(name.lower())))
        with wb.serve(models / "half_plus_two", name="half") as server:
            server.publish(models / "half_plus_three")
            yield server


@pytest.fixture
def data(tmp_path: Path) -> Path:
    np.save(tmp_path / "x.npy", X)
    np.save(tmp_path / "y.npy", X / 2 + 2)
    return tmp_path


def test_words_and_a_figure(
    half: wb.Server, data: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    figure = data / "figure.png"
    code = main(
        ["compare-versions", "1", "2", "half", "--data", f"{data}/x.npy", "--pairs", "11",
         "--labels", f"{data}/y.npy", "--plot", str(figure)]
    )  # fmt: skip
    said = capsys.readouterr().out
    assert code == 0
    assert said.startswith(
        "Versions 1 and 2 of half\n"
        "Both versions give the same answer for 0 of 50 examples (0.00%).\n"
        "Output y differs by at most 1 (mean 1).\n"
    )
    assert "and 1 for version 2." in said
    assert figure.read_bytes()[:8] == b"\x89PNG\r\n\x1a\n"


def test_json_and_a_gate(half: wb.Server, data: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (data / "x.json").write_text(json.dumps(X.tolist()))
    np.savez(data / "x.npz", x=X)
    for file in ("x.json", "x.npz"):
        arguments = ["1", "2", "half", "--data", f"{data}/{file}", "--pairs", "11", "--json"]
        assert main(["compare-versions", *arguments]) == 0
        assert json.loads(capsys.readouterr().out)["agreement"] == 0.0
    arguments = ["1", "2", "half", "--data", f"{data}/x.npy", "--pairs", "11", "--at-least", "0.9"]
    assert main(["compare-versions", *arguments]) == 1
    assert (
        capsys.readouterr()
        .out.splitlines()[-1]
        .startswith("Versions 1 and 2 agree on 0.00% of the examples, less than 90.00%; ")
    )


def test_settings_of_a_comparison(
    half: wb.Server, data: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = ["1", "2", "half", "--data", f"{data}/x.npy", "--pairs", "11", "--json"]
    settings = ["--output", "y", "--signature", "serving_default", "--alpha", "0.05"]
    assert main(["compare-versions", *arguments, *settings, "--margin", "0.5"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert (found["latency"]["alpha"], found["latency"]["margin"]) == (0.05, 0.5)
    assert (found["answer"], "inputs" in found) == ("y", False)
    assert main(["compare-versions", *arguments, "--output", "z"]) == 1
    assert "There is no output 'z' in both versions; there are: y" in capsys.readouterr().err
    # It was kept.
    assert main(["history", "1", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["model"] == "half"
    assert main(["history", "1"]) == 0
    assert capsys.readouterr().out.startswith(
        "Versions 1 and 2 of half\nBoth versions give the same"
    )


def test_transitions(
    half: wb.Server, models: Path, data: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    figure = data / "transitions.png"
    (data / "one.json").write_text("[1.0]")
    code = main(
        ["compare-transitions", str(models / "half_plus_two"), "half", "--data",
         f"{data}/one.json", "--repeats", "1", "--plot", str(figure), "--json", "--arrivals",
         "constant", "--rate", "120", "--lead", "0.4", "--disk", "cold", "--precision", "0.2"]
    )  # fmt: skip
    found = json.loads(capsys.readouterr().out)
    assert code == 0
    assert {run["policy"]: run["failed requests"] > 0 for run in found["runs"]} == {
        "smooth": False,
        "unload_first": True,
        "unload_first+hold": False,
        "staged": True,
    }
    assert (found["load"]["kind"], found["rate"], found["disks"]) == ("constant", 120, ["cold"])
    assert "recording" not in found["runs"][0]
    assert figure.read_bytes()[:8] == b"\x89PNG\r\n\x1a\n"
    assert half.versions.available == [2]


def test_a_file_that_is_no_array(
    half: wb.Server, data: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (data / "words.npy").write_text("words")
    assert main(["compare-versions", "1", "2", "half", "--data", f"{data}/words.npy"]) == 1
    assert f"{data}/words.npy cannot be read: " in capsys.readouterr().err
