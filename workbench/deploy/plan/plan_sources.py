"""Makes a plan from a running server, or from a folder of models."""

from __future__ import annotations

import os
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from workbench.client.control_answers import ModelDescription, VersionDescription
from workbench.client.publishing.saving import version_folders
from workbench.client.server_parts.named_server import NamedServer
from workbench.core.batching.merging import Merging, automatic_parameters
from workbench.core.batching.parameters import BatchingParameters
from workbench.core.model_settings import MODEL_SETTINGS, ModelConfig
from workbench.core.status import Code, ServingError, failed_precondition, invalid_argument
from workbench.core.versions.states import PublicState
from workbench.core.versions.version_policy import VersionPolicy
from workbench.deploy.plan.plan import SHARED_OPTIONS, Plan, PlannedModel
from workbench.formats.config_files import model_configs, read_text_proto
from workbench.processes import paths

_RUNTIME_BYTES = 64 << 20
"""Estimate of the memory that a version takes beside its files: TensorFlow's pages, and lanes."""
_SERVER_BYTES = 350 << 20
"""Estimate of the memory of a server without versions: server process, supervisor, and the process
that holds TensorFlow for the workers."""
_SETTLE_SECONDS, _PAUSE_SECONDS = 60.0, 0.1
_OWN_ROLES = ("server", "supervisor", "zygote", "codec")


def plan_of_server(server: NamedServer, *, name: str | None = None, servers: int = 2) -> Plan:
    """The plan of a fleet whose servers serve as `server` does now: the versions that are
    available, its labels, settings and options, and the memory that it has measured.

    Args:
        name: of the fleet, by default that of the server.

    Raises:
        ServingError: FAILED_PRECONDITION, a model has no version that is available;
            DEADLINE_EXCEEDED, a version is still loading after a minute.
    """
    about = _settled_status(server)
    samples = server.control.memory()
    held = {(s["model"], s["version"]): int(s["pss"]) for s in samples if s["version"] is not None}
    own = sum(int(sample["pss"]) for sample in samples if sample["role"] in _OWN_ROLES)
    models = tuple(_planned(model, held) for model in about["models"])
    if not models:
        raise failed_precondition(f"Server {server.name!r} serves no model, so no plan can be made")
    options = {
        option: value
        for option, value in about.get("options", {}).items()
        if option in SHARED_OPTIONS
    }
    options["num_batch_threads"] = about["num_batch_threads"]
    return Plan(
        name=name or server.name,
        models=models,
        servers=servers,
        options=options,
        server_bytes=own,
        gpus=_gpus(_devices(about["models"])),
    )


def _settled_status(server: NamedServer) -> dict[str, Any]:
    """The status when no version is on its way: a plan must not leave out one that loads."""
    end = time.monotonic() + _SETTLE_SECONDS
    while True:
        about = server.status()
        loading = [
            f"version {version['version']} of {model['name']}"
            for model in about["models"]
            for version in model["versions"]
            if PublicState[version["state"]] < PublicState.AVAILABLE and version["error"] is None
        ]
        if not loading:
            return about
        if time.monotonic() > end:
            raise ServingError(
                Code.DEADLINE_EXCEEDED,
                f"{loading[0]} is still loading, so it is not known what {server.name!r} serves; "
                "wait for it, or change the version policy",
            )
        time.sleep(_PAUSE_SECONDS)


def _planned(model: ModelDescription, held: Mapping[tuple[str, int], int]) -> PlannedModel:
    available = [v for v in model["versions"] if v["state"] == "AVAILABLE"]
    if not available:
        raise failed_precondition(
            f"Model {model['name']} has no version that is available, so nothing is known of its "
            "memory and answers; wait for it, or remove the model from the server"
        )
    settings = {name: model[name] for name in MODEL_SETTINGS if name in model}  # type: ignore[literal-required]
    serving = [v["version"] for v in available]
    labels = {n: v for n, v in model["labels"].items() if v in serving}
    return PlannedModel(
        ModelConfig.from_json({**settings, "labels": labels}),
        tuple(serving),
        {v["version"]: _bytes_of(v, held.get((model["name"], v["version"]))) for v in available},
        "measured",
        _automatic(available),
    )


