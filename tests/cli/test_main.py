"""The `workbench` command, in this process against a detached server, and in one of its own."""

from __future__ import annotations

import io
import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

import workbench as wb
from workbench.cli.main import main
from workbench.core.status import Code, ServingError

Output = pytest.CaptureFixture[str]


@pytest.fixture(scope="module")
def runtime(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    folder = tmp_path_factory.mktemp("runtime")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("JUPYTER_RUNTIME_DIR", str(folder))
        yield folder


@pytest.fixture(scope="module")
def served(runtime: Path, models: Path) -> Iterator[wb.Server]:
    """A server that the command itself has started and left running."""
    path = str(models / "half_plus_two")
    assert main(["serve", path, "--name", "half", "--detach", "--transition", "unload_first"]) == 0
    with wb.connect("half") as server:
        yield server


def run(capsys: Output, *arguments: str) -> tuple[int, str, str]:
    """Exit code, standard output, standard error."""
    capsys.readouterr()
    code = main(arguments)
    return code, *capsys.readouterr()


def rejected(capsys: Output, *arguments: str) -> tuple[object, str]:
    """Exit code and last line of what a wrong call is told."""
    with pytest.raises(SystemExit) as ended:
        run(capsys, *arguments)
    return ended.value.code, capsys.readouterr().err.splitlines()[-1]


# Serving.


def test_serving_the_same_again_reuses_it(capsys: Output, served: wb.Server, models: Path) -> None:
    path = str(models / "half_plus_two")
    assert run(capsys, "serve", path, "--name", "half", "--detach") == (
        0,
        f"Reusing half at {served.url}: it runs already and the model is the same\n"
        "Stop it with: workbench stop half\n",
        "",
    )
    assert served.control.entry().owner is None
    assert served.transition == "unload_first"


def test_serving_what_breaks_callers_asks(capsys: Output, served: wb.Server, models: Path) -> None:
    again = ("serve", str(models / "text"), "--name", "half", "--detach")
    code, _, err = run(capsys, *again)
    assert code == 1
    assert err.startswith("workbench: Version 2 of half would break the callers of version 1: ")
    assert err.endswith(": give it another name with --name, or add --allow-signature-change\n")
    assert list(served.describe_versions()) == [1]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["/no/such/path"],
         "There is no /no/such/path: give the path of a SavedModel, of a .keras file, or of a "
         "folder of numbered versions"),
        (["gs://bucket/digits"],
         "The model's path, gs://bucket/digits, is not a folder of this machine, and gs:// is not "
         "read here: copy it with `gcloud storage rsync --recursive gs://bucket/digits FOLDER`, or "
         "mount its bucket with gcsfuse, and give the path of that folder"),
        (["/", "--name", "a b"],
         "Server name 'a b' cannot be used: it needs 1 to 64 letters, digits, '.', '_' or '-', and "
         "must begin with a letter or digit; 'a-b' can be used"),
        (["/no", "--port", "99999"],
         "Setting 'port' must be a number from 1 to 65535, or 0 to let the system choose; was "
         "99999"),
        (["/no", "--transition", "abrupt"],
         "Unknown transition 'abrupt': use one of availability_preserving, resource_preserving, "
         "resource_preserving+hold, smooth, staged, staged+hold, unload_first, unload_first+hold"),
        (["/no", "--batching", '{"size": 1}'],
         "Unknown batching parameter 'size'; the parameters are max_batch_size, "
         "batch_timeout_micros, max_enqueued_batches, num_batch_threads, allowed_batch_sizes, "
         "pad_variable_length_inputs, enable_large_batch_splitting, max_execution_batch_size"),
    ],
)  # fmt: skip
def test_what_cannot_be_served(
    capsys: Output, runtime: Path, arguments: list[str], message: str
) -> None:
    assert run(capsys, "serve", *arguments) == (1, "", f"workbench: {message}\n")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--versions", "new"],
         "workbench serve: error: argument --versions: 'new' is neither a number, nor 'all', nor a "
         "list like 1,3"),
        (["--batching", "{"],
         "workbench serve: error: argument --batching: not JSON: Expecting property name enclosed "
         "in double quotes: line 1 column 2 (char 1)"),
        (["--batching", "5"],
         "workbench serve: error: argument --batching: not a JSON object"),
        (["--port", "x"],
         "workbench serve: error: argument --port: invalid int value: 'x'"),
    ],
)  # fmt: skip
def test_a_wrong_call(capsys: Output, arguments: list[str], message: str) -> None:
    assert rejected(capsys, "serve", "/models", *arguments) == (2, message)


def test_no_command_and_the_version(capsys: Output) -> None:
    assert rejected(capsys) == (
        2,
        "workbench: error: the following arguments are required: COMMAND",
    )
    with pytest.raises(SystemExit) as ended:
        main(["--version"])
    assert (ended.value.code, capsys.readouterr().out) == (0, f"{wb.__version__}\n")


