"""The fleet explorer: drag a slider, and see what a fleet of servers does, in virtual time.

    explorer = wb.fleet_explorer()                      # run times by a formula
    explorer = wb.fleet_explorer(server.calibrate())    # or those of your model
    explorer                                            # the sliders, in a notebook
    explorer.choose(servers=3, policy="two_choices")    # the sliders are arguments too

No server is asked: `wb.simulate_fleet` runs in the notebook's kernel.
"""

from __future__ import annotations

import threading
from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from workbench.core.fleet.balancing import POLICIES
from workbench.core.setting_kinds import settings_of
from workbench.experiments.fleet.fleet_result import FleetResult
from workbench.experiments.fleet.simulate_fleet import PolicyComparison
from workbench.experiments.simulator.calibration import Calibration
from workbench.experiments.simulator.service_time import ServiceTime
from workbench.widgets.base.durable import Durable, Lasting, lasting
from workbench.widgets.base.latest import Latest
from workbench.widgets.base.live import View, view
from workbench.widgets.fleet_explorer.fleet_choice import EVENTS, FleetChoice, scales
from workbench.widgets.fleet_explorer.fleet_page import page
from workbench.widgets.fleet_explorer.fleet_scenario import FleetRun, ServerModel, run
from workbench.widgets.fleet_explorer.fleet_words import policies_sentence, sentence

if TYPE_CHECKING:
    import pandas as pd

    from workbench.experiments.figure import Picture

_TITLE = "Fleet explorer"
_COLUMNS = ["policy", "p50_ms", "p99_ms", "longest_queue", "failed_share"]
_REST_SECONDS = 1.5
"""After the last change the picture that outlives the kernel is drawn again."""


def fleet_explorer(
    service: ServiceTime | Calibration | None = None,
    *,
    slots: int | None = None,
    rows: int | None = None,
    choice: FleetChoice | None = None,
    seed: int = 0,
) -> FleetExplorer:
    """Sliders over a simulated fleet: load, servers, balancing, batching, and what happens.

    Args:
        service: the run times of each server: `server.calibrate()`, or a `ServiceTime`; by default
            a formula, 4 ms for a batch and 0.2 ms for each row.
        slots: executors of each server; by default those of the calibration, or 1.
        rows: of each request; by default those of the calibration, or 1.
        choice: where the sliders are at first.
        seed: of the random numbers.

    Raises:
        ServingError: INVALID_ARGUMENT, a number is not allowed, or `rows` differ from those of the
            calibration.
    """
    return FleetExplorer(service, slots=slots, rows=rows, choice=choice, seed=seed)


class FleetExplorer(Durable, View):
    """Sliders over a simulated fleet; see `fleet_explorer`."""

    face = view("fleet")

    def __init__(
        self,
        service: ServiceTime | Calibration | None = None,
        *,
        slots: int | None = None,
        rows: int | None = None,
        choice: FleetChoice | None = None,
        seed: int = 0,
    ) -> None:
        self._model = ServerModel.of(service, slots, rows)
        self._seed = seed
        first = self._model.first_choice() if choice is None else choice
        self._run = run(first, self._model, seed)
        # A cell and the page may simulate at the same time.
        self._lock = threading.Lock()
        self._drawing = threading.Lock()
        self._rest: threading.Timer | None = None
        self._choices: Latest[Mapping[str, Any]] = Latest(
            lambda asked: self._answer(asked, self._simulate),
            lambda asked: self._answer(asked, lambda _: ""),
            "widget-fleet",
        )
        super().__init__(
            {
                "title": _TITLE,
                "service": self._model.about,
                "scales": scales(first, self._model.rows),
                "meanings": {
                    name: declared.meaning for name, declared in settings_of(FleetChoice).items()
                },
                "policies": [[policy, policy.replace("_", " ")] for policy in POLICIES],
                "events": [list(event) for event in EVENTS.items()],
            }
        )

    @property
    def choice(self) -> FleetChoice:
        """Where the sliders are."""
        return self._run.choice

    @property
    def result(self) -> FleetResult:
        """The fleet with the chosen policy."""
        return self._run.result

    @property
    def comparison(self) -> PolicyComparison:
        """The same requests with each policy."""
        return self._run.comparison

    @property
    def frame(self) -> pd.DataFrame:
        """A row for each policy; latencies are milliseconds."""
        return self.comparison.frame

    @property
    def sentence(self) -> str:
        """What happened, in words."""
        return sentence(self._run)

    def choose(self, **changes: Any) -> str:
        """Move sliders, as attributes of `FleetChoice`; the page follows.

        Returns:
            What happens then, in words.

        Raises:
            ServingError: INVALID_ARGUMENT, an unknown name or a value that is not allowed.
        """
        FleetChoice.from_json(changes)
        self._show(replace(self.choice, **changes))
        return self.sentence

    def plot(self) -> Picture:
        """The servers as lanes, and queue and latency over time, with the chosen policy."""
        return self.result.plot()

    def lasting(self) -> Lasting:
        """Its contents for a notebook without the kernel."""
        now = self._run
        title = f"{_TITLE}: {_chosen(now)}"
        return lasting(title, str(self), now.comparison.frame[_COLUMNS], now.result.plot())

    def __str__(self) -> str:
        now = self._run
        table = now.comparison.frame[_COLUMNS].round(3).to_string(index=False)
        said = [f"{_TITLE}: {_chosen(now)}", now.model.about, sentence(now)]
        return "\n".join([*said, policies_sentence(now), table])

    def __repr__(self) -> str:
        return f"<FleetExplorer {_chosen(self._run)}>"

    def _show(self, choice: FleetChoice) -> None:
        with self._lock:
            self._run = run(choice, self._model, self._seed)
            self._send_run()
            if self._output is not None:
                if self._rest is not None:
                    self._rest.cancel()
                self._rest = threading.Timer(_REST_SECONDS, self._draw)
                self._rest.daemon = True
                self._rest.start()

    def _draw(self) -> None:
        # One after the other: a picture that takes long must not replace a later one.
        with self._drawing:
            self._renew()

    def _simulate(self, asked: Mapping[str, Any]) -> str:
        self._show(FleetChoice.from_json(asked["choice"]))
        return ""

    def _send_run(self) -> None:
        self.send({"kind": "fleet", "fleet": page(self._run)})

    def _on_message(self, widget: Any, message: Any, buffers: Any) -> None:
        op = message.get("op")
        if op == "simulate":
            self._choices.push(message)
        else:
            if op == "hello":
                self._send_run()
            super()._on_message(widget, message, buffers)


def _chosen(now: FleetRun) -> str:
    choice = now.choice
    return (
        f"{choice.rate:,.0f} requests/s, {choice.servers} servers, "
        f"{choice.policy.replace('_', ' ')}, event: {EVENTS[choice.event]}"
    )
