"""The batching that a plan holds: set, found by automatic batching, or none."""

from __future__ import annotations

from pathlib import Path

import pytest

import workbench as wb
from tests.deploy.export.fleet_plans import planned
from workbench.core.batching.parameters import BatchingParameters
from workbench.deploy.plan.plan import PlannedModel
from workbench.deploy.plan.plan_sources import plan_of_folder, plan_of_server

FOUND = BatchingParameters(max_batch_size=16)


def test_the_parameters_in_force() -> None:
    assert planned("m").batching is None
    assert planned("m", automatic=FOUND).batching == FOUND
    assert planned("m", automatic=FOUND, automatic_batching=False).batching is None
    assert planned("m", automatic=FOUND, version_batching=True).batching is None
    explicit = planned("m", automatic=FOUND, batching={"max_batch_size": 8}).batching
    assert explicit is not None
    assert explicit.max_batch_size == 8


@pytest.mark.parametrize("automatic", [None, FOUND])
def test_it_is_kept(automatic: BatchingParameters | None) -> None:
    model = planned("m", (1, 2), automatic=automatic)
    data = {
        "config": model.config.to_json(),
        "versions": [1, 2],
        "memory_bytes": {"1": 5},
        "automatic": None if automatic is None else automatic.to_json(),
    }
    assert PlannedModel.from_json(data).automatic == automatic
    assert model.with_versions([2, 3], {}).automatic == automatic


def test_a_running_server_knows_and_a_folder_does_not(runtime: Path, fleet_folder: Path) -> None:
    """Requests to `words` are merged; those to `centred` run alone, as its rows mix."""
    with wb.serve(fleet_folder / "words", "words", version_policy="all") as server:
        base = str(fleet_folder / "centred")
        server.control.put_model("centred", {"base_path": base})
        server.control.poll("centred", [1])
        wb.Server("words", "centred").wait_for(1)
        plan = plan_of_server(server)
        assert plan.memory_known == "measured"
        assert all(m.memory_bytes[v] > 1 << 20 for m in plan.models for v in m.versions)
        found = {model.name: model.automatic for model in plan.models}
    assert found == {"words": BatchingParameters(), "centred": None}
    assert {m.automatic for m in plan_of_folder(fleet_folder).models} == {None}
