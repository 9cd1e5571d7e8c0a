"""Changes a running server until it serves as a plan says, and puts it back if it cannot.

Inside the server every version change is that of one machine: smooth, unload-first or staged, with
its trial and its warm-up. Under a transition that keeps the old version until the new one serves,
labels move while both are there, so a labelled request always finds its version.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from workbench.client.control_answers import ModelDescription
from workbench.client.control_client import ControlClient
from workbench.client.publishing.saving import version_folders
from workbench.client.server_parts import waiting
from workbench.core.model_settings import MODEL_SETTINGS, ModelConfig
from workbench.core.status import Code, ServingError
from workbench.deploy.plan.plan import Plan, PlannedModel

_OF_VERSIONS = ("name", "base_path", "version_policy", "labels")
"""Settings that are changed in steps of their own, or not at all."""
_STEP_SECONDS, _PAUSE_SECONDS = 1.0, 0.05
_REMOVE_SECONDS = 30.0
_BOTH_SERVE = ("smooth",)
"""Transitions under which an old version serves until the new one does."""


def follow(
    control: ControlClient,
    plan: Plan,
    timeout: float,
    abandoned: Callable[[], bool] = lambda: False,
) -> None:
    """Make a server serve the plan, and wait until it does. What it serves already stays untouched.

    Args:
        timeout: seconds for each version to become available.
        abandoned: asked again and again; whether the plan is not wanted any more.

    Raises:
        ServingError: NOT_FOUND, a version's folder is not there; CANCELLED, it was abandoned; else
            the error of the version that could not be loaded. The models that served before serve
            on, with their old versions.
    """
    _Following(control, timeout, abandoned).follow(plan)


class _Following:
    """The steps towards one plan."""

    def __init__(
        self, control: ControlClient, timeout: float, abandoned: Callable[[], bool]
    ) -> None:
        self._control, self._timeout, self._abandoned = control, timeout, abandoned

    def follow(self, plan: Plan) -> None:
        control = self._control
        served = {model["name"]: model for model in control.describe_models()}
        for model in plan.models:
            _check_folders(model)
        slots = plan.options.get("num_batch_threads")
        if slots is not None and control.describe_server()["num_batch_threads"] != slots:
            control.set_slots(slots)
        for model in plan.models:
            if model.name in served:
                self._change(model, served[model.name])
            else:
                self._add(model)
        for name in served.keys() - {model.name for model in plan.models}:
            self._remove(name)

    def _add(self, model: PlannedModel) -> None:
        try:
            self._control.put_model(model.name, model.pinned.to_json())
            self._load(model, model.versions)
        except ServingError:
            self._remove(model.name)
            raise

    def _change(self, model: PlannedModel, served: ModelDescription) -> None:
        """Change one model; after a failure, its old settings are in force again."""
        before = {name: served[name] for name in MODEL_SETTINGS if name in served}  # type: ignore[literal-required]
        wanted = model.pinned.to_json()
        if before == wanted:
            return
        old = ModelConfig.from_json(before)
        try:
            self._change_settings(model.name, before, wanted)
            self._change_versions(model, served)
        except ServingError:
            self._change_settings(model.name, wanted, old.to_json())
            self._control.patch_model(
                model.name, version_policy=old.version_policy.to_json(), labels=dict(old.labels)
            )
            raise

    def _change_settings(
        self, name: str, before: Mapping[str, Any], wanted: Mapping[str, Any]
    ) -> None:
        changes = {
            setting: value
            for setting, value in wanted.items()
            if setting not in _OF_VERSIONS and before.get(setting) != value
        }
        if not changes:
            return
        if all(MODEL_SETTINGS[setting].changeable for setting in changes):
            self._control.patch_model(name, **changes)
        else:
            # The others are in force for workers that start from then on.
            self._control.put_model(name, {**before, **changes})

    def _change_versions(self, model: PlannedModel, served: ModelDescription) -> None:
        control, name = self._control, model.name
        serving = {v["version"] for v in served["versions"] if v["state"] == "AVAILABLE"}
        labels, versions = dict(model.config.labels), sorted(model.versions)
        together = sorted(serving | set(versions))
        if model.config.transition in _BOTH_SERVE and together != versions:
            control.patch_model(name, version_policy={"specific": together})
            self._load(model, versions)
            control.patch_model(name, labels=labels)
            control.patch_model(name, version_policy={"specific": versions})
        else:
            control.patch_model(name, version_policy={"specific": versions}, labels=labels)
            self._load(model, versions)
        for version in sorted(serving - set(versions)):
            waiting.until_gone(control, name, version, self._timeout)

    def _load(self, model: PlannedModel, versions: Sequence[int]) -> None:
        self._control.poll(model.name, list(versions))
        for version in versions:
            self._wait_for(model.name, version)

    def _wait_for(self, model: str, version: int) -> None:
        end = time.monotonic() + self._timeout
        while True:
            try:
                waiting.until_available(self._control, model, version, _STEP_SECONDS, written=True)
                return
            except ServingError as error:
                if error.code is not Code.DEADLINE_EXCEEDED:
                    raise
            if self._abandoned():
                raise ServingError(
                    Code.CANCELLED, f"Version {version} of {model} is not wanted any more"
                )
            if time.monotonic() > end:
                raise ServingError(
                    Code.DEADLINE_EXCEEDED,
                    f"Version {version} of {model} is not available after {self._timeout:.0f} s",
                )

    def _remove(self, name: str) -> None:
        self._control.delete_model(name)
        end = time.monotonic() + _REMOVE_SECONDS
        while time.monotonic() < end:
            if all(model["name"] != name for model in self._control.describe_models()):
                return
            time.sleep(_PAUSE_SECONDS)


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
