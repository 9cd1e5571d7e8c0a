"""The ledger's arithmetic: the owner of every byte of a device's memory.

`reconcile` splits the measurements into cells. Each cell has an owner, a kind, a size, and a source
(measured or estimated). For each device the cells add up to the machine's own number. Memory that
no process of ours holds is `unattributed`: it belongs to other programs or to the system. If
something was counted twice, it is negative.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

MEASURED = "measured"
ESTIMATED = "estimated"

HOST = "host"
MACHINE = "machine"
"""The owner of cells that belong to no process of ours."""


class Machine(NamedTuple):
    """A device's own numbers, in bytes; `scope` is ``machine``, or names what limits `total`."""

    device: str
    total: int
    free: int
    scope: str = "machine"


@dataclass(frozen=True, slots=True)
class Holding:
    """What one process holds on one device, in bytes.

    Attributes:
        owner: its role: ``server``, ``server.worker`` ...
        total: all of it.
        measured: whether `total` was read exactly just now.
        weights: of its version, by the checkpoint's index; 0 where there is no version.
        shared: in regions that it shares with the server, over which tensors travel.
        common: its share of the memory that all workers share: TensorFlow's code, and the zygote's
            memory when they were forked.
        overhead: before its version was loaded (on a GPU: its CUDA context).
        overhead_measured: whether `overhead` was measured; otherwise it is a constant.
        reserved: by the budget for its version.
    """

    device: str
    owner: str
    total: int
    measured: bool = True
    model: str | None = None
    version: int | None = None
    pid: int | None = None
    weights: int = 0
    shared: int = 0
    common: int = 0
    overhead: int = 0
    overhead_measured: bool = True
    reserved: int = 0


class Cell(NamedTuple):
    """One number of the ledger. `kind`: ``weights``, ``runtime`` (before any version),
    ``shared runtime``, ``activations`` (the rest of a worker), ``shared regions``, ``context`` and
    ``allocator`` (of a GPU), ``process`` (one without a version), ``unattributed``,
    ``reserved``, ``free``.
    `how`: ``measured`` or ``estimated``."""

    device: str
    owner: str
    kind: str
    bytes: int
    how: str
    model: str | None = None
    version: int | None = None
    pid: int | None = None

    def to_json(self) -> dict[str, Any]:
        """All fields as plain data."""
        return self._asdict()


def reconcile(
    machines: Sequence[Machine],
    holdings: Iterable[Holding],
    waiting: Iterable[tuple[str, int]] = (),
) -> list[Cell]:
    """The ledger's cells, device by device; their sum is each device's `total`.

    Args:
        machines: one for each device.
        holdings: those on a device that is not among `machines` are left out.
        waiting: (device, bytes) reserved for versions that have no process yet.
    """
    holdings, waiting = list(holdings), list(waiting)
    cells: list[Cell] = []
    for machine in machines:
        mine = [holding for holding in holdings if holding.device == machine.device]
        for holding in mine:
            cells.extend(_parts(holding))
        # Reserved memory that is not used yet is free for the machine, but not for a new version.
        promised = sum(size for device, size in waiting if device == machine.device)
        promised += sum(max(0, h.reserved - max(0, h.total - h.common)) for h in mine)
        reserved = min(promised, machine.free)
        ours = sum(max(0, h.total) for h in mine)
        exact = MEASURED if all(h.measured for h in mine) else ESTIMATED
        rest = machine.total - machine.free - ours
        free = machine.free - reserved
        cells += [
            Cell(machine.device, MACHINE, "unattributed", rest, exact),
            Cell(machine.device, MACHINE, "reserved", reserved, ESTIMATED),
            Cell(machine.device, MACHINE, "free", free, ESTIMATED if reserved else MEASURED),
        ]
    return cells


def _parts(holding: Holding) -> Iterator[Cell]:
    """The cells of one process; none is below 0, and together they are its total."""
    left = max(0, holding.total)

    def cell(kind: str, size: int, how: str) -> Cell:
        nonlocal left
        size = max(0, min(size, left))
        left -= size
        how = how if holding.measured else ESTIMATED
        h = holding
        return Cell(h.device, h.owner, kind, size, how, h.model, h.version, h.pid)

    if holding.model is None:
        if holding.shared:
            yield cell("shared regions", holding.shared, MEASURED)
        yield cell("process", left, MEASURED)
        return
    host = holding.device == HOST
    if host:
        yield cell("shared regions", holding.shared, MEASURED)
        yield cell("shared runtime", holding.common, MEASURED)
    how = MEASURED if holding.overhead_measured else ESTIMATED
    yield cell("runtime" if host else "context", holding.overhead, how)
    # The index has the size of the weights, but not their place in memory.
    yield cell("weights", holding.weights, ESTIMATED)
    yield cell("activations" if host else "allocator", left, ESTIMATED)
