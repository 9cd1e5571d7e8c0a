"""Adds windows of load to trials, each of one version and one setting.

A window during which somebody changed the server is void and measured again. If another version
answers than at the beginning, the measurement ends: its points would be of two versions.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace

from workbench.client.server import ServerClient
from workbench.core.status import Code, ServingError, failed_precondition, not_found
from workbench.experiments.load.borrowed_settings import Borrowed
from workbench.experiments.load.measure import Where, measure, wait_until_settled
from workbench.experiments.load.server_load import Payload
from workbench.experiments.sweep.certainty import Goal
from workbench.experiments.sweep.point import Point, summarize
from workbench.experiments.sweep.time_budget import Trial
from workbench.load.arrivals import Schedule

_VOID_WINDOWS = 5
"""So many void windows in a row end a measurement: somebody else works with the server."""


@dataclass
class Measuring:
    """Measures one version of a server's model.

    Attributes:
        borrowed: the settings of the server; None: they are measured as they are.
        shape: the schedule of an open loop, of which rate, duration and seed are ignored.
        voids: why windows were void, a reason for each.
        version: the version that answered at the beginning.

    Raises:
        ServingError: NOT_FOUND, no version is available.
    """

    server: ServerClient
    borrowed: Borrowed | None
    payload: Payload
    where: Where
    shape: Schedule
    seed: int
    voids: list[str] = field(default_factory=list)
    version: int = field(init=False)
    _patience: float = 60.0

    def __post_init__(self) -> None:
        self.version = served_version(self.server)

    def add_window(self, trial: Trial) -> None:
        """Load the server with the trial's setting, and add the window to it.

        Raises:
            ServingError: FAILED_PRECONDITION, another version answers now; ABORTED, the server is
                changed again and again; or the server's refusal.
            LoadError: the load generator failed.
        """
        load: Schedule | int
        if "clients" in trial.load:
            load = int(trial.load["clients"])
        else:
            load = replace(
                self.shape,
                rate=trial.load["rate"],
                duration_s=trial.window_seconds,
                seed=self.seed * 1000 + len(trial.windows),
            )
        for _ in range(_VOID_WINDOWS):
            # A version that fails to load may be on its way for ever.
            self._patience -= wait_until_settled(self.server, self._patience)
            if self.borrowed is not None:
                self.borrowed.use(trial.parameters)
            window = measure(self.server, self.payload, load, trial.window_seconds, self.where)
            if window.version != self.version:
                raise failed_precondition(
                    f"Version {self.version} of {self.server.model} was measured, and version "
                    f"{window.version} answers now: start again to measure that one"
                )
            if not window.void:
                trial.windows.append(window)
                return
            self.voids.append(window.void)
        raise ServingError(
            Code.ABORTED,
            f"{_VOID_WINDOWS} windows of load in a row were void (the last one because "
            f"{self.voids[-1]}): start again when nobody else changes {self.server.name}",
        )

    def point(self, trial: Trial, goal: Goal, memory_bytes: int | None = None) -> Point:
        """The trial as a point; the worker's memory is read now unless it is given."""
        memory = worker_memory(self.server, self.version) if memory_bytes is None else memory_bytes
        return summarize(
            trial.parameters, trial.load, self.payload.rows, trial.windows, memory, goal
        )


def served_version(server: ServerClient) -> int:
    """The version that answers.

    Raises:
        ServingError: NOT_FOUND, none is available.
    """
    available = server.versions.available
    if not available:
        raise not_found(f"No version of {server.model} is available: publish one, or wait for one")
    return max(available)


def worker_memory(server: ServerClient, version: int) -> int | None:
    """Private bytes of the version's worker process, measured now."""
    frame = server.memory()
    found = frame[(frame["model"] == server.model) & (frame["version"] == version)]["uss"]
    return int(found.iloc[0]) if len(found) else None
