"""Changing a running server's batching for an experiment, and leaving it as it was found."""

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
"""By the server's name: what one experiment puts back, another must not have changed meanwhile."""


def slots_of(server: ServerClient) -> int:
    """Executor slots (`num_batch_threads`) in force."""
    return server.control.describe_server()["num_batch_threads"]


def set_slots(server: ServerClient, slots: int) -> None:
    server.control.set_slots(slots)


def apply(server: ServerClient, parameters: BatchingParameters) -> None:
    """Put parameters in force; raises ServingError where the server refuses them."""
    server.batching = parameters


def automatic(server: ServerClient) -> BatchingParameters:
    """What automatic batching amounts to: the defaults; for a model that is compiled, with the
    sizes that its batches are padded to."""
    for version in server.describe()["versions"]:
        if version["state"] == "AVAILABLE":
            decided = version.get("merging", {}).get(DEFAULT_SIGNATURE)
            return automatic_parameters(tuple(decided["batch_sizes"]) if decided else ())
    return automatic_parameters()


def in_force(server: ServerClient) -> BatchingParameters:
    """The parameters in force, or what stands for them where batching is automatic, with the
    slots."""
    return replace(server.batching or automatic(server), num_batch_threads=slots_of(server))


@contextmanager
def kept_settings(server: ServerClient) -> Iterator[BatchingParameters]:
    """Within this block batching may be changed; after it, whatever has happened, the server has
    the parameters and slots that it had before. Gives those `in_force` before.

    Raises:
        ServingError: FAILED_PRECONDITION, an experiment in another thread of this process (a
            widget's, or a cell's) is doing the same.
    """
    turn = _IN_USE[server.name]
    if not turn.acquire(blocking=False):
        raise failed_precondition(
            f"Another experiment is changing the batching of {server.name} just now: wait for its "
            "end, or interrupt it"
        )
    try:
        batching, slots = server.batching, slots_of(server)
        try:
            yield in_force(server)
        finally:
            server.batching = batching
            set_slots(server, slots)
    finally:
        turn.release()
