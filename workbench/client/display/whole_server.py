"""A server now, with all its models: as HTML for a cell, as text for a terminal."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from workbench.client.display.card import server_card, stopped_card
from workbench.client.display.card_text import server_text
from workbench.client.display.views import Versions, versions_of
from workbench.client.outcomes import Failed
from workbench.client.server import ServerClient
from workbench.core.status import ServingError


def html_of(server: ServerClient) -> str:
    """The server card; for a server that has ended or does not answer, a card that says so."""
    if not server.running:
        return stopped_card(server.name)
    try:
        return server_card(server.name, server.address, _models(server), server.outcome)
    except ServingError as error:
        return Failed(server.name, error)._repr_html_()


def text_of(server: ServerClient) -> str:
    """The server card as text; for a server that has ended or does not answer, its `repr`."""
    try:
        return server_text(server.name, server.address, _models(server), server.outcome)
    except ServingError:
        return repr(server)


def _models(server: ServerClient) -> list[tuple[Mapping[str, Any], Versions]]:
    samples = server.control.memory()
    return [(about, versions_of(about, samples)) for about in server.control.describe_models()]
