"""`workbench lab` as a process: JupyterLab on the quickstart, an example beside it, its end."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
import uuid
from collections.abc import Callable
from pathlib import Path

import pytest

import workbench as wb
from tests.children import WITH_TEST
from workbench.cli.labs.lab_command import (
    EXAMPLE,
    QUICKSTART,
    _quickstart,
    _serve_example,
    _stop_example,
    _train,
)
from workbench.cli.main import main
from workbench.core.status import ServingError
from workbench.samples import labs

pytestmark = pytest.mark.timeout(240)

MARK = "WORKBENCH_LAB_TEST"
NOTEBOOKS = Path(__file__).parents[2] / "notebooks"
_START_SECONDS = 150.0
_GONE_SECONDS = 20.0


def until(holds: Callable[[], bool], what: str, seconds: float, log: Path) -> None:
    end = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < end, f"waited {seconds} s until {what}:\n{log.read_text()}"
        time.sleep(0.1)


def status_of(url: str) -> int:
    try:
        with urllib.request.urlopen(url, timeout=10) as answer:
            return int(answer.status)
    except urllib.error.HTTPError as error:
        error.close()
        return error.code
    except OSError:
        return 0


def test_lab_serves_the_quickstart_and_an_example_and_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    mark, runtime, log = uuid.uuid4().hex, tmp_path / "runtime", tmp_path / "lab.log"
    (tmp_path / "files" / "notebooks").mkdir(parents=True)
    shutil.copy(NOTEBOOKS / QUICKSTART, tmp_path / "files" / "notebooks")
    with socket.create_server(("127.0.0.1", 0)) as sock:
        port = sock.getsockname()[1]
    homes = {
        name: str(tmp_path / name.lower())
        for name in ("HOME", "JUPYTER_CONFIG_DIR", "JUPYTER_DATA_DIR", "IPYTHONDIR")
    }
    monkeypatch.setenv("JUPYTER_RUNTIME_DIR", str(runtime))
    for folder in (*homes.values(), str(tmp_path / "temporary")):
        Path(folder).mkdir()
    with (
        log.open("wb") as output,
        subprocess.Popen(
            [*WITH_TEST, sys.executable, "-m", "workbench.cli.main", "lab", "--no-browser",
             "--port", str(port), "--folder", str(tmp_path / "files")],
            env={**os.environ, **homes, MARK: mark, "TMPDIR": str(tmp_path / "temporary")},
            stdout=output,
            stderr=output,
        ) as process,
    ):  # fmt: skip
        try:
            # The token is in a file that only its user can read.
            until(lambda: bool(list(runtime.glob("jpserver-*.json"))), "it runs", 60, log)
            page = f"http://127.0.0.1:{port}/lab/tree/notebooks/{QUICKSTART}"
            until(lambda: status_of(page + token(runtime)) == 200, "its page is there", 60, log)
            assert f"127.0.0.1:{port}/lab/tree/notebooks/{QUICKSTART}?token=" in log.read_text()

            until(answers, "the example answers", _START_SECONDS, log)
            until(
                lambda: "Press Ctrl-C to stop JupyterLab and the example." in log.read_text(),
                "it says so",
                10,
                log,
            )
            assert [server.name for server in wb.servers()] == [EXAMPLE]
            # The example was trained in a process that has ended.
            assert "tensorflow" not in Path(f"/proc/{process.pid}/maps").read_text()

            # A second one on the same port is refused, and changes nothing of the first.
            again = ["lab", "--no-browser", "--folder", str(tmp_path / "files")]
            assert main([*again, "--port", str(port)]) == 1
            assert capsys.readouterr().err == (
                f"workbench: Port {port} cannot be used (Address already in use): choose another "
                "with --port, or leave --port out\n"
            )
            # One on another port shows the example, and does not end it.
            assert _serve_example(process).splitlines() == [  # type: ignore[arg-type]
                f"{EXAMPLE} is served already, at {wb.connect(EXAMPLE).address}: this JupyterLab "
                "shows it, and leaves it running.",
                "Press Ctrl-C to stop JupyterLab.",
            ]
            _stop_example()
            assert wb.connect(EXAMPLE).versions.available == [1]
            process.send_signal(signal.SIGTERM)
            assert process.wait(60) == 0, log.read_text()
        finally:
            process.kill()
            gone = tmp_path / "gone.log"
            gone.write_text("")
            until(lambda: marked(mark) == {}, "no process is left", _GONE_SECONDS, gone)
    assert {p.name for p in runtime.iterdir()} <= {"jupyter_cookie_secret"}
    assert os.listdir(tmp_path / "temporary") == []


def token(runtime: Path) -> str:
    """The query with the running JupyterLab's token."""
    for path in runtime.glob("jpserver-*.json"):
        try:
            return f"?token={json.loads(path.read_text())['token']}"
        except ValueError:
            pass  # It is written just now.
    return ""


