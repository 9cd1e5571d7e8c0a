"""Replaces the configuration of a running server: all of its models at once.

As in TensorFlow Serving's `ServerCore::ReloadConfig`, models that are no longer listed are
unloaded, new ones are loaded, and the caller waits until each new one is ready or has failed. Three
things are better on purpose. Everything is checked before anything is changed, so a refused
configuration leaves no trace. A model without any version is reported instead of being waited for
forever. And a label may name a version that the same configuration brings.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from typing import Any

from workbench.core.model_settings import ModelConfig
from workbench.core.status import Code, ServingError, failed_precondition
from workbench.core.versions.states import HarnessState
from workbench.core.versions.version_policy import parse_version
from workbench.formats.config_files import STATED, model_configs, read_text_proto
from workbench.server.engine.versions.manager import Manager
from workbench.server.engine.versions.model import Model

FILES_SECONDS = 10.0
"""How long a new model's incomplete version is waited for before it counts as missing."""


class Reloader:
    """Brings the models of a server in line with `ModelServerConfig` messages.

    Args:
        on_change: called when the models have changed, to save them.
        defaults: settings of every model that such a message does not state.
        labels_for_unavailable: a new label may also name a version that does not exist.
    """

    def __init__(
        self,
        manager: Manager,
        on_change: Callable[[], None],
        defaults: Mapping[str, Any] | None = None,
        labels_for_unavailable: bool = False,
    ) -> None:
        self._manager = manager
        self._on_change = on_change
        self._defaults = dict(defaults or {})
        self._labels_for_unavailable = labels_for_unavailable

    async def reload(self, config: Any) -> None:
        """Replace all models by those that `config`, a `ModelServerConfig` message, lists.

        Raises:
            ServingError: INVALID_ARGUMENT or FAILED_PRECONDITION, and nothing has changed; or
                UNKNOWN, the configuration is in place and some new model is not ready.
        """
        if config.WhichOneof("config") is None:
            return
        wanted = [self._kept(model) for model in model_configs(config, self._defaults)]
        for model in wanted:
            before = self._manager.models.get(model.name)
            check_labels(model, before, self._labels_for_unavailable)
        names = {model.name for model in wanted}
        new = [m.name for m in wanted if m.name not in self._current()]
        events = self._manager.events
        events.add("models_adding")
        for name in self._current() - names:
            self._manager.remove_model(name)
        for model in wanted:
            self._manager.set_model(model)
        self._on_change()
        failures = await wait_until_settled(self._manager, new)
        if failures:
            raise not_available(failures, "model(s)")
        events.add("models_added")

    def _kept(self, asked: ModelConfig) -> ModelConfig:
        """Settings that such a message does not state, such as the transition, stay as they are."""
        model = self._manager.models.get(asked.name)
        if model is None or model.removed:
            return asked
        return replace(model.config, **{name: getattr(asked, name) for name in STATED})

    def _current(self) -> set[str]:
        return {name for name, model in self._manager.models.items() if not model.removed}


def check_labels(wanted: ModelConfig, model: Model | None, for_unavailable: bool = False) -> None:
    """Refuse a label for a version that is neither available nor brought by this configuration.

    Args:
        model: the model as it is now, if it is there.
        for_unavailable: accept a label that is new, or stays where it is, for any version.

    Raises:
        ServingError: FAILED_PRECONDITION, with TensorFlow Serving's text.
    """
    old = model.config.labels if model is not None and not model.removed else {}
    for label, version in wanted.labels.items():
        served = model.versions.get(version) if model is not None else None
        if served is not None and served.harness.state is HarnessState.READY:
            continue
        if for_unavailable and old.get(label, version) == version:
            continue
        if version not in _brought(wanted):
            raise failed_precondition(
                f"Request to assign label to version {version} of model {wanted.name}, which "
                "is not currently available for inference"
            )


def _brought(config: ModelConfig) -> list[int]:
    """The versions that a configuration brings with it, as its folder is now."""
    try:
        names = os.listdir(config.base_path)
    except OSError:
        return []
    found = [version for version in map(parse_version, names) if version is not None]
    return config.version_policy.aspired(found)


async def wait_until_settled(manager: Manager, names: Iterable[str]) -> dict[str, str]:
    """Wait until each of these models is ready, or will not become so by itself.

    Returns:
        For each model that is not ready the reason, in TensorFlow Serving's layout.
    """
    loop = asyncio.get_running_loop()
    started = loop.time()
    waiting = set(names)
    failures: dict[str, str] = {}
    while True:
        changed = manager.changed
        for name in sorted(waiting):
            model = manager.models.get(name)
            reason = "" if model is None else _settled(model, loop.time() - started)
            if reason is None:
                continue
            waiting.discard(name)
            if reason:
                failures[name] = reason
        if not waiting:
            return failures
        with contextlib.suppress(asyncio.TimeoutError):
            await asyncio.wait_for(changed.wait(), 1.0)


def _settled(model: Model, waited: float) -> str | None:
    """An empty text for a model that is ready, the reason why it is not, or None while it may
    become so."""
    coming = [s for s in model.versions.values() if not s.harness.state.is_settled]
    # A version that has failed is tried again beside one that serves: there is no need to wait.
    if any(model.ready is None or not s.failed_loads for s in coming):
        return None
    if model.ready is not None:
        return ""
    if not model.polled:
        return None
    ended = [s for s in model.listed() if s.harness.state.is_final]
    if ended and not model.waiting:
        served = ended[0]
        error = served.harness.error
        reason = "OK" if error is None else f"{error.code.name}: {error.message}"
        return f"{{{served.id} due to error: {reason}}}"
    if model.waiting and waited < FILES_SECONDS:
        return None
    reasons = [f"version {v} is not complete: {why}" for v, why in model.waiting.items()]
    why = "; ".join(reasons or model.warnings) or "no version of it is aspired"
    return f"{{{{name: {model.name}}} due to error: NOT_FOUND: {why}}}"


def not_available(failures: Mapping[str, str], what: str) -> ServingError:
    """TensorFlow Serving's summary of what did not become available."""
    listed = "".join(f"{failures[name]}, " for name in sorted(failures))
    return ServingError(
        Code.UNKNOWN, f"{len(failures)} {what} did not become available: {{{listed}}}"
    )


async def follow_config_file(
    path: str, seconds: float, reloader: Reloader, complain: Callable[[str], object]
) -> None:
    """Poll a `ModelServerConfig` file; reload when its content changes, or when the reload of this
    content failed before."""
    in_place: bytes | None = None
    while True:
        await asyncio.sleep(seconds)
        try:
            config = await asyncio.to_thread(read_text_proto, path, "ModelServerConfig")
            content = config.SerializeToString(deterministic=True)
            if content != in_place:
                await reloader.reload(config)
                in_place = content
        except ServingError as error:
            complain(
                "PollFilesystemAndReloadConfig failed to ReloadConfig: "
                f"{error.code.name}: {error.message}"
            )
