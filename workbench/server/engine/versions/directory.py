"""The models of a server by name, and the questions that others ask about them."""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import Callable

from workbench.core.status import Reason, invalid_argument, not_found
from workbench.core.versions.holding import worth_waiting
from workbench.core.versions.policies import Version, transition_named
from workbench.core.versions.states import HarnessState
from workbench.server.engine.memory.reservations import is_refused
from workbench.server.engine.telemetry.traffic_recorder import TrafficRecorder
from workbench.server.engine.versions.model import ENDED_KEPT, Model, Served

REMOVED_KEPT = 1000
"""Removed models whose versions are still reported as ended; the latest of them."""


class Directory:
    """The models of a server.

    Attributes:
        models: by name; removed ones too, until their versions are gone.
        stopping: whether the server is being stopped.
        changed: set, and replaced by a fresh one, whenever any version may have changed.
        recorder: records when requests arrive, where a client asks for it.
    """

    def __init__(self) -> None:
        self.models: dict[str, Model] = {}
        self.stopping = False
        # Versions of removed models: all have ended.
        self._removed: dict[str, dict[int, Served]] = {}
        self.changed = asyncio.Event()
        self.recorder = TrafficRecorder()

    def get(self, name: str, *, removed: bool = False) -> Model:
        """A model by its name; with `removed` also one that is gone as soon as its versions are
        unloaded.

        Raises:
            ServingError: NOT_FOUND, with the reason MODEL_UNKNOWN.
        """
        model = self.models.get(name)
        if model is None or (model.removed and not removed):
            raise not_found(f"Could not find model {name}", Reason.MODEL_UNKNOWN)
        return model

    def everyone(self) -> list[Served]:
        """All versions that may have a process. Safe to call from another thread."""
        return [served for model in list(self.models.values()) for served in model.everyone()]

    def any_serves(self) -> bool:
        """Whether a version of any model serves."""
        return any(model.ready is not None for model in self.models.values())

    def find(self, name: str, version: int | None = None, label: str | None = None) -> Served:
        """The version that answers a request: the one asked for by number or by label, else
        the highest that is available.

        Raises:
            ServingError: NOT_FOUND or INVALID_ARGUMENT, with TensorFlow Serving's text.
            OutOfService: it served and crashed, and is not back yet.
        """
        model = self.models.get(name)
        if label is not None:
            version = model.config.labels.get(label) if model is not None else None
            if version is None:
                raise invalid_argument(f"Unrecognized servable version label: {label}")
        if version is None:
            if model is not None and model.ready is not None:
                return model.ready
            _refuse_after_crash(model)
            raise not_found(f"Servable not found for request: Latest({name})")
        served = model.versions.get(version) if model is not None else None
        if served is None or served.harness.state is not HarnessState.READY:
            _refuse_after_crash(model, version)
            raise not_found(f"Servable not found for request: Specific({name}, {version})")
        return served

    def hold(
        self,
        name: str,
        resume: Callable[[], None],
        size: int = 0,
        left_seconds: float = math.inf,
    ) -> Callable[[], None] | None:
        """Hold a request for which there is no version just now: if nothing serves after a crash
        and a version is expected back in time, or if the model's transition holds requests and a
        version is on its way.

        Args:
            resume: called once when the request may look for a version again.
            size: bytes of its body.
            left_seconds: how long it can wait.

        Returns:
            A function that takes the request out again; None if it is not held.

        Raises:
            ServingError: UNAVAILABLE, too many or too large ones are held already.
        """
        model = self.models.get(name)
        if model is None or self.stopping:
            return None
        outage = model.outage()
        if outage is not None:
            now = time.monotonic()
            if outage.expected_at(now) > now + left_seconds:
                return None
        elif not transition_named(model.config.transition).holds or not is_worth_waiting(model):
            return None
        if not model.held:
            model.held_since = time.monotonic()
        return model.held.add(resume, size)

    def status(self, name: str, version: int | None = None) -> list[Served]:
        """All versions of a model, highest first, or the one asked for.

        As in TensorFlow Serving, the versions of a removed model have ended, and stay so even when
        the model is added again, until a version of the same number is loaded.

        Raises:
            ServingError: NOT_FOUND, with TensorFlow Serving's text.
        """
        model = self.models.get(name)
        known = dict(self._removed.get(name, {}))
        if model is not None:
            known.update((served.id.version, served) for served in model.listed())
        listed = [known[v] for v in sorted(known, reverse=True)]
        if version is None:
            if not listed:
                raise not_found(f"Could not find any versions of model {name}")
            return listed
        for served in listed:
            if served.id.version == version:
                return [served]
        raise not_found(f"Could not find version {version} of model {name}")

    def notify(self) -> None:
        """Wake everything that waits for `changed`."""
        changed, self.changed = self.changed, asyncio.Event()
        changed.set()

    def forget(self, model: Model) -> None:
        """Drop a removed model; of its versions only their final word is kept."""
        self.models.pop(model.name, None)
        ended = self._removed.pop(model.name, {})
        ended.update((v, Served(s.harness, s.found)) for v, s in model.ended.items())
        while len(ended) > ENDED_KEPT:
            del ended[next(iter(ended))]
        if ended:
            self._removed[model.name] = ended
        while len(self._removed) > REMOVED_KEPT:
            del self._removed[next(iter(self._removed))]


def view_of(model: Model) -> list[Version]:
    """A model's versions as `reconcile` looks at them."""
    return [
        Version(
            number,
            served.harness.state,
            served.harness.aspired,
            refused=is_refused(served) or served.found.damage is not None,
        )
        for number, served in model.versions.items()
    ]


def is_worth_waiting(model: Model) -> bool:
    """Whether a version of a model that does not serve now may serve soon."""
    comes_back = any(served.outdated for served in model.versions.values())
    return (
        worth_waiting(view_of(model))
        or model.falling_back
        or comes_back
        or model.outage() is not None
    )


def _refuse_after_crash(model: Model | None, version: int | None = None) -> None:
    """Raise OutOfService if a version is missing because it crashed."""
    outage = None if model is None else model.outage(version)
    if outage is not None:
        raise outage.refusal(time.monotonic())
