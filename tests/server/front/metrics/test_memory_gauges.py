"""Memory and budget on the page for Prometheus."""

from __future__ import annotations

from prometheus_client.parser import text_string_to_metric_families

from workbench.core.memory.budget import Budget
from workbench.core.memory.ledger import Cell, Machine
from workbench.server.engine.memory.memory_ledger import Account, MemoryLedger
from workbench.server.front.metrics.memory_gauges import memory_metrics


def page(ledger: MemoryLedger, budget: Budget) -> dict[str, list[tuple[dict[str, str], float]]]:
    text = "".join(f"{line}\n" for m in memory_metrics(ledger, budget) for line in m.lines())
    return {
        family.name: [(sample.labels, sample.value) for sample in family.samples]
        for family in text_string_to_metric_families(text)
    }


def test_every_cell_is_a_gauge() -> None:
    ledger = MemoryLedger(list)
    budget = Budget({"host": 100, "gpu:0": 50})
    assert budget.reserve("a", {"host": 30}) is None
    found = page(ledger, budget)
    assert found["workbench_memory_bytes"] == []
    cells = [
        Cell("host", "worker", "weights", 40, "estimated", "m", 2, 7),
        # Its replacement, for a moment beside it.
        Cell("host", "worker", "weights", 40, "estimated", "m", 2, 8),
        Cell("host", "machine", "unattributed", -5, "measured"),
    ]
    ledger.latest = Account(1.0, [Machine("host", 75, 0)], cells)
    found = page(ledger, budget)
    assert found["workbench_memory_bytes"] == [
        (
            {"device": "host", "owner": "worker", "model": "m", "version": "2", "kind": "weights",
             "how": "estimated"},
            80.0,
        ),
        (
            {"device": "host", "owner": "machine", "model": "", "version": "",
             "kind": "unattributed", "how": "measured"},
            -5.0,
        ),
    ]  # fmt: skip
    assert found["workbench_memory_budget_bytes"] == [
        ({"device": "host"}, 100.0),
        ({"device": "gpu:0"}, 50.0),
    ]
    assert found["workbench_memory_reserved_bytes"] == [
        ({"device": "host"}, 30.0),
        ({"device": "gpu:0"}, 0.0),
    ]
