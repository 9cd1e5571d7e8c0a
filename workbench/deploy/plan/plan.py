# ruff: noqa: RUF009 - `setting` makes fields, as `dataclasses.field` does.
"""The plan of a fleet: everything that its servers have in common, as a plain record.

    plan = plan_of_server(server)       # see `plan_sources`
    print(plan)
    plan.to_json()

A plan holds no token and no address, so it can be shown, kept and compared.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from workbench.core.batching.parameters import BatchingParameters
from workbench.core.memory.budget import size
from workbench.core.model_settings import ModelConfig
from workbench.core.setting_kinds import (
    Kind,
    check_fields,
    check_known,
    listed,
    number,
    optional,
    plain_fields,
    read_fields,
    required,
    setting,
    whole,
)
from workbench.core.status import invalid_argument
from workbench.core.versions.version_policy import VersionPolicy, is_version
from workbench.processes.paths import check_name
from workbench.processes.server_options import SERVER_OPTIONS, ServerOptions

HEADROOM = 1.25
"""A server gets this many times the memory that its models and processes were seen to take: buffers
of requests, and larger batches than those that were measured."""

SHARED_OPTIONS = (
    "num_batch_threads",
    "per_version_slots",
    "poll_seconds",
    "rest_timeout_seconds",
    "metrics_path",
    "grpc_health",
    "grpc_channel_arguments",
    "enable_cors",
    "allowed_origins",
    "check_method_names",
    "tensor_content",
    "labels_for_unavailable",
)
"""The options of a server that all servers of a fleet share. The others say where one of them
listens, and who may call it."""

_DEFAULTS = ServerOptions("any").to_json()
_WHAT = "Setting"
_NAME = Kind("a fleet's name", lambda value: True, check_name)


def _is_memory(item: tuple[Any, Any]) -> bool:
    version, held = item
    return str(version).isdecimal() and type(held) is int and held >= 0


_BYTES = Kind(
    "an object of version numbers with bytes",
    lambda value: isinstance(value, Mapping) and all(map(_is_memory, value.items())),
    lambda value: {int(version): held for version, held in value.items()},
    lambda value: {str(version): held for version, held in value.items()},
)
_VERSIONS = listed("a list of version numbers", is_version)
_HOW = Kind("'measured' or 'estimated'", lambda value: value in ("measured", "estimated"))
_PARAMETERS = Kind(
    "an object of batching parameters",
    lambda value: isinstance(value, BatchingParameters | Mapping),
    lambda value: BatchingParameters.from_json(value) if isinstance(value, Mapping) else value,
    BatchingParameters.to_json,
)


@dataclass(frozen=True)
class PlannedModel:
    """One model of a fleet.

    Raises:
        ServingError: INVALID_ARGUMENT, naming the field, its value, and the allowed values.
    """

    config: ModelConfig = required(
        Kind(
            "an object of model settings",
            lambda value: isinstance(value, ModelConfig | Mapping),
            lambda v: ModelConfig.from_json(v) if isinstance(v, Mapping) else v,
            ModelConfig.to_json,
        ),
        "the settings of the model, as a server keeps them",
    )
    versions: tuple[int, ...] = setting(
        (), _VERSIONS, "the versions that serve, in ascending order"
    )
    memory_bytes: Mapping[int, int] = setting(
        dict, _BYTES, "the host memory of each version, in bytes"
    )
    memory_known: str = setting("estimated", _HOW, "where `memory_bytes` comes from")
    automatic: BatchingParameters | None = setting(
        None,
        optional(_PARAMETERS, "for a signature that runs alone, or where nothing is known"),
        "what automatic batching was found to do with all signatures of its versions",
    )

    def __post_init__(self) -> None:
        check_fields(self, _WHAT)
        object.__setattr__(self, "versions", tuple(sorted(set(self.versions))))
        missing = set(self.config.labels.values()) - set(self.versions)
        if missing and self.versions:
            label = next(n for n, v in self.config.labels.items() if v in missing)
            raise invalid_argument(
                f"Label {label!r} of {self.name} names version {self.config.labels[label]}, which "
                f"the plan does not serve; it serves {', '.join(map(str, self.versions))}"
            )

    @property
    def name(self) -> str:
        """What requests call the model."""
        return self.config.name

    @property
    def pinned(self) -> ModelConfig:
        """The settings with exactly the planned versions, so that a folder that gets one more
        changes no server by itself."""
        return replace(
            self.config, version_policy=VersionPolicy("specific", versions=self.versions)
        )

    @property
    def batching(self) -> BatchingParameters | None:
        """The parameters in force: those that are set, else those of automatic batching; None if
        requests run alone, or by each version's own file."""
        if self.config.version_batching:
            return None
        automatic = self.automatic if self.config.automatic_batching else None
        return self.config.batching or automatic

    @property
    def steady_bytes(self) -> int:
        """The host memory of all versions that serve."""
        return sum(self.memory_bytes.get(version, 0) for version in self.versions)

    @property
    def changing_bytes(self) -> int:
        """The host memory that a change of version needs in addition: that of one more version,
        unless the old one is unloaded first."""
        if self.config.transition.startswith("unload_first"):
            return 0
        return max((self.memory_bytes.get(version, 0) for version in self.versions), default=0)

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> PlannedModel:
        """Read a planned model; raises INVALID_ARGUMENT, naming the field that is wrong."""
        return read_fields(cls, data, "planned model setting")

    def with_versions(self, versions: Sequence[int], labels: Mapping[str, int]) -> PlannedModel:
        """The same model with other versions and labels. A version whose memory is not known counts
        as the largest that is."""
        known = dict(self.memory_bytes)
        largest = max(known.values(), default=0)
        return PlannedModel(
            replace(self.config, labels=dict(labels)),
            tuple(versions),
            {version: known.get(version, largest) for version in versions},
            self.memory_known if all(v in known for v in versions) else "estimated",
            self.automatic,
        )


