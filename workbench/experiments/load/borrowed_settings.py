"""Changes a running server's batching for an experiment, and restores it afterwards."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace

from workbench.client.server import ServerClient
from workbench.core.batching.merging import automatic_parameters
from workbench.core.batching.parameters import BatchingParameters
from workbench.core.signature import DEFAULT_SIGNATURE


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


class Borrowed:
    """A server's parameters and slots, borrowed for an experiment; see `kept_settings`.

    Attributes:
        before: the parameters that were in force.
        disturbed: whether somebody else has changed them.
    """

    def __init__(self, server: ServerClient) -> None:
        self._server = server
        self.before = in_force(server)
        self._owner = self._mine = _setting(server)
        self._used: BatchingParameters | None = None
        self.disturbed = False

    def use(self, parameters: BatchingParameters) -> None:
        """Put parameters in force."""
        if not self.notice() and parameters == self._used:
            return
        self._server.batching = self._used = parameters
        self._mine = _setting(self._server)

    def give_back(self) -> None:
        """Restore the settings of before, or those that somebody else has put in force since."""
        if self.notice():
            return
        batching, slots = self._owner
        self._server.batching = batching
        self._server.control.set_slots(slots)

    def notice(self) -> bool:
        """Whether somebody else has changed the settings; these are then the ones to restore."""
        now = _setting(self._server)
        if now == self._mine:
            return False
        self._owner = now
        self.disturbed = True
        return True


def _setting(server: ServerClient) -> tuple[BatchingParameters | None, int]:
    return server.batching, slots_of(server)


@contextmanager
def kept_settings(server: ServerClient) -> Iterator[Borrowed]:
    """Restores the server's parameters and slots when the block ends, also after an error."""
    borrowed = Borrowed(server)
    try:
        yield borrowed
    finally:
        borrowed.give_back()
