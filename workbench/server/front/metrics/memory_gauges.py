"""The memory ledger and the budget as gauges, from the last sample: nothing is measured for it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable

from workbench.core.memory.budget import Budget
from workbench.server.engine.memory.memory_ledger import MemoryLedger
from workbench.server.front.metrics.exposition import Labels, Metric, Series


def memory_metrics(ledger: MemoryLedger, budget: Budget) -> list[Metric]:
    """The gauges; the `workbench_memory_bytes` of a device add up to its whole memory."""

    def cells() -> Series:
        account = ledger.latest
        held: Counter[Labels] = Counter()
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
            held[labels] += cell.bytes
        return held.items()

    def of_budget(key: str) -> Series:
        return (((("device", device),), sizes[key]) for device, sizes in budget.to_json().items())

    def gauge(name: str, series: Callable[[], Series], about: str) -> Metric:
        return Metric(f"workbench_memory_{name}", "gauge", series, about)

    return [
        gauge("bytes", cells, "Memory of a device, by owner."),
        gauge(
            "budget_bytes", lambda: of_budget("limit"), "Memory that versions may have together."
        ),
        gauge("reserved_bytes", lambda: of_budget("reserved"), "Memory reserved for versions."),
    ]
