"""A real model server, through the routes: started, steered, killed, started again, stopped."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import workbench as wb
from tests.experiments.test_face import kept_sweep
from tests.jupyter.server_extension.conftest import Api, until
from workbench.experiments.store.store import Store
from workbench.processes import registry
from workbench.processes.launcher import reap_supervisors
from workbench.processes.lifetime import wait_gone

pytestmark = pytest.mark.timeout(240)

KERNELS = Path(__file__).parents[3] / "data" / "kernels"
MODEL = "servers/halves/models/halves"


@pytest.fixture
def jp_environ(jp_environ: None, monkeypatch: pytest.MonkeyPatch) -> None:
    # The serving kernel as it lies in the source tree.
    monkeypatch.setenv("JUPYTER_PATH", str(KERNELS.parent))


@pytest.fixture
def folder(jp_root_dir: Path, models: Path, api: Api, jp_asyncio_loop: Any) -> Iterator[Path]:
    """A folder with one version among the user's files, and a model to publish."""
    base = jp_root_dir / "models" / "halves"
    shutil.copytree(models / "half_plus_two", base / "1")
    shutil.copytree(models / "half_plus_three", jp_root_dir / "better")
    shutil.copytree(models / "text", jp_root_dir / "words")
    yield base

    async def stop_all() -> None:
        _, listed = await api("GET", "servers")
        for server in listed["servers"]:
            await api("DELETE", f"servers/{server['name']}")

    jp_asyncio_loop.run_until_complete(stop_all())
    assert registry.entries() == []


async def test_a_server_from_its_start_to_its_end(
    api: Api, folder: Path, jp_serverapp: Any, jp_base_url: str
) -> None:
    told: list[dict[str, Any]] = []

    async def listen(logger: Any, schema_id: str, data: dict[str, Any]) -> None:
        told.append({k: v for k, v in data.items() if not k.startswith("__")})

    schema = "https://events.serving-workbench.org/lifecycle/v1"
    jp_serverapp.event_logger.add_listener(schema_id=schema, listener=listen)
    assert await api("GET", "servers") == (200, {"servers": []})

    assert await api("GET", "folder", path="models/halves") == (
        200,
        {"kind": "versions", "name": "halves", "versions": [1], "foreign": None},
    )
    code, answer = await api("POST", "servers", {"path": "models/halves"})
    assert (code, answer["name"]) == (201, "halves")
    # It is a kernel of this very Jupyter Server.
    entry = registry.find("halves")
    assert entry.kernel_id in jp_serverapp.kernel_manager
    code, answer = await api("POST", "servers", {"path": "models/halves"})
    assert (code, answer["code"]) == (409, "ALREADY_EXISTS")

    code, about = await api("GET", MODEL)
    assert (code, about["base_path"], about["transition"]) == (200, str(folder), "smooth")
    assert set(about["snippets"]) == {"Python", "curl"}
    assert entry.token is not None
    assert entry.token not in str(about)

    settings = {"transition": "unload_first", "batching": {"batch_timeout_micros": 2000}}
    assert await api("PATCH", MODEL, settings) == (
        200,
        {
            "message": "The next change of version will be unload_first. "
            "Batches of up to 1000 rows wait 2 ms at most."
        },
    )
    # What is not named keeps its value.
    await api("PATCH", MODEL, {"batching": {"max_batch_size": 64}})
    code, answer = await api("PATCH", MODEL, {"labels": {"stable": 1}})
    assert answer == {"message": "stable is version 1."}
    _, about = await api("GET", MODEL)
    assert about["batching"]["batch_timeout_micros"] == 2000
    assert about["batching"]["max_batch_size"] == 64

    code, answer = await api("POST", f"{MODEL}/publish", {"path": "words"})
    assert (code, answer["code"], answer["reason"]) == (
        409,
        "FAILED_PRECONDITION",
        "signature-change",
    )
    assert answer["message"].startswith("Version 2 of halves would break the callers of version 1")
    assert answer["message"].endswith(": confirm it, or cancel")
    assert await api("POST", f"{MODEL}/publish", {"path": "better"}) == (
        200,
        {"message": "Version 2 serves.", "path": str(folder.parents[1] / "better")},
    )
    code, answer = await api("POST", f"{MODEL}/rollback")
    assert answer == {"message": "Version 1 serves again; Undo roll back brings the other back."}
    await api("POST", f"{MODEL}/undo")
    code, answer = await api("POST", f"{MODEL}/rollback", {"to": 1})
    assert answer == {
        "message": "Version 1 serves again; Undo roll back brings the others back, the latest "
        "first."
    }
    code, answer = await api("POST", f"{MODEL}/rollback", {"to": "1"})
    assert (code, answer["message"]) == (400, "'to' must be a version's number; was '1'")
    code, answer = await api("POST", f"{MODEL}/undo")
    assert answer == {"message": "Version 2 is back."}
    _, answer = await api("GET", f"{MODEL}/versions")
    assert answer["versions"][0]["version"] == 2
    assert answer["versions"][0]["state"] == "AVAILABLE"

    _, ledger = await api("GET", "servers/halves/memory")
    parts = ledger["devices"][0]["parts"]
    assert {"weights", "process", "free"} <= {part["kind"] for part in parts}
    _, log = await api("GET", "servers/halves/events", since=0)
    lines = [event.get("line") for event in log["events"]]
    assert "Successfully loaded servable version {name: halves version: 2}" in lines
    assert (await api("GET", "servers/halves/events", since=log["last_seq"]))[1]["missed"] == 0

    asked = {"path": "words", "allow_signature_change": True}
    code, answer = await api("POST", f"{MODEL}/publish", asked)
    assert answer["message"] == "Version 3 serves."

    assert await api("DELETE", "servers/halves") == (204, None)
    assert registry.read("halves") is None
    assert entry.kernel_id not in jp_serverapp.kernel_manager
    assert await api("GET", "servers") == (200, {"servers": []})
    actions = [(event["action"], event.get("state")) for event in told]
    assert actions[0] == ("server_started", None)
    assert ("version_changed", "AVAILABLE") in actions
    assert actions[-1] == ("server_ended", None)


