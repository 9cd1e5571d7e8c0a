"""`Fleet`: a fleet of servers in the hands of a user, with its views."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from workbench.core.setting_kinds import number
from workbench.deploy.display.fleet_card import FleetCard
from workbench.deploy.display.fleet_state import ANSWER_SECONDS, fleet_state
from workbench.deploy.fleet.fleet_client import FleetClient
from workbench.deploy.fleet.fleet_record import FleetRecord
from workbench.deploy.fleet.rolling import Note
from workbench.deploy.local_nodes.cluster import LocalCluster

if TYPE_CHECKING:
    from workbench.experiments.fleet_history.fleet_timeline import FleetTimeline


class Fleet(FleetClient):
    """Many servers that serve the same plan, behind balancers; with the verbs of `Server`.

    Attributes:
        cluster: the cluster on this machine that was started for it; None if it runs elsewhere.
    """

    cluster: LocalCluster | None = None

    def __init__(
        self, record: FleetRecord, model: str | None = None, note: Note = lambda line: None
    ) -> None:
        super().__init__(record, model, note)
        # A server that is gone cannot be asked again.
        self._events_of: dict[str, list[Mapping[str, Any]]] = {}

    def delete(self, timeout: float = 60.0) -> None:
        """End all servers and balancers of the fleet, and the cluster that was started for it. The
        folders of its models stay."""
        try:
            super().delete(timeout)
        finally:
            if self.cluster is not None:
                self.cluster.stop()
                self.cluster = None

    # Views.

    def card(self) -> FleetCard:
        """The fleet now: plan, revision, a rollout that has not ended, and each server with what
        differs from the plan. A head or a balancer that does not answer is named in it."""
        return FleetCard(fleet_state(self._servers))

    def timeline(self, seconds: float | None = None) -> FleetTimeline:
        """The history of the fleet until now: a lane for each server, and the rollouts above them.
        Call it again for a later one.

        Servers that are gone have a lane as well. Their loading and unloading is known if this
        object asked them before; otherwise their lanes have only what their balancers noticed.

        Args:
            seconds: how far the figure goes back; by default to the beginning of the last changes,
                those that followed each other without two quiet minutes between them.

        Raises:
            ServingError: INVALID_ARGUMENT, `seconds` is not positive; UNAVAILABLE, the head or all
                balancers do not answer.
        """
        from workbench.experiments.fleet_history.fleet_timeline import FleetTimeline

        if seconds is not None:
            number(0, unit="seconds", above=True).check("seconds", seconds)
        found = {server.name: server for server in self._servers.find(fresh=True)}
        answers = self._servers.ask_these(
            list(found.values()), lambda control: control.events()["events"], ANSWER_SECONDS
        )
        for name, events in answers.items():
            about = {"server": name, "node": found[name].node}
            self._events_of[name] = [{**about, **event} for event in events]
        rows = [*self.orders.log, *(row for rows in self._events_of.values() for row in rows)]
        memories = list(self._servers.histories().values())
        return FleetTimeline.of(self.name, self.model, rows, memories, found, time.time(), seconds)

    # How it reads in a cell and in a terminal.

    def _ipython_display_(self) -> None:
        from workbench.widgets.fleet_card_widget import show_fleet

        show_fleet(self.card)

    def _repr_html_(self) -> str:
        return self.card()._repr_html_()

    def _repr_pretty_(self, printer: Any, cycle: bool) -> None:
        printer.text(str(self.card()))