# Looking.


def test_list(capsys: Output, served: wb.Server) -> None:
    code, out, err = run(capsys, "list")
    assert (code, err) == (0, "")
    head, row = out.splitlines()
    assert re.split(r"  +", head) == ["NAME", "ADDRESS", "VERSIONS"]
    assert re.split(r"  +", row) == ["half", served.address, "1 AVAILABLE"]
    code, out, _ = run(capsys, "list", "--json")
    assert json.loads(out) == [{"name": "half", "url": served.address, "versions": "1 AVAILABLE"}]


def test_a_server_that_does_not_answer_hides_no_other(
    capsys: Output, served: wb.Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Dead:
        name = "dead"

        @property
        def versions(self) -> Any:
            raise ServingError(Code.UNAVAILABLE, "Server 'dead' does not answer")

    monkeypatch.setattr("workbench.cli.servers.list_command.servers", lambda: [Dead(), served])
    code, out, err = run(capsys, "list", "--json")
    assert (code, err) == (0, "workbench: Server 'dead' does not answer\n")
    assert [row["name"] for row in json.loads(out)] == ["half"]


def test_nothing_to_list(capsys: Output, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("JUPYTER_RUNTIME_DIR", str(tmp_path))
    none = "No server is running: start one with `workbench serve PATH`\n"
    assert run(capsys, "list") == (0, none, "")
    assert run(capsys, "list", "--json") == (0, "[]\n", "")
    assert run(capsys, "stop", "--all") == (0, "", "")
    for command in ("status", "stop"):
        assert run(capsys, command) == (
            1,
            "",
            f"workbench: {none}",
        )


def test_status(capsys: Output, served: wb.Server) -> None:
    code, out, err = run(capsys, "status", "half")
    assert (code, err) == (0, "")
    title, blank, model, head, row = out.splitlines()
    assert (title, blank) == (f"half at {served.address}", "")
    assert model == f"half: {served.base_path}, unload_first"
    assert re.split(r"  +", head) == ["VERSION", "STATE", "MEMORY", "LOADED IN", "ERROR"]
    assert re.fullmatch(r"1        AVAILABLE  \d+ MB +\d+\.\d\d s", row)
    code, out, _ = run(capsys, "status", "--json")
    assert json.loads(out)["models"][0]["name"] == "half"
    assert run(capsys, "status", "--token") == (0, f"{served.token}\n", "")


def test_status_shows_what_is_wrong(
    capsys: Output, served: wb.Server, models: Path, tmp_path: Path
) -> None:
    (tmp_path / "7").mkdir()
    settings = {"base_path": str(tmp_path)}
    served.control.put_model("empty", settings)
    served.control.wait("empty", 0.5)
    served.transition = "smooth"
    with pytest.raises(ServingError):
        served.publish(models / "bad_graph")
    try:
        _, out, _ = run(capsys, "status", "half")
        assert re.search(r"^2 +END +NOT_FOUND: Op type not registered 'NoSuch", out, re.MULTILINE)
        assert re.search(r"^1 +AVAILABLE ", out, re.MULTILINE)
        assert re.search(r"^7 +waiting +the folder is empty$", out, re.MULTILINE)
    finally:
        served.rollback()
        served.transition = "unload_first"
        served.control.delete_model("empty")


def test_a_name_that_is_not_running(capsys: Output, served: wb.Server) -> None:
    message = "workbench: No server named 'no' is running (running: half)\n"
    assert run(capsys, "status", "no") == (1, "", message)
    assert run(capsys, "stop", "no") == (1, "", message)
    assert run(capsys, "predict", "no", "-d", "1") == (1, "", message)


# Asking.


def test_predict(
    capsys: Output, served: wb.Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert run(capsys, "predict", "half", "-d", "[1, 2.0]") == (0, "[2.5, 3.0]\n", "")
    assert run(capsys, "predict", "-d", '{"x": [1]}', "--model-version", "1") == (0, "[2.5]\n", "")
    data = tmp_path / "data.json"
    data.write_text("[4.0]")
    assert run(capsys, "predict", "-d", f"@{data}") == (0, "[4.0]\n", "")
    monkeypatch.setattr(sys, "stdin", io.StringIO("[6.0]"))
    assert run(capsys, "predict", "-d", "-") == (0, "[5.0]\n", "")
    served.labels = {"stable": 1}
    assert run(capsys, "predict", "-d", "[1]", "--label", "stable") == (0, "[2.5]\n", "")
    inputs = '{"inputs": [""]}'
    told = run(capsys, "predict", "-d", inputs, "--signature", "classify_x_to_y")
    assert told == (0, "[[2.0]]\n", "")


def test_text_is_printed_as_text(
    capsys: Output, served: wb.Server, models: Path, tmp_path: Path
) -> None:
    with another(served, models / "text", tmp_path):
        code, out, _ = run(capsys, "predict", "-d", '["abc", "é"]')
        assert (code, json.loads(out)) == (0, {"length": [3, 2], "upper": ["ABC", "é"]})


def test_records_and_numbers_that_json_lacks(
    capsys: Output, served: wb.Server, models: Path, tmp_path: Path
) -> None:
    with another(served, models / "multi", tmp_path / "multi"):
        records = '[{"b": 1, "a": [1, 2]}, {"a": [3, 4], "b": 2}]'
        code, out, _ = run(capsys, "predict", "-d", records)
        assert (code, json.loads(out)["sum"]) == (0, [[2.0, 3.0], [5.0, 6.0]])
    with another(served, models / "identity", tmp_path / "identity"):
        asked = run(capsys, "predict", "-d", "[1]", "--signature", "complex64")
        assert asked == (0, '["(1+0j)"]\n', "")


@contextmanager
def another(served: wb.Server, export: Path, base: Path) -> Iterator[None]:
    """Another model on the same server, which the commands ask meanwhile."""
    base.mkdir(exist_ok=True)
    (base / "1").symlink_to(export)
    model = wb.Server("half", export.name)
    served.control.put_model(model.model, {"base_path": str(base)})
    served.control.poll(model.model, [1])
    model.wait_for(1)
    try:
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr("workbench.cli.servers.predict_command.connect", lambda name: model)
            yield
    finally:
        served.control.delete_model(model.model)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["-d", "["], "the data is not JSON: Expecting value: line 1 column 2 (char 1)"),
        (["-d", "@/no/file"], "/no/file: No such file or directory"),
        (["-d", '["a"]'], "Input 'x' must be numbers (float[?]), not text such as 'a': convert "
         "it to numbers first"),
        (["-d", "[[1]]"], "Input 'x' (float[?]) cannot have the shape (1, 1): it has one dimension "
         "too many, remove the outermost pair of brackets"),
        (["-d", "[1]", "--model-version", "9"],
         "Servable not found for request: Specific(half, 9); the versions of half are: "
         "2 failed, 1 AVAILABLE"),
        (["-d", "[1]", "--label", "no"], "Unrecognized servable version label: no; the labels of "
         "half are: stable (1)"),
    ],
)  # fmt: skip
def test_a_question_that_is_wrong(
    capsys: Output, served: wb.Server, arguments: list[str], message: str
) -> None:
    assert run(capsys, "predict", "half", *arguments) == (1, "", f"workbench: {message}\n")


