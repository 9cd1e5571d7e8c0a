"""The server card, live: versions, memory, traffic, and controls to change them."""

from __future__ import annotations

from functools import partial

from workbench.client.display.card import how_to_ask
from workbench.client.display.orders import ORDERS
from workbench.client.display.whole_server import html_of, text_of
from workbench.client.server import ServerClient
from workbench.core.setting_kinds import number
from workbench.core.status import ServingError
from workbench.experiments.showing import in_notebook
from workbench.widgets.base.durable import Lasting, display_live
from workbench.widgets.base.live import LiveWidget, view


class CardWidget(LiveWidget):
    """The server card in the browser."""

    face = view("card")


def card(server: ServerClient, target_ms: float | None = None) -> LiveWidget:
    """The card of a server's model; see `Server.card`."""
    if target_ms is not None:
        number(0, unit="milliseconds", above=True).check("target_ms", target_ms)
    _, *texts = how_to_ask(server.name, server.address, server.model, server.versions)
    about = {
        "name": server.name,
        "address": server.address,
        "outcome": "" if server.outcome is None else str(server.outcome),
        "snippets": list(zip(("Python", "curl"), texts, strict=True)),
        "targetMillis": target_ms,
    }

    orders = {name: partial(order, server) for name, order in ORDERS.items()}
    widget = CardWidget(server.name, server.model, about, orders)
    widget.target_micros = 1e3 * (target_ms or 0)
    return widget


def show(server: ServerClient) -> None:
    """Display a server's card, live in the notebook and lasting in its file.

    Raises:
        NotImplementedError: there is no notebook, or the server has ended; IPython then shows
            the server's text or plain HTML.
    """
    if not (in_notebook() and server.running):
        raise NotImplementedError
    try:
        widget = card(server)
    except ServingError:
        raise NotImplementedError from None
    display_live(widget, Lasting(html_of(server), text_of(server)))