def answers() -> bool:
    try:
        return wb.connect(EXAMPLE).predict([[0.0] * 64]).shape == (1, 10)  # type: ignore[union-attr]
    except ServingError:
        return False


def marked(mark: str) -> dict[int, str]:
    """All living processes with our mark in their environment, with their command lines."""
    found = {}
    for pid in filter(str.isdigit, os.listdir("/proc")):
        try:
            if f"{MARK}={mark}".encode() in Path(f"/proc/{pid}/environ").read_bytes().split(b"\0"):
                line = Path(f"/proc/{pid}/cmdline").read_bytes()
                found[int(pid)] = line.replace(b"\0", b" ").decode()
        except OSError:
            continue
    return found


def test_a_folder_without_the_quickstart(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(labs, "PACKAGE", tmp_path / "workbench")
    assert main(["lab", "--no-browser", "--folder", str(tmp_path)]) == 1
    assert capsys.readouterr().err == (
        f"workbench: This installation has no {QUICKSTART}: install serving-workbench again, or "
        "give the folder of a clone of the project with --folder\n"
    )
    # One that is installed brings all along, and the reader works on copies.
    shipped = tmp_path / "workbench" / "notebooks"
    shipped.mkdir(parents=True)
    for name in (QUICKSTART, "01-one.ipynb", "README.md"):
        (shipped / name).write_text("{}")
    mine = tmp_path / "notebooks" / "01-one.ipynb"
    mine.parent.mkdir()
    mine.write_text("mine")
    assert _quickstart(tmp_path) == tmp_path / "notebooks" / QUICKSTART
    assert sorted(os.listdir(tmp_path / "notebooks")) == [QUICKSTART, "01-one.ipynb", "README.md"]
    assert mine.read_text() == "mine"


def test_a_source_tree_brings_its_labs_to_any_folder(tmp_path: Path) -> None:
    assert _quickstart(tmp_path) == tmp_path / "notebooks" / QUICKSTART
    assert {path.name for path in NOTEBOOKS.glob("*.ipynb")} < set(
        os.listdir(tmp_path / "notebooks")
    )


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--port", "99999999"],
         "--port must be a number from 1 to 65535; was 99999999: choose another with --port, or "
         "leave --port out"),
        (["--port", "0"],
         "--port must be a number from 1 to 65535; was 0: choose another with --port, or leave "
         "--port out"),
        (["--folder", "/no/where"],
         "There is no folder /no/where: make it, or give another one with --folder"),
    ],
)  # fmt: skip
def test_wrong_arguments_are_refused_before_anything_starts(
    arguments: list[str],
    message: str,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.delattr(subprocess, "Popen")
    assert main(["lab", "--no-browser", *arguments]) == 1
    assert capsys.readouterr() == ("", f"workbench: {message}\n")


def test_a_jupyterlab_that_ends_keeps_no_example_waiting(tmp_path: Path) -> None:
    with subprocess.Popen([sys.executable, "-c", ""]) as ended:
        ended.wait()
    assert _train(tmp_path, ended) is None


def test_an_example_that_cannot_be_trained_says_why(tmp_path: Path) -> None:
    (tmp_path / EXAMPLE).mkdir()  # in its way
    with subprocess.Popen(["sleep", "60"]) as lab:
        try:
            with pytest.raises(ServingError, match="cannot be trained: FileExistsError"):
                _train(tmp_path, lab)
        finally:
            lab.kill()


def test_labs_are_listed_with_a_tick_for_those_that_were_run(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["labs", "--folder", str(tmp_path)]) == 1
    assert "There are no labs in" in capsys.readouterr().err

    def write(name: str, title: str, count: int | None, outputs: list[dict[str, str]]) -> None:
        code = {"cell_type": "code", "execution_count": count, "outputs": outputs, "source": []}
        first = {"cell_type": "markdown", "source": [f"# {title}\n", "text"]}
        (tmp_path / name).write_text(json.dumps({"cells": [first, code]}))

    write(QUICKSTART, "Quickstart", 4, [{"output_type": "stream"}])
    write("01-one.ipynb", "One", None, [])
    write("02-two.ipynb", "Two", 7, [{"output_type": "error"}])
    (tmp_path / "03-three.ipynb").write_text("{")
    assert main(["labs", "--folder", str(tmp_path)]) == 0
    assert capsys.readouterr().out == (
        "[x] 00  Quickstart\n[ ] 01  One\n[ ] 02  Two\n[ ] 03  03-three.ipynb cannot be read\n"
    )


def test_the_list_of_labs_names_each() -> None:
    text = (NOTEBOOKS / "README.md").read_text()
    assert re.findall(r"\((\d\d-.*?\.ipynb)\)", text) == [
        path.name for path in sorted(NOTEBOOKS.glob("*.ipynb"))
    ]
