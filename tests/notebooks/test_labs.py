"""The labs run from top to bottom in a kernel of their own, and say what their text promises.

What is asserted is what came of it, never how fast. The executed pages, their figures included,
are kept in `out/notebooks`.
"""

from __future__ import annotations

import re
import shutil
from pathlib import Path

import nbformat
import pytest
from nbclient import NotebookClient

from tests.notebooks.test_quickstart import outputs, text

NOTEBOOKS = Path(__file__).parents[2] / "notebooks"
KEPT = Path(__file__).parents[2] / "out" / "notebooks"
TRANSITIONS = "04-smooth-or-unload-first.ipynb"
VERSIONS = "10-comparing-versions.ipynb"


def execute(name: str, folder: Path) -> nbformat.NotebookNode:
    shutil.copy(NOTEBOOKS / name, folder)
    notebook = nbformat.read(folder / name, as_version=4)
    with pytest.MonkeyPatch.context() as patch:
        for variable in ("JUPYTER_RUNTIME_DIR", "JUPYTER_DATA_DIR"):
            (folder / variable).mkdir()
            patch.setenv(variable, str(folder / variable))
        patch.setenv("JUPYTER_PATH", str(NOTEBOOKS.parent / "data"))
        patch.delenv("JPY_PARENT_PID", raising=False)
        NotebookClient(notebook, timeout=100, resources={"metadata": {"path": folder}}).execute()
    KEPT.mkdir(parents=True, exist_ok=True)
    nbformat.write(notebook, KEPT / name)
    return notebook


def assert_revealed(notebook: nbformat.NotebookNode) -> None:
    """The question was answered: there is a verdict, and a figure of both curves."""
    verdict = r"(You predicted it well|The shape is right|It behaves differently).*: the mean error"
    assert re.search(verdict, text(notebook, "my_guess = ")), text(notebook, "my_guess = ")
    assert "image/png" in outputs(notebook, "my_guess = ")[-1].data


@pytest.mark.slow
@pytest.mark.timeout(200)
def test_serve_and_call(tmp_path: Path) -> None:
    executed = execute("01-serve-and-call.ipynb", tmp_path)
    assert_revealed(executed)
    assert text(executed, "answer = server.predict") == (
        "the model says [2 0 4] and the labels are [2 0 4]\n"
    )
    assert text(executed, "urllib.request\n\n") == "most likely digit: 2\n"
    refused = text(executed, "without a token")
    assert refused.startswith("without a token: 401 This server needs its bearer token")
    assert refused.endswith("another model:   404 Servable not found for request: Latest(lab99)\n")
    assert text(executed, "stub.Predict") == "most likely digit: 2, answered by version 1\n"
    assert text(executed, "np.allclose") == (
        "Python and gRPC agree: True\nPython and REST agree: True\n"
    )
    assert re.search(
        r"^1\. \d+ of 100 are right\n2\. 404 .*\n3\. AVAILABLE\n$", text(executed, "right = (")
    )
    secret = re.compile(r"Bearer [\w-]{20,}")
    assert not secret.search(nbformat.writes(executed))


@pytest.mark.slow
@pytest.mark.timeout(200)
def test_saved_models_and_versions(tmp_path: Path) -> None:
    executed = execute("02-saved-models-and-versions.ipynb", tmp_path)
    assert_revealed(executed)
    assert "best takes" in text(executed, "signatures.items()")
    lacked = text(executed, "in lacking.items()").splitlines()
    assert [line.rpartition("lacked: ")[2] == "nothing" for line in lacked] == [
        *(False, False, False),
        True,
    ]
    assert "have changed: False" in text(executed, "have changed")
    assert text(executed, "version=2") == (
        "INVALID_ARGUMENT - Version 2 of lab02 was served already, though its folder is gone: a "
        "version never changes its contents; publish the next one\n"
    )
    assert text(executed, "coming = ") == (
        "2. served now: [2] - a name that is no number is not looked at\n"
        "3. served then: [3] - by default the latest only\n"
    )


@pytest.mark.slow
@pytest.mark.timeout(200)
def test_what_the_manager_does(tmp_path: Path) -> None:
    executed = execute("03-what-the-manager-does.ipynb", tmp_path)
    assert_revealed(executed)
    assert text(executed, "nobody answers in") == (
        "smooth: at most 2 in memory, nobody answers in 0 of 7 lines\n"
        "unload_first: at most 1 in memory, nobody answers in 5 of 7 lines\n"
    )
    assert text(executed, "the server decided") == (
        "the server decided: ['load 2', 'unload 1']\nyou decided:        ['load 2', 'unload 1']\n"
    )
    assert "Successfully loaded servable version" in text(executed, "event.line")
    assert text(executed, "HarnessState").splitlines()[-2:] == [
        "2. smooth: answers after the failure: [1]",
        "2. unload_first: answers after the failure: nobody",
    ]