async def test_a_killed_server_is_dead_and_comes_back(
    api: Api, folder: Path, models: Path, jp_environ: None
) -> None:
    served = wb.serve(folder, "halves", transition="staged")
    before = registry.find("halves")
    _, answer = await api("GET", "servers/halves")
    assert answer["state"] == "running"
    before.supervisor.kill()
    before.server.kill()

    async def dead() -> bool:
        # Whoever asks first must not make the killed one look like one that has ended.
        await api("GET", MODEL)
        _, answer = await api("GET", "servers")
        return [s["state"] for s in answer["servers"]] == ["dead"]

    await until(dead, "the server is shown as dead")
    code, answer = await api("DELETE", MODEL.partition("/models")[0] + "x")
    assert code == 404

    code, answer = await api("POST", "servers/halves/restart")
    assert (code, answer["name"]) == (201, "halves")
    after = registry.find("halves")
    assert (after.port, after.token) == (before.port, before.token)
    _, about = await api("GET", MODEL)
    assert (about["transition"], about["versions"][0]["state"]) == ("staged", "AVAILABLE")
    assert served.predict([2.0]).tolist() == [3.0]
    code, answer = await api("POST", "servers/halves/restart")
    assert (code, answer["code"]) == (404, "NOT_FOUND")


async def test_a_server_that_somebody_else_found_killed(
    api: Api, folder: Path, jp_environ: None
) -> None:
    """Started outside of Jupyter, killed, and its remains removed by another, before this Jupyter
    Server has looked even once."""
    wb.serve(folder, "halves")
    before = registry.find("halves")
    before.supervisor.kill()
    before.server.kill()
    assert wait_gone(before.server, 10.0)
    assert wait_gone(before.supervisor, 10.0)
    reap_supervisors()
    assert wb.servers() == []

    _, answer = await api("GET", "servers")
    (dead,) = answer["servers"]
    assert (dead["name"], dead["state"], dead["cannot_restart"]) == ("halves", "dead", None)
    assert [model["name"] for model in dead["models"]] == ["halves"]
    aside = folder.with_name("aside")
    shutil.move(folder, aside)
    _, answer = await api("GET", "servers")
    gone = f"The versions of halves in {folder} are gone."
    assert answer["servers"][0]["cannot_restart"] == gone
    code, answer = await api("POST", "servers/halves/restart")
    assert (code, answer["message"]) == (
        409,
        f"Server 'halves' cannot be started again. {gone} Serve the model again.",
    )
    shutil.move(aside, folder)
    code, answer = await api("POST", "servers/halves/restart")
    assert code == 201
    _, answer = await api("GET", "servers")
    assert [server["state"] for server in answer["servers"]] == ["running"]


@pytest.mark.slow
async def test_a_kernel_that_jupyter_gave_up_on_is_dead(
    api: Api, folder: Path, jp_serverapp: Any
) -> None:
    await api("POST", "servers", {"path": "models/halves"})
    entry = registry.find("halves")
    await api("GET", "servers")
    kernels = jp_serverapp.kernel_manager
    kernels.get_kernel(entry.kernel_id)._restarter.restart_limit = 0
    entry.supervisor.kill()

    async def dead() -> bool:
        _, answer = await api("GET", "servers")
        return [s["state"] for s in answer["servers"]] == ["dead"]

    await until(dead, "the server is shown as dead")
    code, _ = await api("POST", "servers/halves/restart")
    assert code == 201
    assert registry.find("halves").kernel_id != entry.kernel_id


