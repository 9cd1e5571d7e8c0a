"""Carries out the decisions about versions: puts the parts of a version's life together."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from workbench.core.versions.policies import Act
from workbench.server.engine.versions.life.leaving import Leaving
from workbench.server.engine.versions.life.renewal import Renewals
from workbench.server.engine.versions.life.rising import Rising
from workbench.server.engine.versions.life.shared import Shared
from workbench.server.engine.versions.model import Model, Served


class Lifecycle:
    """Begins the actions that take work.

    Attributes:
        begin: for each action a function that begins it and returns. When the work has ended, or
            paused, `Shared.decide` is called.
        refuse: fails a version whose load has ended or never begins.
        renewals: versions whose folders were replaced.
    """

    def __init__(self, shared: Shared) -> None:
        leaving = Leaving(shared)
        rising = Rising(shared, leaving)
        self.begin: Mapping[Act, Callable[[Model, Served], None]] = {
            Act.LOAD: rising.load,
            Act.STAGE: rising.stage,
            Act.UNLOAD: leaving.unload,
            Act.CANCEL: leaving.cancel,
        }
        self.refuse = rising.refuse
        self.renewals = Renewals(shared, rising)
