"""Metrics for Prometheus: `prometheus` writes the page, `memory_gauges` adds the memory ledger."""

__all__ = ["prometheus", "memory_gauges"]