async def test_what_cannot_be_started(api: Api, folder: Path, jp_root_dir: Path) -> None:
    (jp_root_dir / "notes").mkdir()
    code, answer = await api("POST", "servers", {"path": "notes"})
    assert code == 400
    assert "neither a SavedModel" in answer["message"]
    code, answer = await api("POST", "servers", {"path": "models/halves", "color": "red"})
    assert (code, answer["message"]) == (
        400,
        "Unknown field 'color': known are path, name, transition, trusted",
    )
    code, answer = await api("POST", "servers", {"path": "models/halves", "name": "a/b"})
    assert (code, answer["code"]) == (400, "INVALID_ARGUMENT")
    code, answer = await api("PATCH", MODEL, {"transition": "smooth"})
    assert (code, answer["code"]) == (404, "NOT_FOUND")
    assert registry.entries() == []


@pytest.mark.slow
async def test_a_model_that_does_not_load_leaves_nothing(
    api: Api, folder: Path, jp_serverapp: Any
) -> None:
    (folder / "1" / "saved_model.pb").write_bytes(b"no graph")
    code, answer = await api("POST", "servers", {"path": "models/halves"})
    assert code >= 400
    assert "Version 1 of halves did not load" in answer["message"]
    assert registry.entries() == []
    assert list(jp_serverapp.kernel_manager.list_kernel_ids()) == []


@pytest.mark.slow
@pytest.mark.skipif(os.getuid() != 0, reason="only root can make a file somebody else's")
async def test_what_is_not_ones_own_needs_trust(api: Api, folder: Path) -> None:
    os.chown(folder / "1" / "saved_model.pb", 1000, 1000)
    code, answer = await api("POST", "servers", {"path": "models/halves"})
    assert (code, answer["code"]) == (409, "FAILED_PRECONDITION")
    assert "belongs to another user. A SavedModel is a program" in answer["message"]
    _, answer = await api("GET", "folder", path="models/halves")
    assert answer["foreign"].endswith("saved_model.pb belongs to another user")
    code, _ = await api("POST", "servers", {"path": "models/halves", "trusted": True})
    assert code == 201


async def test_experiments_are_listed(api: Api, jp_environ: None) -> None:
    with Store() as store:
        for model in ("digits", "faces"):
            store.add("sweep", model, {"points": []}, f"a sweep of {model}")
    _, answer = await api("GET", "experiments")
    assert [e["model"] for e in answer["experiments"]] == ["faces", "digits"]
    _, answer = await api("GET", "experiments", model="digits")
    (kept,) = answer["experiments"]
    assert (kept["kind"], kept["summary"]) == ("sweep", "a sweep of digits")
    assert answer["running"] == []
    code, answer = await api("GET", "experiments", limit="many")
    assert (code, answer["message"]) == (
        400,
        "Query argument 'limit' must be a whole number; was 'many'",
    )


async def test_an_experiment_is_looked_at(api: Api, jp_environ: None) -> None:
    number = kept_sweep()
    code, found = await api("GET", f"experiments/{number}")
    assert (code, found["kind"], found["summary"]) == (200, "sweep", "2 points")
    assert found["tables"][0]["columns"][0] == "max_batch_size"
    assert found["picture"]
    with Store() as store:
        other = store.add("something", "digits", {})
    assert await api("GET", f"experiments/{other}") == (
        409,
        {
            "code": "FAILED_PRECONDITION",
            "message": f"Experiment {other} is a something, which cannot be loaded",
        },
    )
    code, answer = await api("GET", "experiments/77")
    assert (code, answer["message"]) == (404, "There is no experiment 77: see wb.history()")
    code, answer = await api("GET", f"experiments/{10**18 * 9 + 10**18 - 1}")
    assert (code, answer["code"]) == (400, "INVALID_ARGUMENT")


async def test_an_experiment_under_way_is_cancelled(api: Api, jp_environ: None) -> None:
    with Store() as store:
        number = store.begin("tune", "digits", "desk")
        store.tell(number, "measured 1 of 3", 0.4)
        _, answer = await api("GET", "experiments", model="faces")
        assert answer["running"] == []
        _, answer = await api("GET", "experiments")
        (told,) = answer["running"]
        assert (told["text"], told["share"], told["cancelled"]) == ("measured 1 of 3", 0.4, False)
        assert await api("POST", f"experiments/running/{number}/cancel") == (
            200,
            {
                "message": "The experiment ends after its current measurement, and restores the "
                "server's settings."
            },
        )
        assert store.is_cancelled(number)
        store.end(number)
    code, answer = await api("POST", f"experiments/running/{number}/cancel")
    assert (code, answer["message"]) == (404, f"No running experiment has the number {number}")
