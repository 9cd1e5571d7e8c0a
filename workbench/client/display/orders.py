"""The orders that a view may give to a server; each returns a sentence about its result.

The notebook's card and JupyterLab's dashboard share them, and so use the same words.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from workbench.client.display.exact_numbers import version_of
from workbench.client.publishing.interface import SignatureChange
from workbench.client.server import ServerClient
from workbench.core.status import invalid_argument

Order = Callable[[ServerClient, Mapping[str, Any]], str]


def transition(server: ServerClient, asked: Mapping[str, Any]) -> str:
    """Set how one version replaces another to `value`."""
    server.transition = asked["value"]
    return f"The next change of version will be {server.transition}."


def batching(server: ServerClient, asked: Mapping[str, Any]) -> str:
    """Set the batching parameters in `value` and keep the others; None: automatic."""
    value = asked["value"]
    if value is None:
        server.batching = None
        return "Batching is automatic."
    if not isinstance(value, Mapping):
        raise invalid_argument(f"Batching must be an object of parameters or null; was {value!r}")
    known = server.batching
    kept = {} if known is None else known.to_json()
    server.batching = {**kept, **value}
    now = server.batching
    assert now is not None
    return (
        f"Batches of up to {now.max_batch_size} rows wait "
        f"{now.batch_timeout_micros / 1e3:g} ms at most."
    )


def labels(server: ServerClient, asked: Mapping[str, Any]) -> str:
    """Set the labels to `value`."""
    value = asked["value"]
    if isinstance(value, Mapping):
        value = {label: version_of(version, label) for label, version in value.items()}
    server.labels = value
    named = ", ".join(f"{name} is version {v}" for name, v in sorted(server.labels.items()))
    return f"{named}." if named else "No version has a label."


def publish(server: ServerClient, asked: Mapping[str, Any]) -> str:
    """Make the SavedModel in `path` the next version; one that breaks callers only with
    `allow_signature_change`."""
    path = str(asked["path"]).strip()
    if not path:
        raise invalid_argument("Name the folder of a SavedModel to publish.")
    allowed = asked.get("allow_signature_change") is True
    try:
        return f"Version {server.publish(path, allow_signature_change=allowed)} serves."
    except SignatureChange as error:
        raise SignatureChange(error.change, "confirm it, or cancel") from None


def rollback(server: ServerClient, asked: Mapping[str, Any]) -> str:
    """Move `version` (the latest) aside, or all after `to`."""
    if asked.get("to") is not None:
        now = server.rollback(to=version_of(asked["to"], "to"))
        return (
            f"Version {now} serves again; Undo roll back brings the others back, the latest first."
        )
    version = asked.get("version")
    now = server.rollback(None if version is None else version_of(version))
    return f"Version {now} serves again; Undo roll back brings the other back."


def undo(server: ServerClient, _: Mapping[str, Any]) -> str:
    """Bring back the version that was rolled back last."""
    return f"Version {server.undo()} is back."


def stop(server: ServerClient, _: Mapping[str, Any]) -> str:
    """End the server."""
    server.stop()
    return "The server has ended; nothing of it is left."


ORDERS: Mapping[str, Order] = {
    order.__name__: order for order in (transition, batching, labels, publish, rollback, undo, stop)
}
