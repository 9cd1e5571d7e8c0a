"""A table of versions that is stepped by hand: the pure policy decides, then time passes.

The policy is the server's own (`core.versions.policies`). What a step adds is what the world does:
a
load ends well, a drained version is gone.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from workbench.core.versions.policies import Act, Version, policy_named
from workbench.core.versions.states import HarnessState

_S = HarnessState
# What a decision begins, and how what has begun goes on by itself.
_BEGIN = {Act.LOAD: _S.LOADING, Act.STAGE: _S.STAGING, Act.UNLOAD: _S.QUIESCING}
_GOES_ON = {
    _S.LOADING: (_S.READY, "has loaded, and serves"),
    _S.STAGING: (_S.STAGED, "is prepared: its graph is read, its weights are not restored yet"),
    _S.QUIESCING: (_S.UNLOADING, "has answered its last request"),
    _S.UNLOADING: (_S.DISABLED, "is gone, and its memory is back"),
}
EDITABLE = (
    *(_S.NEW, _S.LOADING, _S.READY, _S.QUIESCING, _S.UNLOADING, _S.DISABLED, _S.ERROR),
    *(_S.STAGING, _S.STAGED),
)
"""States that a row can be put into."""


@dataclass(frozen=True)
class Step:
    """One step: `decided` where the policy said what to do, else time has passed; `why` says it
    in words; `version` is None where there was nothing to do."""

    decided: bool
    version: int | None
    why: str


class PolicyTable:
    """Versions of one model, each in a state and wanted or not.

    Attributes:
        transition: a policy's name, as `server.transition` takes it.
        rows: the versions, by number.
    """

    def __init__(self, rows: Iterable[Version], transition: str = "smooth") -> None:
        self.transition = transition
        self.rows = {row.version: row for row in rows}

    @classmethod
    def example(cls, transition: str = "smooth") -> PolicyTable:
        """Version 1 serves and version 2 has just appeared in the folder."""
        return cls(
            [Version(1, _S.READY, False), Version(2, _S.NEW, True)],
            transition,
        )

    @property
    def serving(self) -> list[int]:
        """The versions that answer requests now."""
        return [v.version for v in self.rows.values() if v.state is _S.READY]

    @property
    def in_memory(self) -> list[int]:
        """The versions whose weights take memory now."""
        held = (_S.LOADING, _S.READY, _S.UNLOAD_REQUESTED, _S.QUIESCING, _S.QUIESCED, _S.UNLOADING)
        return [v.version for v in self.rows.values() if v.state in held]

    def set(
        self, version: int, state: HarnessState | None = None, aspired: bool | None = None
    ) -> None:
        """Edit a row, or add one."""
        row = self.rows.get(version, Version(version, _S.NEW, True))
        self.rows[version] = Version(
            version,
            row.state if state is None else state,
            row.aspired if aspired is None else aspired,
        )

    def step(self) -> Step:
        """What happens next: a decision of the policy, else what has begun goes on."""
        action = policy_named(self.transition)(list(self.rows.values()))
        if action is not None:
            self.set(action.version, _BEGIN[action.act])
            return Step(True, action.version, f"{action.act.value} {action.version}: {action.why}")
        for row in self.rows.values():
            if row.state in _GOES_ON:
                state, what = _GOES_ON[row.state]
                self.set(row.version, state)
                return Step(False, row.version, f"version {row.version} {what}")
        return Step(False, None, "nothing is left to do")

    def run(self, limit: int = 100) -> list[Step]:
        """Step until nothing is left to do.

        Raises:
            RuntimeError: it does not come to rest within `limit` steps.
        """
        steps: list[Step] = []
        while len(steps) < limit:
            step = self.step()
            if step.version is None:
                return steps
            steps.append(step)
        raise RuntimeError(f"{self.transition} does not come to rest within {limit} steps")
