"""A table of versions that is stepped by hand: `reconcile` decides, then time passes.

The decisions are the server's own (`core.versions.reconcile`). The table adds what the world does:
loads succeed, requests are answered, processes end.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

from workbench.core.versions.policies import Act, Action, Version
from workbench.core.versions.reconcile import reconcile
from workbench.core.versions.states import HarnessState

_S = HarnessState
# Here approval is immediate and nothing fails: an action shows the first state that takes time.
_BEGIN = {
    Act.LOAD: _S.LOADING,
    Act.STAGE: _S.STAGING,
    Act.UNLOAD: _S.QUIESCING,
    Act.CANCEL: _S.UNLOADING,
}
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
    """One step in words.

    Attributes:
        by: ``policy``: the policy decided; ``server``: the server cleaned up without asking it;
            ``time``: something that had begun went on.
        version: None if there was nothing to do.
    """

    by: Literal["policy", "server", "time"]
    version: int | None
    why: str

    @property
    def decided(self) -> bool:
        """Whether the policy decided."""
        return self.by == "policy"


class PolicyTable:
    """Versions of one model, each in a state and wanted or not.

    Attributes:
        transition: a policy's name, as `server.transition` takes it.
        rows: the versions, by number. Those that are forgotten disappear.
    """

    def __init__(self, rows: Iterable[Version], transition: str = "smooth") -> None:
        self.transition = transition
        self.rows = {row.version: row for row in rows}

    @classmethod
    def example(cls, transition: str = "smooth") -> PolicyTable:
        """Version 1 serves and version 2 has just appeared in the folder."""
        return cls([Version(1, _S.READY, False), Version(2, _S.NEW, True)], transition)

    @property
    def serving(self) -> list[int]:
        """The versions that answer requests now."""
        return [v.version for v in self.rows.values() if v.state is _S.READY]

    @property
    def in_memory(self) -> list[int]:
        """The versions whose weights take memory now."""
        return [v.version for v in self.rows.values() if v.state.holds_weights]

    def set(
        self, version: int, state: HarnessState | None = None, aspired: bool | None = None
    ) -> None:
        """Edit a row, or add one."""
        row = self.rows.get(version, Version(version, _S.NEW, True))
        self.rows[version] = row._replace(
            state=row.state if state is None else state,
            aspired=row.aspired if aspired is None else aspired,
        )

    def step(self) -> Step:
        """Take the next action; if there is none, let time pass for one version."""
        actions = reconcile(list(self.rows.values()), self.transition)
        if actions:
            return self._take(actions[0])
        for row in self.rows.values():
            if row.state in _GOES_ON:
                state, what = _GOES_ON[row.state]
                self.set(row.version, state)
                return Step("time", row.version, f"version {row.version} {what}")
        return Step("time", None, "nothing is left to do")

    def _take(self, action: Action) -> Step:
        if action.act is Act.FORGET:
            del self.rows[action.version]
        else:
            self.set(action.version, _BEGIN[action.act])
        what = f"{action.act.value} {action.version}: {action.why}"
        return Step("policy" if action.act.is_of_policy else "server", action.version, what)

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
