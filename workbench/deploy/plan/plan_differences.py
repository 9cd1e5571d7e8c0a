"""Compares a plan with what a server reports (`Server.status()`)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

from workbench.core.model_settings import MODEL_SETTINGS, plain_setting
from workbench.deploy.plan.plan import SHARED_OPTIONS, Plan, PlannedModel

_PLACES = ("name", "base_path", "version_policy")
"""Settings that may differ between a plan and a server that keeps it: where the files are, and how
the versions are chosen. The versions themselves are compared."""


class Difference(NamedTuple):
    """One thing that a server has otherwise than planned.

    Attributes:
        where: ``model shop``, or ``server``.
        what: the setting, or ``versions``.
        planned, found: the values as plain data; None where there is none.
    """

    where: str
    what: str
    planned: Any
    found: Any

    def __str__(self) -> str:
        return f"{self.where}: {self.what} is {self.found}, planned is {self.planned}"


def differences(plan: Plan, status: Mapping[str, Any]) -> list[Difference]:
    """Everything that a server has otherwise than planned; empty if it keeps the plan.

    Args:
        status: of the server, as `Server.status` reports it.
    """
    served = {model["name"]: model for model in status["models"]}
    planned = {model.name for model in plan.models}
    found: list[Difference] = []
    for model in plan.models:
        if model.name in served:
            found += _of_model(model, served[model.name])
        else:
            found.append(Difference(f"model {model.name}", "versions", list(model.versions), None))
    for name in served:
        if name not in planned:
            has = _available(served[name])
            found.append(Difference(f"model {name}", "versions", None, has))
    options = {**status.get("options", {}), "num_batch_threads": status["num_batch_threads"]}
    for name in SHARED_OPTIONS:
        wanted = plan.options.get(name)
        if wanted is not None and options.get(name) != wanted:
            found.append(Difference("server", name, wanted, options.get(name)))
    return found


def _of_model(model: PlannedModel, served: Mapping[str, Any]) -> Iterator[Difference]:
    where = f"model {model.name}"
    has = _available(served)
    if has != list(model.versions):
        yield Difference(where, "versions", list(model.versions), has)
    settings = model.config.to_json()
    for name in MODEL_SETTINGS:
        if name in _PLACES or name not in served:
            continue
        if plain_setting(name, served[name]) != settings[name]:
            yield Difference(where, name, settings[name], served[name])


def _available(served: Mapping[str, Any]) -> list[int]:
    return sorted(v["version"] for v in served["versions"] if v["state"] == "AVAILABLE")
