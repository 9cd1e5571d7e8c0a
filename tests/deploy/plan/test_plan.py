"""Plans: what they hold, where they come from, and what a server has otherwise."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

import workbench as wb
from workbench.core.batching.parameters import BatchingParameters
from workbench.core.model_settings import ModelConfig
from workbench.core.status import Code, ServingError
from workbench.deploy.plan.plan import Plan, PlannedModel
from workbench.deploy.plan.plan_differences import differences
from workbench.deploy.plan.plan_files import plan_text, read_plan, write_plan
from workbench.deploy.plan.plan_sources import plan_of_folder, plan_of_server

MB = 1 << 20


@pytest.fixture
def shop(models: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with two versions of `half`, and one of `text` beside it."""
    monkeypatch.setenv("JUPYTER_RUNTIME_DIR", str(tmp_path / "runtime"))
    folder = tmp_path / "shop"
    for name, version, model in (
        ("half", 1, "half_plus_two"), ("half", 2, "half_plus_three"), ("text", 7, "text"),
    ):  # fmt: skip
        shutil.copytree(models / model, folder / name / str(version))
    return folder


@pytest.fixture
def server(shop: Path) -> Iterator[wb.Server]:
    with wb.serve(
        shop / "half",
        "half",
        version_policy="all",
        labels={"stable": 1},
        transition="unload_first",
        batching=BatchingParameters(max_batch_size=8, batch_timeout_micros=500),
        num_batch_threads=3,
    ) as running:
        yield running


def planned(**settings: object) -> PlannedModel:
    config = ModelConfig("m", "/models/m", **settings)  # type: ignore[arg-type]
    return PlannedModel(config, (1, 2), {1: 100 * MB, 2: 160 * MB}, "measured")


def test_a_plan_of_a_server_has_what_it_serves_now(server: wb.Server, shop: Path) -> None:
    plan = plan_of_server(server, servers=3)
    (model,) = plan.models
    assert (plan.name, plan.servers) == ("half", 3)
    assert model.versions == (1, 2)
    assert model.config.labels == {"stable": 1}
    assert model.config.transition == "unload_first"
    assert model.config.batching == server.batching
    assert model.config.base_path == str(shop / "half")
    assert plan.options["num_batch_threads"] == 3
    assert plan.memory_known == "measured"
    # TensorFlow's shared pages, and the weights of a few bytes.
    assert all(10 * MB < held < 400 * MB for held in model.memory_bytes.values())
    assert plan.server_bytes > 100 * MB
    assert differences(plan, server.status()) == []
    assert "token" not in plan_text(plan)
    assert server.token not in plan_text(plan)


def test_everything_that_differs_is_named(server: wb.Server) -> None:
    plan = plan_of_server(server)
    server.transition = "smooth"
    server.labels = {"stable": 2}
    server.version_policy = "latest"
    server.wait_gone(1)
    server.control.set_slots(2)
    found = {d.what: (d.planned, d.found) for d in differences(plan, server.status())}
    assert found == {
        "versions": ([1, 2], [2]),
        "transition": ("unload_first", "smooth"),
        "labels": ({"stable": 1}, {"stable": 2}),
        "num_batch_threads": (3, 2),
    }
    other = Plan("half", (planned(),))
    missing = {(d.where, d.what) for d in differences(other, server.status())}
    assert missing == {("model m", "versions"), ("model half", "versions")}


def test_a_plan_of_a_folder_of_versions(shop: Path) -> None:
    plan = plan_of_folder(shop / "half", transition="unload_first")
    (model,) = plan.models
    assert (plan.name, model.name, model.versions) == ("half", "half", (2,))
    assert model.config.transition == "unload_first"
    assert plan.memory_known == "estimated"
    assert plan_of_folder(shop / "half", version_policy="all").models[0].versions == (1, 2)


def test_gpus_are_those_that_the_models_name(shop: Path) -> None:
    assert plan_of_folder(shop / "half").gpus == 0
    assert plan_of_folder(shop / "half", device="gpu:1").gpus == 2


def test_a_plan_of_a_folder_of_models(shop: Path) -> None:
    plan = plan_of_folder(shop, name="all")
    assert [(m.name, m.versions) for m in plan.models] == [("half", (2,)), ("text", (7,))]


