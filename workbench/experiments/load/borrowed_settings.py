"""Changes a running server's batching for an experiment, and restores it afterwards."""

from __future__ import annotations

import threading
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace

from workbench.client.server import ServerClient
from workbench.core.batching.merging import automatic_parameters
from workbench.core.batching.parameters import BatchingParameters
from workbench.core.signature import DEFAULT_SIGNATURE
from workbench.core.status import failed_precondition

_IN_USE: defaultdict[str, threading.RLock] = defaultdict(threading.RLock)
"""By the server's name. Two experiments at once would restore each other's settings."""


def slots_of(server: ServerClient) -> int:
    """Executor slots (`num_batch_threads`) in force."""
    return server.control.describe_server()["num_batch_threads"]


def automatic(server: ServerClient) -> BatchingParameters:
    """The parameters that automatic batching corresponds to: the defaults, and for a compiled
    model the sizes that its batches are padded to."""
    for version in server.describe()["versions"]:
        if version["state"] == "AVAILABLE":
            decided = version.get("merging", {}).get(DEFAULT_SIGNATURE)
            return automatic_parameters(tuple(decided["batch_sizes"]) if decided else ())
    return automatic_parameters()


def in_force(server: ServerClient) -> BatchingParameters:
    """The parameters in force (`automatic` ones where batching is automatic), with the slots."""
    return replace(server.batching or automatic(server), num_batch_threads=slots_of(server))


@contextmanager
def kept_settings(server: ServerClient) -> Iterator[BatchingParameters]:
    """Restores the server's parameters and slots when the block ends, also after an error. Yields
    those that were `in_force` before.

    Raises:
        ServingError: FAILED_PRECONDITION, another thread of this process (of a widget or a cell)
            runs such an experiment.
    """
    turn = _IN_USE[server.name]
    if not turn.acquire(blocking=False):
        raise failed_precondition(
            f"Another experiment is changing the batching of {server.name}: wait until it ends, or "
            "interrupt it"
        )
    try:
        batching, slots = server.batching, slots_of(server)
        try:
            yield in_force(server)
        finally:
            server.batching = batching
            server.control.set_slots(slots)
    finally:
        turn.release()
