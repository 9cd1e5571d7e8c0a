"""Metrics for Prometheus.

`request_counts` counts each answered request. `serving_metrics` (TensorFlow Serving's),
`workbench_metrics` (ours) and `memory_gauges` (the memory ledger's) declare each metric once, as a
`Metric`, and `exposition` turns these into text. `prometheus` brings all of them together.
"""

__all__ = ["prometheus", "memory_gauges", "exposition"]