def _automatic(versions: Sequence[VersionDescription]) -> BatchingParameters | None:
    """What automatic batching does in all of them, if it is the same for every signature."""
    found = {
        automatic_parameters(merging.batch_sizes) if merging.merged else None
        for version in versions
        for decided in version.get("merging", {}).values()
        for merging in (Merging.from_json(decided),)
    }
    return found.pop() if len(found) == 1 else None


def _bytes_of(version: VersionDescription, sampled: int | None) -> int:
    """The most that a version was seen to take: its worker now, and its private peak while it
    loaded."""
    measured = version.get("memory", {}).get("measured") or {}
    found = [sampled or 0, *(measured.get(kind, 0) for kind in ("peak", "steady"))]
    return max(found) or version["size_bytes"] + _RUNTIME_BYTES


def plan_of_folder(
    folder: str | os.PathLike[str],
    *,
    name: str | None = None,
    servers: int = 2,
    options: Mapping[str, Any] | None = None,
    **settings: Any,
) -> Plan:
    """The plan of a fleet that serves a folder.

    Args:
        folder: a folder of numbered versions; a folder of such folders, one for each model; or a
            file with a `ModelServerConfig` (TensorFlow Serving's ``models.config``).
        name: of the fleet, by default that of the folder.
        options: of each server (`SHARED_OPTIONS`).
        settings: of each model (`ModelConfig`), such as ``transition="unload_first"``.

    Raises:
        ServingError: INVALID_ARGUMENT, there is no version in the folder, or a setting is wrong.
    """
    path = Path(folder).expanduser().absolute()
    configs = _configs(path, settings)
    models = tuple(_estimated(config) for config in configs)
    chosen = name or paths.clean_name(path.stem) or "fleet"
    return Plan(
        name=chosen,
        models=models,
        servers=servers,
        options=dict(options or {}),
        server_bytes=_SERVER_BYTES,
        gpus=_gpus(config.device for config in configs),
    )


def _devices(models: Iterable[ModelDescription]) -> Iterator[str]:
    """The devices that models name, and those that their versions are on."""
    for model in models:
        yield str(model.get("device", ""))
        for version in model["versions"]:
            yield str(version.get("memory", {}).get("device", ""))


def _gpus(devices: Iterable[str]) -> int:
    """GPUs of a server: as many as the highest number of one of these devices."""
    numbers = (int(d.partition(":")[2]) + 1 for d in devices if d.startswith("gpu:"))
    return max(numbers, default=0)


def _configs(path: Path, settings: Mapping[str, Any]) -> Sequence[ModelConfig]:
    if path.is_file():
        return model_configs(read_text_proto(path, "ModelServerConfig"), settings)
    if version_folders(path):
        return [_config(path, settings)]
    inside = sorted(path.iterdir()) if path.is_dir() else []
    found = [_config(child, settings) for child in inside if version_folders(child)]
    if not found:
        raise invalid_argument(
            f"{path} has no numbered version folders, and no folders of models that have some"
        )
    return found


def _config(path: Path, settings: Mapping[str, Any]) -> ModelConfig:
    return ModelConfig.from_json({**settings, "name": path.name, "base_path": str(path)})


def _estimated(config: ModelConfig) -> PlannedModel:
    folders = version_folders(Path(config.base_path))
    versions = config.version_policy.aspired(folders)
    if not versions:
        raise invalid_argument(
            f"The version policy {config.version_policy} of {config.name} chooses none of the "
            f"versions in {config.base_path} ({', '.join(map(str, folders)) or 'there are none'})"
        )
    sizes = {v: _RUNTIME_BYTES + _folder_bytes(folders[v]) for v in versions}
    return PlannedModel(config, tuple(versions), sizes, "estimated")


def _folder_bytes(folder: Path) -> int:
    return sum(each.stat().st_size for each in folder.rglob("*") if each.is_file())


def pinned(plan: Plan) -> Plan:
    """The plan with version policies that name exactly the planned versions."""
    models = tuple(replace(model, config=model.pinned) for model in plan.models)
    return replace(plan, models=models)


def followed(plan: Plan) -> Plan:
    """The plan with version policies that follow the folder: the latest as many as now."""
    models = tuple(
        replace(
            model,
            config=replace(
                model.config,
                version_policy=VersionPolicy("latest", num_versions=max(len(model.versions), 1)),
            ),
        )
        for model in plan.models
    )
    return replace(plan, models=models)
