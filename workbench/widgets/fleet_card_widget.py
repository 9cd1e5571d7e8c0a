"""The card of a fleet, live."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from workbench.deploy.display.fleet_card import FleetCard, fleet_card
from workbench.experiments.showing import in_notebook
from workbench.widgets.base.durable import Durable, Lasting
from workbench.widgets.base.latest import Latest
from workbench.widgets.base.live import LiveWidget, view

_INTERVAL_SECONDS = 2.0


class FleetCardWidget(Durable, LiveWidget):
    """The card of a fleet in the browser. The fleet is asked only while the card is visible.

    Args:
        ask: returns the fleet's card now. It may take seconds when a head or a node is lost, so it
            is called in a thread of its own; meanwhile the card before is shown with its time.
    """

    face = view("fleetCard")

    def __init__(self, ask: Callable[[], FleetCard]) -> None:
        self._ask = ask
        self._card = ask()
        self._asking = Latest[None](self._again, lambda _: None, "fleet-card")
        name = self._card.state.name
        super().__init__(name, "", {"name": name}, interval_seconds=_INTERVAL_SECONDS)

    def news(self, marks: dict[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
        """The card that was made last; the next one is asked for."""
        self._asking.push(None)
        state = self._card.state
        message = {"kind": "fleet", "wall": state.wall, "html": fleet_card(state, live=True)}
        return message, {"known": True}

    def lasting(self) -> Lasting:
        """Its contents for a notebook without the kernel."""
        return Lasting(self._card._repr_html_(), str(self._card))

    def _again(self, _: None) -> None:
        before, self._card = self._card, self._ask()
        if before.state.gist != self._card.state.gist:
            self._renew()

    def __str__(self) -> str:
        return str(self._card)


def show_fleet(ask: Callable[[], FleetCard]) -> None:
    """Display a fleet's card, live in the notebook and lasting in its file.

    Raises:
        NotImplementedError: there is no notebook; IPython then shows the fleet's text.
    """
    if not in_notebook():
        raise NotImplementedError
    FleetCardWidget(ask)._ipython_display_()
