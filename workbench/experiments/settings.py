"""Changing a running server's batching for an experiment, and leaving it as it was found."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace

from workbench.client.server import Server
from workbench.core.batching_parameters import BatchingParameters


def slots_of(server: Server) -> int:
    """Executor slots (`num_batch_threads`) in force."""
    return int(server._control.request("GET", "/server")["num_batch_threads"])


def set_slots(server: Server, slots: int) -> None:
    server._control.request("PATCH", "/server", {"num_batch_threads": slots})


def apply(server: Server, parameters: BatchingParameters) -> None:
    """Put parameters in force; raises ServingError where the server refuses them."""
    server.batching = parameters


def in_force(server: Server) -> BatchingParameters:
    """The parameters in force, or the defaults where batching is automatic, with the slots."""
    return replace(server.batching or BatchingParameters(), num_batch_threads=slots_of(server))


@contextmanager
def kept_settings(server: Server) -> Iterator[BatchingParameters]:
    """Within this block batching may be changed; after it, whatever has happened, the server has
    the parameters and slots that it had before. Gives those `in_force` before.
    """
    batching, slots = server.batching, slots_of(server)
    try:
        yield in_force(server)
    finally:
        server.batching = batching
        set_slots(server, slots)
