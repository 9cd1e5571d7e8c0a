"""The server card, live: versions, memory, traffic, and the handles to change them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from workbench.client.card import how_to_ask
from workbench.client.server import Server
from workbench.core.status import ServingError
from workbench.core.transitions import ALIASES
from workbench.widgets.durable import display_live, in_notebook
from workbench.widgets.live import LiveWidget


def card(server: Server) -> LiveWidget:
    """The card of a server's model: it follows the server while somebody looks at it.

    Raises:
        ServingError: NOT_FOUND, the server has ended.
    """
    _, *texts = how_to_ask(server.name, server.address, server.model, server.versions)
    about = {
        "name": server.name,
        "address": server.address,
        "outcome": "" if server.outcome is None else str(server.outcome),
        "snippets": list(zip(("Python", "curl"), texts, strict=True)),
        "transitions": list(ALIASES),
    }

    def transition(asked: Mapping[str, Any]) -> str:
        server.transition = asked["value"]
        return f"The next change of version will be {server.transition}."

    def batching(asked: Mapping[str, Any]) -> str:
        value = asked["value"]
        if value is None:
            server.batching = None
            return "Batching is automatic."
        known = server.batching
        kept = {} if known is None else known.to_json()
        server.batching = {**kept, **value}
        return (
            f"Batches of up to {value['max_batch_size']} rows wait "
            f"{value['batch_timeout_micros'] / 1e3:g} ms at most."
        )

    def publish(asked: Mapping[str, Any]) -> str:
        path = str(asked["path"]).strip()
        if not path:
            raise ValueError("Name the folder of a SavedModel to publish.")
        return f"Version {server.publish(path)} serves."

    def rollback(_: Mapping[str, Any]) -> str:
        return f"Version {server.rollback()} serves again; Undo brings the other back."

    def undo(_: Mapping[str, Any]) -> str:
        return f"Version {server.undo()} is back."

    def stop(_: Mapping[str, Any]) -> str:
        server.stop()
        return "The server has ended; nothing of it is left."

    orders = {f.__name__: f for f in (transition, batching, publish, rollback, undo, stop)}
    return LiveWidget(server.name, server.model, "card", about, orders)


def show(server: Server) -> None:
    """Display a server's card: live in a notebook, and lasting in its file.

    Raises:
        NotImplementedError: there is no kernel to talk to, or the server has ended; IPython then
            shows the server's text or plain HTML.
    """
    if not (in_notebook() and server.running):
        raise NotImplementedError
    try:
        widget = card(server)
    except ServingError:
        raise NotImplementedError from None
    # As it reads in a terminal.
    from IPython.lib.pretty import pretty

    text = pretty(server)  # type: ignore[no-untyped-call]
    display_live(widget, server._repr_html_(), text)
