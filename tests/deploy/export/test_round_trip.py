"""What a notebook's server serves, exported and started by the exported command line, is the same:
versions, labels, batching, and answers bit for bit."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import workbench as wb
from tests.conformance.process import Answer, ask
from tests.deploy.export.fleet_plans import contents
from tests.deploy.export.running_export import RunningExport, answer, headers_of, rows
from workbench.cli.model_server.flag_reading import read_flags
from workbench.cli.model_server.flag_table import FLAGS
from workbench.deploy.plan.plan_differences import differences
from workbench.deploy.plan.plan_sources import plan_of_server

EXPLICIT = {"max_batch_size": 32, "batch_timeout_micros": 1000, "max_enqueued_batches": 7}
TOKEN = "a-token-for-this-test"
PLACES = {
    "pair": ("", "/versions/1", "/versions/2", "/labels/stable", "/labels/canary"),
    "words": ("", "/versions/7"),
    "centred": ("",),
}
WATCHED_ROWS = (1, 32, 33, 1000, 1001)
"""Numbers of rows around the largest batch of each way of batching."""


@pytest.fixture(scope="module")
def notebook(runtime: Path, fleet_folder: Path) -> Iterator[wb.Server]:
    """A server as a notebook has it, with three models; it has two batch threads."""
    with wb.serve(
        fleet_folder / "pair", "pair", version_policy="all", num_batch_threads=2
    ) as server:
        server.wait_for(1)
        server.wait_for(2)
        server.labels = {"stable": 1, "canary": 2}
        for name, version in (("words", 7), ("centred", 1)):
            server.control.put_model(name, {"base_path": str(fleet_folder / name)})
            server.control.poll(name, [version])
            wb.Server(server.name, name).wait_for(version)
        yield server


def batched(server: wb.Server, **batching: Any) -> None:
    for name in PLACES:
        wb.Server(server.name, name).batching = batching.get(name)


def port_of(server: wb.Server) -> int:
    return int(server.address.rpartition(":")[2])


def versions_of(server: wb.Server) -> dict[str, Any]:
    """Of each model the versions that serve, and the labels."""
    return {
        model["name"]: (
            sorted(v["version"] for v in model["versions"] if v["state"] == "AVAILABLE"),
            model["labels"],
        )
        for model in server.status()["models"]
    }


def limits(port: int, token: str | None) -> dict[str, list[Any]]:
    """For each model and number of rows the status of the answer, and its error."""
    found: dict[str, list[Any]] = {}
    for model in PLACES:
        answers: list[Answer] = [
            answer(port, model, body=rows(model, count), token=token) for count in WATCHED_ROWS
        ]
        found[model] = [(a.status, None if a.status == 200 else a.error) for a in answers]
    return found


def check_the_same(notebook: wb.Server, run: RunningExport, token: str | None) -> None:
    assert versions_of(run.server) == versions_of(notebook)
    assert run.server.status()["num_batch_threads"] == 2
    for model, places in PLACES.items():
        for place in places:
            before = answer(port_of(notebook), model, place, token=notebook.token)
            now = answer(run.rest_port, model, place, token=token)
            assert (now.status, now.body) == (200, before.body), (model, place)
    stable, canary = (
        answer(run.rest_port, "pair", place, token=token).body for place in PLACES["pair"][3:]
    )
    assert stable != canary


def test_one_batching_for_all_models(
    notebook: wb.Server, fleet_folder: Path, tmp_path: Path
) -> None:
    batched(notebook, pair=EXPLICIT, words=EXPLICIT, centred=EXPLICIT)
    exported = notebook.export(tmp_path / "out", servers=3)
    flags = re.findall(r"--(\w+)=(\S+)", (tmp_path / "out" / "serving" / "run.sh").read_text())
    assert len(flags) > 10
    # Only flags of TensorFlow Serving, with values that it can read.
    assert all(name in FLAGS and "Not in TensorFlow" not in FLAGS[name].help for name, _ in flags)
    assert read_flags([f"--{name}={value}" for name, value in flags if "$" not in value])[1] == []
    with RunningExport(exported.folder, fleet_folder) as run:
        assert "unknown" not in run.output
        check_the_same(notebook, run, None)
        for model in run.server.status()["models"]:
            kept = {name: model["batching"][name] for name in EXPLICIT}
            assert kept == EXPLICIT
        assert limits(run.rest_port, None) == limits(port_of(notebook), notebook.token)


def test_batching_that_differs_between_models(notebook: wb.Server, tmp_path: Path) -> None:
    """Each version has its own file; the model whose rows mix has none, and runs alone."""
    batched(notebook, pair=EXPLICIT)
    exported = notebook.export(tmp_path / "out", copy_models=True)
    models = exported.folder / "models"
    found = {p.relative_to(models).as_posix() for p in models.rglob("batching_params.pbtxt")}
    assert found == {f"{place}/batching_params.pbtxt" for place in ("pair/1", "pair/2", "words/7")}
    with RunningExport(exported.folder, models) as run:
        check_the_same(notebook, run, None)
        here = limits(run.rest_port, None)
    before = limits(port_of(notebook), notebook.token)
    # Automatic batching lets a request of more rows run alone, which the README says.
    refused = (400, "Task size 1001 is larger than maximum input batch size 1000")
    assert here == {**before, "words": [*before["words"][:-1], refused]}
    readme = (exported.folder / "README.md").read_text()
    assert "a request of more than 1000 rows is refused" in readme
    assert [status for status, _ in here["pair"]] == [200, 200, 400, 400, 400]
    assert [status for status, _ in here["centred"]] == [200] * 5


def test_our_own_server_keeps_everything(
    notebook: wb.Server, fleet_folder: Path, tmp_path: Path
) -> None:
    """Automatic batching, the trial of a version and all other settings, and a token."""
    batched(notebook)
    for name in PLACES:
        notebook.control.patch_model(name, transition="unload_first", probe="warn")
    exported = notebook.export(tmp_path / "out", workbench_image="serving-workbench:0.1.0")
    assert exported.not_expressed == ()
    assert notebook.token
    for name, text in contents(exported.folder).items():
        assert notebook.token.encode() not in text, name
    (tmp_path / "token").write_text(TOKEN + "\n")
    with RunningExport(exported.folder, fleet_folder, TOKEN_FILE=str(tmp_path / "token")) as run:
        assert answer(run.rest_port, "words").status == 401
        check_the_same(notebook, run, TOKEN)
        plan = plan_of_server(notebook)
        assert differences(plan, run.server.status()) == []
        assert limits(run.rest_port, TOKEN) == limits(port_of(notebook), notebook.token)
        ready = ask(run.rest_port, "GET", "/health/ready")
        assert (ready.status, ready.json) == (200, {"status": "ready"})
        page = ask(run.rest_port, "GET", "/monitoring/prometheus/metrics", None, headers_of(TOKEN))
        assert 'workbench_version_state{model="words",version="7",state="AVAILABLE"} 1' in (
            page.body.decode()
        )
        assert TOKEN not in run.output