def test_a_plan_of_tensorflow_servings_own_file(shop: Path) -> None:
    file = shop / "models.config"
    file.write_text(
        f'model_config_list {{ config {{ name: "h" base_path: "{shop}/half" '
        'model_platform: "tensorflow" model_version_policy { specific { versions: 1 } } '
        'version_labels { key: "stable" value: 1 } } }'
    )
    (model,) = plan_of_folder(file).models
    assert (model.name, model.versions, model.config.labels) == ("h", (1,), {"stable": 1})


@pytest.mark.parametrize(
    ("folder", "says"),
    [("nothing", "has no numbered version folders"), ("half/1", "has no numbered version folders")],
)
def test_a_folder_without_versions(shop: Path, folder: str, says: str) -> None:
    with pytest.raises(ServingError, match=says) as refused:
        plan_of_folder(shop / folder)
    assert refused.value.code is Code.INVALID_ARGUMENT


def test_a_policy_that_chooses_nothing(shop: Path) -> None:
    with pytest.raises(
        ServingError, match=r"specific\(9\) of half chooses none of the versions in"
    ):
        plan_of_folder(shop / "half", version_policy=[9])


def test_the_memory_of_a_server_has_room_for_a_change() -> None:
    smooth = Plan("p", (planned(),), server_bytes=300 * MB)
    assert smooth.memory_bytes == (300 + 260 + 160) * MB * 1.25
    unloading = Plan("p", (planned(transition="unload_first"),), server_bytes=300 * MB)
    assert unloading.memory_bytes == (300 + 260) * MB * 1.25
    # Two models do not change at the same time.
    second = PlannedModel(ModelConfig("n", "/models/n"), (1,), {1: 40 * MB}, "measured")
    both = Plan("p", (planned(), second), server_bytes=300 * MB)
    assert both.memory_bytes == (300 + 300 + 160) * MB * 1.25


def test_a_plan_survives_its_file(tmp_path: Path) -> None:
    plan = Plan("p", (planned(labels={"new": 2}),), 4, {"num_batch_threads": 2}, 300 * MB)
    write_plan(plan, tmp_path / "plan.json")
    assert read_plan(tmp_path / "plan.json") == plan
    assert "100 MB" in str(plan)
    assert "new = 2" in str(plan)


def test_a_plan_shows_only_the_options_that_differ(server: wb.Server) -> None:
    (line,) = [line for line in str(plan_of_server(server)).splitlines() if "options" in line]
    assert line == "  options of each server: num_batch_threads=3"
    assert "options" not in str(Plan("p", (planned(),), options={"poll_seconds": 1.0}))


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("[]", "The plan settings must be an object"),
        ("{", "is not a plan"),
        ('{"name": "p"}', "'models' is missing"),
        ('{"name": "p", "models": [], "x": 1}', "x"),
        ('{"name": "p", "models": []}', "'models' must be a list of models"),
        ('{"name": "p", "models": [{"config": {"name": "m"}}]}', "base_path"),
        ('{"name": "../p", "models": [{"config": {"name": "m", "base_path": "/m"}}]}', "name"),
    ],
)
def test_a_wrong_file_is_named(tmp_path: Path, text: str, says: str) -> None:
    file = tmp_path / "plan.json"
    file.write_text(text)
    with pytest.raises(ServingError, match=says):
        read_plan(file)


def test_a_missing_file(tmp_path: Path) -> None:
    with pytest.raises(ServingError, match="cannot be read: No such file") as refused:
        read_plan(tmp_path / "plan.json")
    assert refused.value.code is Code.NOT_FOUND


def test_wrong_plans_are_refused() -> None:
    with pytest.raises(ServingError, match="Label 'new' of m names version 9, which the plan"):
        planned(labels={"new": 9})
    with pytest.raises(ServingError, match="two models of the name 'm'"):
        Plan("p", (planned(), planned()))
    with pytest.raises(ServingError, match="'host'"):
        Plan("p", (planned(),), options={"host": "0.0.0.0"})
    with pytest.raises(ServingError, match="'servers' must be"):
        Plan("p", (planned(),), servers=0)
    with pytest.raises(ServingError, match="The plan of p has no model 'x'; it has m"):
        Plan("p", (planned(),)).model("x")


def test_a_version_whose_memory_is_not_known_counts_as_the_largest() -> None:
    more = planned().with_versions((2, 3), {"new": 3})
    assert more.memory_bytes == {2: 160 * MB, 3: 160 * MB}
    assert (more.memory_known, more.versions) == ("estimated", (2, 3))
    assert planned().with_versions((1,), {}).memory_known == "measured"
