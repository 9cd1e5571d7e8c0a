"""Carries out what is decided about versions: the parts of a version's life, put together."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from workbench.core.batching.parameters import BatchingParameters
from workbench.server.engine.versions.life.leaving import Leaving
from workbench.server.engine.versions.life.renewal import Renewals
from workbench.server.engine.versions.life.revival import Revival
from workbench.server.engine.versions.life.rising import Rising
from workbench.server.engine.versions.life.shared import Shared


class Lifecycle:
    """One method for each action (`core.versions.policies.Act`) that takes work.

    Each begins the action and returns. When the work has ended, or paused, `Shared.decide` is
    called.

    Attributes:
        renewals: versions whose folders were replaced.
    """

    def __init__(
        self, shared: Shared, read_batching: Callable[[Path], BatchingParameters] | None = None
    ) -> None:
        leaving = Leaving(shared)
        rising = Rising(shared, Revival(shared), leaving, read_batching)
        self.load = rising.load
        self.stage = rising.stage
        self.refuse = rising.refuse
        self.unload = leaving.unload
        self.cancel = leaving.cancel
        self.renewals = Renewals(shared, rising)
