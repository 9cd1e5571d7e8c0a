"""The metrics of a server: what the front counts, and the page that Prometheus reads."""

from __future__ import annotations

import re

from workbench.server.engine.batching.scheduler import BatchScheduler
from workbench.server.engine.versions.manager import Manager
from workbench.server.front.metrics.exposition import Metric
from workbench.server.front.metrics.request_counts import RequestCounts
from workbench.server.front.metrics.serving_metrics import serving_metrics
from workbench.server.front.metrics.workbench_metrics import workbench_metrics


class Metrics(RequestCounts):
    """Counts requests, and shows all metrics.

    Attributes:
        metrics: what there is, in the order of the page; others may be added.
    """

    def __init__(self, manager: Manager, scheduler: BatchScheduler) -> None:
        super().__init__(manager)
        self.metrics: list[Metric] = [
            *serving_metrics(self, scheduler.batching),
            *workbench_metrics(self, manager),
        ]

    def page(self) -> bytes:
        """Everything, in Prometheus' text format."""
        lines = [line for metric in self.metrics for line in metric.lines()]
        return ("\n".join(lines) + "\n").encode()

    def first_value(self, name: str) -> int:
        """The value of the first series of a counter or gauge; 0 for a metric that is neither, or
        has no series.

        Args:
            name: as TensorFlow has it (``/tensorflow/serving/request_count``), or as on the page.
        """
        shown = re.sub(r"[^a-zA-Z0-9_]", ":", name)
        return next((m.first_value() for m in self.metrics if m.name == shown), 0)