@pytest.mark.slow
@pytest.mark.timeout(200)
def test_rolling_back(tmp_path: Path) -> None:
    executed = execute("05-rolling-back.ipynb", tmp_path)
    assert_revealed(executed)
    failed = re.search(
        r"smooth: \d+ answered, 0 failed\nunload_first: \d+ answered, (\d+) failed\n",
        text(executed, "failed[transition] = "),
    )
    assert failed is not None
    assert int(failed[1]) > 0
    assert "nothing to roll back to" in text(executed, "server.rollback()\ntry:")
    emptied = text(executed, "lab05-away")
    assert emptied.startswith("served: [1]\n")
    assert "are still served" in emptied
    assert text(executed, "version=2").startswith("NOT_FOUND")
    assert text(executed, "fixed = ") == "the fixed model has become version 3\n"
    assert text(executed, "served after the rollback") == "served after the rollback: 1\n"


@pytest.mark.slow
@pytest.mark.timeout(200)
def test_warm_up(tmp_path: Path) -> None:
    executed = execute("06-warm-up.ipynb", tmp_path)
    assert_revealed(executed)
    assert "2/assets.extra/tf_serving_warmup_requests" in text(executed, "record_warmup")
    assert "'warmup': " in text(executed, "breakdown")
    assert "256 rows" in text(executed, "large = ")


@pytest.mark.slow
@pytest.mark.timeout(200)
def test_queues(tmp_path: Path) -> None:
    executed = execute("08-queues.ipynb", tmp_path)
    assert_revealed(executed)
    assert text(executed, "L = ").count("the slot was busy for") == 5
    said = text(executed, "shares_slow = {}")
    (closed,) = re.findall(r"closed loop: (\d+) of \d+ requests", said)
    (opened,) = re.findall(r"open loop: (\d+) of \d+ requests", said)
    # A client that waits sees the pause once; those who come when they come, many times.
    assert 1 <= int(closed) < int(opened)


@pytest.mark.slow
@pytest.mark.timeout(200)
def test_tails(tmp_path: Path) -> None:
    executed = execute("09-tails.ipynb", tmp_path)
    assert_revealed(executed)
    # A p99 of a hundred requests has no upper bound.
    assert "and inf ms" in text(executed, "quantile_interval").splitlines()[0]
    assert text(executed, "0.99**100") == (
        "1. 63% of the pages: the tail of one service is the usual case of many\n2. 360\n"
    )


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_break_it(tmp_path: Path) -> None:
    executed = execute("11-break-it.ipynb", tmp_path)
    assert_revealed(executed)
    assert "'lab11' is not marked as scratch" in text(executed, "wb.faults.scratch(server)")
    assert "served meanwhile: [1]" in text(executed, "half_copied(server)")
    assert "rejected" in text(executed, "stampede")
    (table,) = outputs(executed, "runbook = ")
    faults = ("half_copied", "corrupt_weights", "over_budget", "out_of_memory", "killed_worker")
    for name in (*faults, "killed_server"):
        assert f"<th>{name}</th>" in table.data["text/html"]
    solved = text(executed, "1. {recording.failed}")
    assert re.search(r"^1\. [1-9]\d* failed; served in the end: \[1\]$", solved, re.M)
    assert "2. no sign of life for" in solved
    assert "3. 0 failed" in solved


@pytest.mark.slow
@pytest.mark.timeout(200)
def test_smooth_or_unload_first(tmp_path: Path) -> None:
    executed = execute(TRANSITIONS, tmp_path)
    assert_revealed(executed)
    assert "image/png" in outputs(executed, "found.plot()")[-1].data
    told = text(executed, "guess_failed}, measured")
    failed = re.search(r"guessed 10, measured (\d+)\n", told)
    assert failed is not None, told
    assert int(failed[1]) > 0
    (shown,) = [c for c in executed.cells if c.source == "found"]
    assert "Choose smooth if there is enough memory" in shown.outputs[-1].data["text/html"]
    order = [
        "Quiescing servable version {name: lab04 version: 1}",
        "Done unloading servable version {name: lab04 version: 1}",
        "Loading servable version {name: lab04 version: 2}",
        "Successfully loaded servable version {name: lab04 version: 2}",
    ]
    told = [line.partition("ms  ")[2] for line in text(executed, "event.line").splitlines()]
    assert [line for line in told if line in order] == order
    assert re.search(
        r"^100 requests fail at about \d+ requests a second\n"
        r"staged: [1-9]\d* failed, slowest answer \d+ ms \(unload-first with hold: \d+ ms\)\n"
        r"staged\+hold: 0 failed, slowest answer \d+ ms \(unload-first with hold: \d+ ms\)\n$",
        text(executed, "server.stop()"),
    )


@pytest.mark.slow
@pytest.mark.timeout(200)
def test_comparing_versions(tmp_path: Path) -> None:
    executed = execute(VERSIONS, tmp_path)
    assert_revealed(executed)
    assert "image/png" in outputs(executed, "found.plot()")[-1].data
    said = text(executed, "found.sentences()")
    assert "significant (McNemar's exact test, p = " in said
    assert text(executed, "found.assert_agreement").startswith(
        "stopped: Versions 1 and 2 agree on "
    )
    assert text(executed, '"promote" if better') == "promote\n"
    assert text(executed, "same = server") == (
        "Both versions give the same class for 450 of 450 examples (100.00%).\n"
    )
