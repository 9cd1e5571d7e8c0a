"""The policy stepper: edit the table of versions, step the policy, see why."""

from __future__ import annotations

import html
import threading
from typing import TYPE_CHECKING, Any

import ipywidgets as ipw

from workbench.core.versions.policies import TRANSITIONS, Version, policy_name
from workbench.core.versions.states import HarnessState
from workbench.core.versions.table import EDITABLE, PolicyTable, Step
from workbench.widgets.base.durable import Durable, Lasting, lasting
from workbench.widgets.base.latest import Latest
from workbench.widgets.base.live import answer_in_subshells
from workbench.widgets.stepper.stepper_figure import By, Moment, figure_of, frame_of

if TYPE_CHECKING:
    import pandas as pd

    from workbench.experiments.figure import Picture


class PolicyStepper(Durable, ipw.VBox):
    """A table of versions with a policy that is stepped by hand.

    Attributes:
        table: the versions; code that steps it must call `refresh()`.
        steps: all steps since the beginning.
        moments: the table at the beginning, and after each step and edit.
    """

    def __init__(self, table: PolicyTable | None = None) -> None:
        # A cell and, in a subshell, the buttons may step it at the same time.
        self._turn = threading.RLock()
        self.table = table or PolicyTable.example()
        self.steps: list[Step] = []
        self.moments: list[Moment] = []
        # Drawing takes longer than a click, so only the last of many is drawn.
        self._changed: Latest[None] = Latest(
            lambda _: self._renew(), lambda _: None, "widget-stepper"
        )
        names = [name for name, each in TRANSITIONS.items() if not each.holds]
        self.policy = ipw.Dropdown(options=names, value=self.table.transition, description="policy")
        self.step_button = ipw.Button(description="Step", button_style="primary")
        self.add_button = ipw.Button(description="Next version appears", layout={"width": "auto"})
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
        # The mark of a live widget; see `durable`.
        self.add_class("wb-stepper")
        for control in (self.policy, self.step_button, self.add_button, self.reset_button):
            answer_in_subshells(control)
        self._begin()

    def _begin(self) -> None:
        self.steps = []
        self.moments = []
        self._remember("you", "it begins")
        self.refresh()

    def step(self) -> Step:
        """Take the next action, or let time pass."""
        with self._turn:
            step = self.table.step()
            self.steps.append(step)
            if step.version is not None:
                self._remember(step.by, step.why)
            self.refresh()
            return step

    def add_version(self) -> None:
        """A higher version appears in the folder; under *latest 1* only it is aspired."""
        with self._turn:
            number = 1 + max(row.version for moment in self.moments for row in moment.rows)
            for version in self.table.rows:
                self.table.set(version, aspired=False)
            self.table.rows[number] = Version(number, HarnessState.NEW, True)
            self._remember("you", f"version {number} appears")
            self.refresh()

    def reset(self) -> None:
        """Start again: version 1 serves and version 2 has appeared."""
        with self._turn:
            self.table = PolicyTable.example(self.policy.value)
            self._begin()

    def refresh(self) -> None:
        """Show the table as it is now."""
        with self._turn:
            self._quiet = True
            self._rows.children = [self._row(row) for row in self.table.rows.values()]
            self._quiet = False
            self._tell()

    @property
    def frame(self) -> pd.DataFrame:
        """One row for each moment: who did what, and the state of each version then."""
        with self._turn:
            return frame_of(self.moments)

    def plot(self) -> Picture:
        """The latest moments, a lane for each version."""
        with self._turn:
            return figure_of(self._title(), self.moments)

    def lasting(self) -> Lasting:
        """Its contents for a notebook without the kernel."""
        with self._turn:
            said = [f"{at}. {moment.why}" for at, moment in enumerate(self.moments) if at]
            text = "\n".join([repr(self), *said])
            return lasting(self._title(), text, self.frame, self.plot())

    def _title(self) -> str:
        return f"The policy {self.table.transition}, step by step"

    def _remember(self, by: By, why: str) -> None:
        self.moments.append(Moment(by, why, tuple(self.table.rows.values())))

    def _tell(self) -> None:
        """Update the text, and the lasting output."""
        self._said.value = self._words()
        if self._output is not None:
            self._changed.push(None)

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
                after = self.table.rows[row.version]
                wish = "" if after.aspired else ", not aspired"
                self._remember("you", f"version {row.version} is set: {after.state.value}{wish}")
                self._tell()

        for control in (state, wanted):
            control.observe(edit, "value")
            answer_in_subshells(control)
        return ipw.HBox([state, wanted])

    def _on_policy(self, _: Any) -> None:
        with self._turn:
            self.table.transition = self.policy.value
            self._remember("you", f"the policy is {self.policy.value}")
            self._tell()

    def _words(self) -> str:
        serving = ", ".join(map(str, self.table.serving)) or "none"
        held = ", ".join(map(str, self.table.in_memory)) or "none"
        lines = "".join(
            f"<li>{'' if step.by == 'time' else f'<b>{step.by}</b>: '}{html.escape(step.why)}</li>"
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
    """Steps through what a policy does when version 1 serves and version 2 has appeared.

    Raises:
        ServingError: INVALID_ARGUMENT, no policy has that name.
    """
    return PolicyStepper(PolicyTable.example(policy_name(transition)))