def _read_models(value: Sequence[Any]) -> tuple[PlannedModel, ...]:
    return tuple(
        PlannedModel.from_json(each) if isinstance(each, Mapping) else each for each in value
    )


@dataclass(frozen=True)
class Plan:
    """What a fleet serves, and on how many servers.

    Raises:
        ServingError: INVALID_ARGUMENT, naming the field, its value, and the allowed values.
    """

    name: str = required(_NAME, "the name of the fleet")
    models: tuple[PlannedModel, ...] = required(
        Kind(
            "a list of models",
            lambda value: isinstance(value, list | tuple) and len(value) > 0,
            _read_models,
            lambda value: [plain_fields(each) for each in value],
        ),
        "the models that each server serves",
    )
    servers: int = setting(2, whole(1), "how many servers there are")
    options: Mapping[str, Any] = setting(
        dict,
        Kind("an object of server options", lambda v: isinstance(v, Mapping), dict, dict),
        "the options that all servers share",
    )
    server_bytes: int = setting(
        0, whole(0, unit="bytes"), "the host memory of a server without any version"
    )
    cpus: float | None = setting(
        None, optional(number(0, above=True), "for one for each batch thread"), "CPUs of a server"
    )
    gpus: int = setting(0, whole(0), "GPUs of a server")

    def __post_init__(self) -> None:
        check_fields(self, _WHAT)
        for name in self.options:
            check_known(name, SHARED_OPTIONS, "option of a fleet's servers")
        checked = {n: SERVER_OPTIONS[n].check(n, v, "Option") for n, v in self.options.items()}
        plain = {n: SERVER_OPTIONS[n].kind.plain(value) for n, value in checked.items()}
        object.__setattr__(self, "options", plain)
        names = [model.name for model in self.models]
        twice = next((name for name in names if names.count(name) > 1), None)
        if twice is not None:
            raise invalid_argument(f"The plan has two models of the name {twice!r}: rename one")

    @property
    def memory_bytes(self) -> int:
        """The host memory that one server should be given: its processes, all versions that serve,
        the version that one more change brings in beside them, and `HEADROOM`."""
        steady = sum(model.steady_bytes for model in self.models)
        # Models change one after the other.
        changing = max(model.changing_bytes for model in self.models)
        return math.ceil((self.server_bytes + steady + changing) * HEADROOM)

    @property
    def memory_known(self) -> str:
        """``measured``, or ``estimated`` if any part is."""
        kinds = {model.memory_known for model in self.models}
        return "measured" if kinds == {"measured"} and self.server_bytes else "estimated"

    @property
    def cpu_count(self) -> float:
        """CPUs of one server: as given, else one for each batch thread, else 1."""
        return self.cpus or float(self.options.get("num_batch_threads") or 1)

    @property
    def versions(self) -> dict[str, list[int]]:
        """The versions that serve, by model."""
        return {model.name: list(model.versions) for model in self.models}

    def model(self, name: str | None = None) -> PlannedModel:
        """A model by its name; without one, the first.

        Raises:
            ServingError: INVALID_ARGUMENT, the plan has no such model.
        """
        if name is None:
            return self.models[0]
        for each in self.models:
            if each.name == name:
                return each
        known = ", ".join(each.name for each in self.models)
        raise invalid_argument(f"The plan of {self.name} has no model {name!r}; it has {known}")

    def with_model(self, changed: PlannedModel) -> Plan:
        """The plan with another record of one of its models."""
        models = tuple(changed if m.name == changed.name else m for m in self.models)
        return replace(self, models=models)

    def to_json(self) -> dict[str, Any]:
        """The plan as plain data, for `from_json`."""
        return plain_fields(self)

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Plan:
        """Read a plan.

        Raises:
            ServingError: INVALID_ARGUMENT, naming the field that is wrong.
        """
        return read_fields(cls, data, "plan setting")

    def __str__(self) -> str:
        lines = [f"Fleet {self.name}: {self.servers} server{'s' * (self.servers != 1)}"]
        for model in self.models:
            config = model.config
            held = ", ".join(
                f"{v} ({size(model.memory_bytes[v])})" if v in model.memory_bytes else str(v)
                for v in model.versions
            )
            labels = ", ".join(f"{name} = {v}" for name, v in config.labels.items())
            lines += [
                f"  model {model.name}: versions {held or 'none'}",
                f"    folder      {config.base_path}",
                f"    labels      {labels or 'none'}",
                f"    transition  {config.transition}",
                f"    batching    {batching_words(config)}",
            ]
        changed = {n: v for n, v in self.options.items() if v != _DEFAULTS[n]}
        if changed:
            shown = ", ".join(f"{name}={value}" for name, value in changed.items())
            lines.append(f"  options of each server: {shown}")
        lines.append(
            f"  memory of each server: {size(self.memory_bytes)} ({self.memory_known}, with "
            f"{HEADROOM - 1:.0%} headroom and room for a change of version)"
        )
        return "\n".join(lines)


def batching_words(config: ModelConfig) -> str:
    """The batching of a model in words: ``automatic``, ``none``, or its parameters."""
    if config.batching is None:
        return "automatic" if config.automatic_batching else "none"
    given = config.batching.to_json()
    return ", ".join(f"{n}={v}" for n, v in given.items() if v not in (None, [], False))