# In a process of its own.


# A shell lets the jobs that it runs in the background ignore Ctrl-C, and their children with them.
IN_FRONT = """
import signal, sys
from workbench.cli.main import main
signal.signal(signal.SIGINT, signal.default_int_handler)
sys.exit(main())
"""


def command(*arguments: str, **settings: Any) -> subprocess.Popen[str]:
    return subprocess.Popen([sys.executable, "-c", IN_FRONT, *arguments], text=True, **settings)


def test_a_reader_that_has_seen_enough(served: wb.Server) -> None:
    read, write = os.pipe()
    os.close(read)
    with command("status", "--json", stdout=write, stderr=subprocess.PIPE) as process:
        os.close(write)
        assert process.communicate(timeout=30) == (None, "")
        assert process.returncode == 1


def test_serving_until_ctrl_c(runtime: Path, models: Path) -> None:
    with command(
        "serve", str(models / "half_plus_two"), "--name", "front", "--no-token",
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, start_new_session=True,
    ) as process:  # fmt: skip
        assert process.stdout is not None
        first = process.stdout.readline()
        server = wb.connect("front")
        assert first == f"Serving front at {server.url}\n"
        assert process.stdout.readline() == "Press Ctrl-C to stop it.\n"
        while "Successfully loaded servable version {name: front version: 1}" not in first:
            first = process.stdout.readline()
            assert first
        # Its server process dies and comes back, and its events go on.
        server.control.entry().server.kill()
        while "Successfully loaded servable version {name: front version: 1}" not in (
            first := process.stdout.readline()
        ):
            assert first
        # As a terminal does: to every process in its foreground.
        os.killpg(process.pid, signal.SIGINT)
        _, err = process.communicate(timeout=30)
        assert (process.returncode, err) == (130, "")
    assert not server.running
    assert [name for name in os.listdir(runtime) if "front" in name] == []


def test_stop(capsys: Output, runtime: Path, models: Path) -> None:
    """The last test: it ends what the others have used."""
    wb.serve(models / "half_plus_two", "half", detach=True)
    assert run(capsys, "stop", "half") == (0, "Stopped half\n", "")
    assert wb.servers() == []
    assert os.listdir(runtime) == []
