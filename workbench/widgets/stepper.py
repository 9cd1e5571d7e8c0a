"""The policy stepper: edit the table of versions, step the policy, see why.

from workbench.widgets.stepper import policy_stepper
policy_stepper()
"""

from __future__ import annotations

import html
import threading
from typing import Any

import ipywidgets as ipw

from workbench.core.states import HarnessState
from workbench.core.transitions import ALIASES, Version, policy_name
from workbench.widgets.policy_table import EDITABLE, PolicyTable, Step

_HELD_BACK = ("+hold",)


class PolicyStepper(ipw.VBox):  # type: ignore[misc]
    """A table of versions with a policy that is stepped by hand.

    Attributes:
        table: what is shown; it may be stepped from Python too (then `refresh()`).
        steps: what has happened since the last edit, in order.
    """

    def __init__(self, table: PolicyTable | None = None) -> None:
        # A cell may step it while its buttons, in a subshell, do so too.
        self._turn = threading.RLock()
        self.table = table or PolicyTable.example()
        self.steps: list[Step] = []
        names = [name for name in ALIASES if not name.endswith(_HELD_BACK)]
        self.policy = ipw.Dropdown(options=names, value=self.table.transition, description="policy")
        self.step_button = ipw.Button(description="Step", button_style="primary")
        self.add_button = ipw.Button(description="Next version appears")
        self.reset_button = ipw.Button(description="Start again")
        self.policy.observe(self._on_policy, "value")
        self.step_button.on_click(lambda _: self.step())
        self.add_button.on_click(lambda _: self.add_version())
        self.reset_button.on_click(lambda _: self.reset())
        self._rows = ipw.VBox()
        self._said = ipw.HTML()
        self._quiet = False
        buttons = ipw.HBox([self.step_button, self.add_button, self.reset_button])
        super().__init__([self.policy, self._rows, buttons, self._said])
        self.refresh()

    def step(self) -> Step:
        """Let the policy decide, or time pass."""
        with self._turn:
            step = self.table.step()
            self.steps.append(step)
            self.refresh()
            return step

    def add_version(self) -> None:
        """A higher version appears in the folder: under *latest 1*, only it is wanted then."""
        with self._turn:
            number = max(self.table.rows, default=0) + 1
            for version in self.table.rows:
                self.table.set(version, aspired=False)
            self.table.rows[number] = Version(number, HarnessState.NEW, True)
            self.refresh()

    def reset(self) -> None:
        """Back to version 1 serving and version 2 just there."""
        with self._turn:
            self.table = PolicyTable.example(self.policy.value)
            self.steps = []
            self.refresh()

    def refresh(self) -> None:
        """Show the table as it is now."""
        with self._turn:
            self._quiet = True
            self._rows.children = [self._row(row) for row in self.table.rows.values()]
            self._quiet = False
            self._said.value = self._words()

    def _row(self, row: Version) -> ipw.HBox:
        state = ipw.Dropdown(
            options=[(s.value, s) for s in dict.fromkeys([*EDITABLE, row.state])],
            value=row.state,
            description=f"version {row.version}",
        )
        wanted = ipw.Checkbox(value=row.aspired, description="aspired", indent=False)

        def edit(_: Any) -> None:
            with self._turn:
                if self._quiet:
                    return
                self.table.set(row.version, state.value, wanted.value)
                self._said.value = self._words()

        state.observe(edit, "value")
        wanted.observe(edit, "value")
        return ipw.HBox([state, wanted])

    def _on_policy(self, _: Any) -> None:
        self.table.transition = self.policy.value
        self._said.value = self._words()

    def _words(self) -> str:
        serving = ", ".join(map(str, self.table.serving)) or "nobody"
        held = ", ".join(map(str, self.table.in_memory)) or "none"
        lines = "".join(
            f"<li>{'<b>policy</b>: ' if step.decided else ''}{html.escape(step.why)}</li>"
            for step in self.steps
        )
        return (
            f"<p>answers requests: <b>{serving}</b> &nbsp; weights in memory: <b>{held}</b></p>"
            f"<ol>{lines}</ol>"
        )

    def __repr__(self) -> str:
        rows = ", ".join(
            f"{r.version} {r.state.value}{'' if r.aspired else ' un-aspired'}"
            for r in self.table.rows.values()
        )
        return f"<PolicyStepper {self.table.transition}: {rows}>"


def policy_stepper(transition: str = "smooth") -> PolicyStepper:
    """Version 1 serves, version 2 has appeared: step through what a policy does about it.

    Raises:
        ServingError: INVALID_ARGUMENT, no policy has that name.
    """
    return PolicyStepper(PolicyTable.example(policy_name(transition)))
