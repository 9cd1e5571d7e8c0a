"""Changes a running server until it serves as a plan says, and puts it back if it cannot.

Inside the server every version change is that of one machine: smooth, unload-first or staged, with
its trial and its warm-up. Under a transition that keeps the old version until the new one serves,
labels move while both are there, so a labelled request always finds its version.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from workbench.client.control_answers import ModelDescription
from workbench.client.control_client import ControlClient
from workbench.client.publishing.saving import version_folders
from workbench.client.server_parts import waiting
from workbench.core.model_settings import MODEL_SETTINGS, ModelConfig
from workbench.core.status import Code, ServingError
from workbench.deploy.plan.plan import Plan, PlannedModel

_FOLLOWS_FOLDER = ("name", "base_path", "version_policy", "labels")
"""Settings that are changed in steps of their own, or not at all."""
_BOTH_SERVE = ("smooth",)
"""Transitions under which an old version serves until the new one does."""


def follow(control: ControlClient, plan: Plan, timeout: float) -> None:
    """Make a server serve the plan, and wait until it does. What it serves already stays untouched.

    Args:
        timeout: seconds for each version to become available.

    Raises:
        ServingError: NOT_FOUND, a version's folder is not there; else the error of the version that
            could not be loaded. The models that served before serve on, with their old versions.
    """
    served = {model["name"]: model for model in control.describe_models()}
    for model in plan.models:
        _check_folders(model)
    slots = plan.options.get("num_batch_threads")
    if slots is not None and control.describe_server()["num_batch_threads"] != slots:
        control.set_slots(slots)
    for model in plan.models:
        if model.name in served:
            _change(control, model, served[model.name], timeout)
        else:
            _add(control, model, timeout)
    for name in served.keys() - {model.name for model in plan.models}:
        control.delete_model(name)


def _check_folders(model: PlannedModel) -> None:
    base = Path(model.config.base_path)
    there = version_folders(base)
    for version in model.versions:
        if version not in there:
            raise ServingError(
                Code.NOT_FOUND,
                f"This node has no version {version} of {model.name} in {base}: every node of a "
                "fleet must see the folder of its models under the same path",
            )


def _add(control: ControlClient, model: PlannedModel, timeout: float) -> None:
    try:
        control.put_model(model.name, model.pinned.to_json())
        _load(control, model, model.versions, timeout)
    except ServingError:
        control.delete_model(model.name)
        raise


def _change(
    control: ControlClient, model: PlannedModel, served: ModelDescription, timeout: float
) -> None:
    """Change one model; after a failure, its old settings are in force again."""
    before = {name: served[name] for name in MODEL_SETTINGS if name in served}  # type: ignore[literal-required]
    wanted = model.pinned.to_json()
    if before == wanted:
        return
    old = ModelConfig.from_json(before)
    try:
        _change_settings(control, model.name, before, wanted)
        _change_versions(control, model, served, timeout)
    except ServingError:
        _change_settings(control, model.name, wanted, old.to_json())
        control.patch_model(
            model.name, version_policy=old.version_policy.to_json(), labels=dict(old.labels)
        )
        raise


def _change_settings(
    control: ControlClient, name: str, before: Mapping[str, Any], wanted: Mapping[str, Any]
) -> None:
    changes = {
        setting: value
        for setting, value in wanted.items()
        if setting not in _FOLLOWS_FOLDER and before.get(setting) != value
    }
    if not changes:
        return
    if all(MODEL_SETTINGS[setting].changeable for setting in changes):
        control.patch_model(name, **changes)
    else:
        # The others are in force for workers that start from then on.
        control.put_model(name, {**before, **changes})


def _change_versions(
    control: ControlClient, model: PlannedModel, served: ModelDescription, timeout: float
) -> None:
    serving = {v["version"] for v in served["versions"] if v["state"] == "AVAILABLE"}
    labels, versions = dict(model.config.labels), sorted(model.versions)
    together = sorted(serving | set(versions))
    if model.config.transition in _BOTH_SERVE and together != versions:
        control.patch_model(model.name, version_policy={"specific": together})
        _load(control, model, versions, timeout)
        control.patch_model(model.name, labels=labels)
        control.patch_model(model.name, version_policy={"specific": versions})
    else:
        control.patch_model(model.name, version_policy={"specific": versions}, labels=labels)
        _load(control, model, versions, timeout)
    for version in sorted(serving - set(versions)):
        waiting.until_gone(control, model.name, version, timeout)


def _load(
    control: ControlClient,
    model: PlannedModel,
    versions: tuple[int, ...] | list[int],
    timeout: float,
) -> None:
    control.poll(model.name, list(versions))
    for version in versions:
        waiting.until_available(control, model.name, version, timeout, written=True)
