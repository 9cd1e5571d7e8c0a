"""What a plan says and the exported files cannot: on TensorFlow Serving, or at all."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping
from typing import Any, NamedTuple

from workbench.deploy.export.serving_export import LIBRARIES, ServingExport
from workbench.deploy.export.tf_serving import (
    MODEL_FLAGS,
    OWN_MODEL_FLAGS,
    batching_of,
    shared_setting,
)


class NotExpressed(NamedTuple):
    """One thing that the servers do otherwise than planned.

    Attributes:
        setting: its name in the plan.
        planned: the planned value, in words.
        instead: what the servers do.
    """

    setting: str
    planned: str
    instead: str

    def __str__(self) -> str:
        return f"`{self.setting}` ({self.planned}): {self.instead}"


def _is(*same: Any) -> Callable[[Any], bool]:
    return lambda value: value in same


_LOST: Mapping[str, tuple[Callable[[Any], bool], str]] = {
    "transition": (
        _is("smooth"),
        "the new version is loaded beside the old one, so both must fit into memory",
    ),
    "probe": (
        _is("off"),
        "a version that loads serves, even if it fails each request: try it before you publish it",
    ),
    "fall_back": (
        _is(False),
        "if no planned version loads at the start, the server ends; none before it is tried",
    ),
    "reload_replaced_versions": (
        _is(False),
        "a folder that is replaced under its number is not noticed: give each model a new number",
    ),
    "hang_seconds": (lambda value: False, "a run that hangs keeps its thread until a restart"),
    "device": (_is("auto", "cpu"), "the image and the GPUs of the container decide"),
    "memory_limit_bytes": (
        _is(None),
        "one process holds all versions; only the limit of its container holds it back",
    ),
    "gpu_memory_limit_bytes": (
        _is(None),
        "use --per_process_gpu_memory_fraction, which holds for the whole server",
    ),
    "servable_versions_always_present": (
        _is(False),
        "if a model's folder becomes empty, its versions are unloaded",
    ),
    "retry_all_load_errors": (_is(True), "every failed load is tried again, whatever the reason"),
    "op_libraries": (_is(()), "build an image of TensorFlow Serving with these operations"),
}
"""For each setting of a model that TensorFlow Serving lacks: whether a value is what it does
anyway, and what it does otherwise."""


def not_expressed(export: ServingExport) -> list[NotExpressed]:
    """Everything that a server started from the exported files does otherwise than planned."""
    found = [*_of_models(export), *_of_batching(export), *_of_options(export)]
    return list(dict.fromkeys(found))


def _of_models(export: ServingExport) -> Iterator[NotExpressed]:
    if not export.own_server:
        for config in export.configs():
            for setting, (same, instead) in _LOST.items():
                value = getattr(config, setting)
                if not same(value):
                    yield NotExpressed(setting, _shown(value), instead)
    flags = {**MODEL_FLAGS, **(OWN_MODEL_FLAGS if export.own_server else {})}
    for setting, (flag, _) in flags.items():
        if not shared_setting(export, setting)[0]:
            yield NotExpressed(
                setting,
                _shown({c.name: getattr(c, setting) for c in export.configs()}),
                f"--{flag} holds for all models, so it is left at the server's default",
            )
    paths = [each for m in export.plan.models for each in m.config.op_libraries]
    if export.own_server and any(map(os.path.isabs, paths)):
        yield NotExpressed(
            "op_libraries",
            _shown([os.path.basename(each) for each in paths if os.path.isabs(each)]),
            f"copy these files into the image, into {LIBRARIES}",
        )


def _of_batching(export: ServingExport) -> Iterator[NotExpressed]:
    batching = batching_of(export)
    if batching.automatic:
        return
    for model in export.plan.models:
        config = model.config
        if config.batching is not None or config.version_batching:
            continue
        if config.automatic_batching and model.automatic is not None:
            yield NotExpressed(
                "automatic_batching",
                f"on for {model.name}",
                "the parameters that it was found to use are written down. A later version whose "
                "rows depend on each other would be batched all the same, and a request of more "
                f"than {model.automatic.max_batch_size} rows is refused",
            )
        elif config.automatic_batching:
            yield NotExpressed(
                "automatic_batching",
                f"on for {model.name}",
                "requests run alone, because a signature must not be merged or nothing is known "
                "of it (a plan of a running server knows)",
            )
    if batching.by_version:
        yield NotExpressed(
            "batching",
            "differs between models",
            "each version has a file of its own (`batching_params.pbtxt`); a new version needs "
            "one too, or its requests run alone",
        )


def _of_options(export: ServingExport) -> Iterator[NotExpressed]:
    settings = export.server_settings
    if settings["metrics_path"] is None:
        yield NotExpressed(
            "metrics_path", "none", f"metrics are shown at {export.metrics_path} for the alerts"
        )
    if settings["poll_seconds"] != max(1, round(settings["poll_seconds"])):
        yield NotExpressed(
            "poll_seconds", _shown(settings["poll_seconds"]), "the flag takes whole seconds"
        )
    if export.own_server:
        return
    if settings["per_version_slots"]:
        yield NotExpressed("per_version_slots", "on", "all versions share the batch threads")
    if settings["allowed_origins"]:
        yield NotExpressed(
            "allowed_origins",
            _shown(settings["allowed_origins"]),
            "TensorFlow Serving answers web pages of every origin",
        )


def _shown(value: Any) -> str:
    if isinstance(value, Mapping):
        return ", ".join(f"{name}: {_shown(each)}" for name, each in value.items())
    if isinstance(value, list | tuple):
        return ", ".join(map(str, value)) or "none"
    if isinstance(value, bool):
        return "on" if value else "off"
    return str(value)
