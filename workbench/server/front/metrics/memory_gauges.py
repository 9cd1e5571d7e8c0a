"""The memory ledger and the budget as gauges, from the last sample: nothing is read for them."""

from __future__ import annotations

from collections.abc import Iterator

from workbench.core.memory.budget import Budget
from workbench.server.engine.memory.memory_ledger import MemoryLedger
from workbench.server.front.metrics.prometheus import Labels, family


def memory_lines(ledger: MemoryLedger, budget: Budget) -> Iterator[str]:
    """The lines of the page for Prometheus. Over the cells of a device, `workbench_memory_bytes`
    adds up to all memory that the device has."""
    account = ledger.latest
    held: dict[Labels, float] = {}
    for cell in account.cells if account is not None else ():
        labels: Labels = (
            ("device", cell.device),
            ("owner", cell.owner),
            ("model", cell.model or ""),
            ("version", "" if cell.version is None else str(cell.version)),
            ("kind", cell.kind),
            ("how", cell.how),
        )
        # A worker and the one that replaces it are the same version for a moment.
        held[labels] = held.get(labels, 0) + cell.bytes
    yield from family("memory_bytes", "gauge", "Memory of a device, by who holds it.", held.items())
    resources = budget.to_json()
    for name, key, about in (
        ("memory_budget_bytes", "limit", "Memory that versions may have together."),
        ("memory_reserved_bytes", "reserved", "Memory that is reserved for versions."),
    ):
        yield from family(
            name,
            "gauge",
            about,
            [((("device", device),), sizes[key]) for device, sizes in resources.items()],
        )
