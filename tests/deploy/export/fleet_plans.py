"""Plans and exports for tests, made without a server."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import yaml

from workbench.core.batching.parameters import BatchingParameters
from workbench.core.model_settings import ModelConfig
from workbench.deploy.export.export_folder import ExportedFolder, export_plan
from workbench.deploy.export.export_options import ExportOptions
from workbench.deploy.plan.plan import Plan, PlannedModel

SECRET_HOME = "/home/someone/lab 1/models"
"""Where the models of these plans lie; no exported file may say it."""
MIB = 1 << 20
DIGEST = "@sha256:" + "0123456789abcdef" * 4
IMAGES = {
    "image": f"registry.example:5000/serving{DIGEST}",
    "model_image": f"registry.example:5000/shop{DIGEST}",
    "prometheus_image": f"prom{DIGEST}",
    "grafana_image": f"grafana{DIGEST}",
}
OWN_IMAGE = f"registry.example/workbench{DIGEST}"
KINDS = (None, OWN_IMAGE)
"""The image of the workbench: for TensorFlow Serving, and for our own servers."""


def planned(
    name: str,
    versions: Sequence[int] = (1,),
    automatic: BatchingParameters | None = None,
    **settings: Any,
) -> PlannedModel:
    """A model whose versions take 100 MiB each."""
    settings.setdefault("version_policy", "all")
    config = ModelConfig.from_json(
        {"name": name, "base_path": f"{SECRET_HOME}/{name.strip('/')}", **settings}
    )
    memory = dict.fromkeys(versions, 100 * MIB)
    return PlannedModel(config, tuple(versions), memory, "measured", automatic)


def shop(*models: PlannedModel, **fields: Any) -> Plan:
    """A fleet of three servers with two batch threads each; by default with two models."""
    fields = {
        "name": "shop",
        "servers": 3,
        "options": {"num_batch_threads": 2},
        "server_bytes": 200 * MIB,
        **fields,
    }
    return Plan(
        models=models
        or (
            planned("digits", (3, 5), labels={"stable": 3, "canary": 5}),
            planned("words", (7,), batching={"max_batch_size": 64, "batch_timeout_micros": 500}),
        ),
        **fields,
    )


def exported(folder: Path, plan: Plan | None = None, **options: Any) -> ExportedFolder:
    return export_plan(plan or shop(), folder, ExportOptions(**options))


def documents(path: Path) -> list[dict[str, Any]]:
    """The documents of a YAML file."""
    return list(yaml.safe_load_all(path.read_text()))


def of_kind(found: Sequence[dict[str, Any]], kind: str) -> list[dict[str, Any]]:
    return [each for each in found if each["kind"] == kind]


def contents(folder: Path) -> dict[str, bytes]:
    """Every file below a folder, by its path."""
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }
