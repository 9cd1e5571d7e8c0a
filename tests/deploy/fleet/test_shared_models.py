"""Models in a server's private folder are copied to where the nodes of a fleet see them."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from workbench.core.model_settings import ModelConfig
from workbench.core.status import Code, ServingError
from workbench.deploy.fleet.deploying import _shared
from workbench.deploy.plan.plan import Plan, PlannedModel


def plan_of(base: Path) -> Plan:
    return Plan("shop", (PlannedModel(ModelConfig("m", str(base)), (1,)),))


def test_a_second_fleet_of_a_name_gets_its_own_model(
    models: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("JUPYTER_RUNTIME_DIR", str(tmp_path / "runtime"))
    monkeypatch.setenv("JUPYTER_DATA_DIR", str(tmp_path / "data"))
    base = tmp_path / "runtime" / "workbench-m" / "models" / "m"
    found = []
    for model in ("half_plus_two", "half_plus_three"):
        shutil.rmtree(base, ignore_errors=True)
        shutil.copytree(models / model, base / "1")
        shared = _shared(plan_of(base), None, lambda line: None)
        copied = Path(shared.models[0].config.base_path) / "1"
        wanted = {p.name: p.read_bytes() for p in (models / model).rglob("*") if p.is_file()}
        assert {p.name: p.read_bytes() for p in copied.rglob("*") if p.is_file()} == wanted
        found.append(copied)
    assert found[0] != found[1]


def test_another_model_in_the_named_folder_is_never_served(models: Path, tmp_path: Path) -> None:
    first, second = tmp_path / "a", tmp_path / "b"
    shutil.copytree(models / "half_plus_two", first / "1")
    shutil.copytree(models / "half_plus_three", second / "1")
    shared = tmp_path / "shared"
    for _ in range(2):
        # The same model again is no mistake.
        assert _shared(plan_of(first), shared, print).models[0].versions == (1,)
    with pytest.raises(ServingError, match="holds another model than version 1") as refused:
        _shared(plan_of(second), shared, print)
    assert refused.value.code is Code.ALREADY_EXISTS
