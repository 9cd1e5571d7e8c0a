"""`workbench sweep | tune | load | record-traffic | history` on a real server."""

from __future__ import annotations

import argparse
import json
import math
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import workbench as wb
from workbench.cli.experiments import COMMANDS
from workbench.core.status import ServingError
from workbench.experiments.sweep.sweep_result import SweepResult
from workbench.experiments.traffic.recorded_traffic import Traffic
from workbench.experiments.tuning.tune_result import TuneResult


@pytest.fixture(scope="module")
def digits(models: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[wb.Server]:
    with pytest.MonkeyPatch.context() as patch:
        for name in ("JUPYTER_RUNTIME_DIR", "JUPYTER_DATA_DIR"):
            patch.setenv(name, str(tmp_path_factory.mktemp(name.lower())))
        with wb.serve(models / "digits", name="digits", num_batch_threads=2) as server:
            yield server


def run(*words: str) -> int:
    parser = argparse.ArgumentParser()
    commands = parser.add_subparsers(required=True)
    for command in COMMANDS:
        command.add(commands)
    arguments = parser.parse_args(words)
    code: int = arguments.command(arguments)
    return code


def printed(capsys: pytest.CaptureFixture[str]) -> Any:
    return json.loads(capsys.readouterr().out, parse_constant=pytest.fail)


def by_number(data: dict[str, Any]) -> dict[str, Any]:
    return {"number": data.pop("number"), "data": data}


def test_sweep_writes_json_a_figure_and_history(
    digits: wb.Server, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    figure = tmp_path / "sweep.png"

    code = run(
        "sweep", "digits", "--timeout", "0,1000", "--size", "8", "--rate", "200",
        "--seconds", "0.3", "--plot", str(figure), "--json",
    )  # fmt: skip

    assert code == 0
    data = printed(capsys)
    number = data.pop("number")
    result = SweepResult.from_json(data, number)
    assert [p.parameters["batch_timeout_micros"] for p in result.points] == [0, 1000]
    assert figure.read_bytes().startswith(b"\x89PNG")

    assert run("history", "--json") == 0
    assert [entry["number"] for entry in printed(capsys)] == [number]
    again = tmp_path / "again.svg"
    assert run("history", str(number), "--plot", str(again), "--json") == 0
    assert SweepResult.from_json(**by_number(printed(capsys))) == result
    assert "<svg" in again.read_text()


def test_tables_for_people(digits: wb.Server, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("sweep", "--clients", "2", "--seconds", "0.2") == 0
    title, finding, head = capsys.readouterr().out.splitlines()[:3]
    assert title.startswith("Sweep of digits, version 1: 1 point, engine, closed loop, ")
    assert finding.endswith(".")
    assert head.split() == [
        "batch_timeout_micros", "max_batch_size", "num_batch_threads", "clients",
        "achieved_per_s", "p50_ms", "p99_ms", "batch_rows", "rejected", "failed", "verdict",
    ]  # fmt: skip
    assert run("history") == 0
    assert capsys.readouterr().out.splitlines()[0].split() == [
        "NUMBER", "KIND", "MODEL", "SAVED", "RESULT",
    ]  # fmt: skip


@pytest.mark.parametrize("load", [("--rate", "200"), ("--clients", "2")])
def test_load_measures_the_server_as_it_is_set(
    digits: wb.Server, capsys: pytest.CaptureFixture[str], load: tuple[str, str]
) -> None:
    assert run("load", "digits", *load, "--seconds", "0.3", "--json") == 0
    result = SweepResult.from_json(**by_number(printed(capsys)))
    (point,) = result.points
    assert point.load == {load[0][2:]: float(load[1])}
    assert point.slots == 2
    assert point.samples > 10
    assert len(point.distribution) == point.samples
    if load[0] == "--rate":
        # So few samples that intervals have no upper bound, which JSON has no word for.
        assert math.isinf(point.latency["p99"].high)

    assert run("load", *load, "--seconds", "0.2") == 0
    loop = {"--rate": "open loop, poisson", "--clients": "closed loop"}[load[0]]
    assert capsys.readouterr().out.startswith(f"engine, {loop}: offered ")
    # Both were kept.
    assert run("history", "--json") == 0
    assert [entry["kind"] for entry in printed(capsys)[:2]] == ["load", "load"]
    assert wb.load_experiment(result.number or 0) == result


def test_traffic_is_recorded_shown_and_replayed(
    digits: wb.Server, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    asking = threading.Event()

    def ask() -> None:
        while not asking.is_set():
            digits.predict([[0.0] * 64] * 3)

    thread = threading.Thread(target=ask)
    thread.start()
    file, figure = tmp_path / "traffic.csv", tmp_path / "traffic.svg"
    try:
        command = ("record-traffic", "digits", "--seconds", "0.5", "--out", str(file))
        assert run(*command, "--plot", str(figure), "--json") == 0
    finally:
        asking.set()
        thread.join()
    kept = printed(capsys)
    traffic = Traffic.load(file)
    assert set(traffic.rows) == {3}
    assert len(traffic) == len(Traffic.from_json(**by_number(kept)))
    assert "<svg" in figure.read_text()
    assert run("history", str(wb.history().index[0])) == 0
    assert capsys.readouterr().out.startswith(f"{len(traffic)} requests to digits in 0.5 s: ")

    assert run("load", "--replay", str(file), "--speed", "0.5", "--json") == 0
    result = SweepResult.from_json(**by_number(printed(capsys)))
    (point,) = result.points
    assert (result.arrivals, point.load["speed"], point.rows) == ("replay", 0.5, 3)
    assert point.seconds == pytest.approx(1.0)
    with pytest.raises(ServingError, match=r"a \.json or \.csv file; the file was traffic\.txt"):
        run("record-traffic", "--seconds", "60", "--out", "traffic.txt")


@pytest.mark.slow
def test_tune_prints_json_and_history_draws_it(
    digits: wb.Server, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run("tune", "digits", "--p99-ms", "0.0001", "--rate", "50", "--json") == 1
    tuned = TuneResult.from_json(**by_number(printed(capsys)))
    assert (tuned.meets, tuned.applied, len(tuned.measured)) == (False, False, 1)
    assert tuned.number is not None

    figure = tmp_path / "tune.svg"
    assert run("history", str(tuned.number), "--plot", str(figure)) == 0
    assert "<svg" in figure.read_text()
    sentence, head = capsys.readouterr().out.splitlines()[:2]
    assert sentence.startswith("No setting is known that meets 0.0001 ms at 50 requests/s; ")
    assert "predicted_p99_ms" in head


def test_history_draws_a_calibration_too(
    digits: wb.Server, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    number = digits.calibrate(max_batch_size=2, seconds=0.3).number
    figure = tmp_path / "calibration.svg"
    assert run("history", str(number), "--plot", str(figure)) == 0
    assert "<svg" in figure.read_text()
    sentence, head = capsys.readouterr().out.splitlines()[:2]
    assert sentence.startswith("Calibration of digits, version 1: with 2 in flight, a batch of 1 ")
    assert head.split() == [
        "in_flight", "rows", "p10_ms", "p50_ms", "p90_ms",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("load",), "one of the arguments --rate --clients --replay is required"),
        (
            ("sweep", "--rate", "1", "--clients", "2"),
            "argument --clients: not allowed with argument --rate",
        ),
        (
            ("sweep", "--rate", "1,x"),
            "argument --rate: '1,x' is not a comma-separated list of numbers (for example "
            "1,10,100)",
        ),
        (("tune", "--rate", "5"), "the following arguments are required: --p99-ms"),
    ],
)
def test_wrong_calls_are_refused(
    words: tuple[str, ...], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit):
        run(*words)
    assert capsys.readouterr().err.endswith(f"error: {message}\n")
