"""The workbench's own metrics (`workbench_...`): by version, and by signature where that matters.

They are made from what the engine counts anyway, when the page is asked for.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from workbench.core.signature import INIT_SIGNATURE
from workbench.server.engine.telemetry.meters import DURATION_SECONDS, SignatureMeter
from workbench.server.engine.versions.manager import Manager
from workbench.server.engine.versions.model import Served
from workbench.server.front.metrics.exposition import Labels, Metric, Series
from workbench.server.front.metrics.request_counts import RequestCounts, codes_counted


def workbench_metrics(counts: RequestCounts, manager: Manager) -> list[Metric]:
    """All that a page shows beside TensorFlow Serving's."""

    def versions() -> Iterator[tuple[Labels, Served]]:
        for model in manager.models.values():
            for served in model.listed():
                yield (("model", model.name), ("version", str(served.id.version))), served

    def serving() -> Iterator[tuple[Labels, Any]]:
        """The queues of versions that serve."""
        for labels, served in versions():
            if served.queues is not None:
                yield labels, served.queues

    def signatures() -> Iterator[tuple[Labels, SignatureMeter]]:
        for labels, queues in serving():
            for name, meter in sorted(queues.meters.items()):
                yield (*labels, ("signature", name)), meter

    def of_queues(value: Callable[[Any], float]) -> Callable[[], Series]:
        return lambda: ((labels, value(queues)) for labels, queues in serving())

    return [
        Metric(
            "workbench_version_state",
            "gauge",
            lambda: (
                ((*labels, ("state", served.harness.public_state.name)), 1)
                for labels, served in versions()
            ),
            "1 for the state that a version is in.",
        ),
        Metric(
            "workbench_version_quarantined",
            "gauge",
            lambda: (
                ((("model", model.name), ("version", str(version))), 1)
                for model in manager.models.values()
                for version in sorted(model.failing)
                if model.set_aside(version) is not None
            ),
            "1 for a version that keeps failing and is set aside.",
        ),
        Metric(
            "workbench_requests_merged",
            "gauge",
            lambda: (
                (
                    (*labels, ("signature", name), ("operation", decided.operation)),
                    int(bool(decided.merged)),
                )
                for labels, queues in serving()
                for name, decided in sorted(queues.merging.items())
                if name != INIT_SIGNATURE and queues.parameters is None
            ),
            "1 for a signature whose requests share batches; 0 where each runs alone, with the "
            "operation that decides it.",
        ),
        Metric(
            "workbench_version_waiting",
            "gauge",
            lambda: (
                ((("model", model.name), ("version", str(version)), ("reason", lack.kind)), 1)
                for model in manager.models.values()
                for version, lack in sorted(model.waiting.items())
            ),
            "1 for a version whose folder is not complete yet, with the kind of what it lacks.",
        ),
        Metric(
            "workbench_requests_total",
            "counter",
            lambda: (
                ((*labels, ("code", code)), count)
                for labels, meter in signatures()
                for code, count in codes_counted(meter.codes)
            ),
            "Requests answered by a version, by signature and status code.",
        ),
        Metric(
            "workbench_request_duration_seconds",
            "histogram",
            lambda: ((labels, meter.durations) for labels, meter in signatures()),
            "Time from accepting a request to answering it.",
            DURATION_SECONDS,
            1e6,
        ),
        Metric(
            "workbench_pending_requests",
            "gauge",
            of_queues(lambda q: q.pending),
            "Requests accepted and not yet answered.",
        ),
        Metric(
            "workbench_rejected_requests_total",
            "counter",
            of_queues(lambda q: q.statistics.rejected),
            "Requests that found the queue full.",
        ),
        Metric(
            "workbench_batches_total",
            "counter",
            of_queues(lambda q: q.statistics.batches),
            "Batches run.",
        ),
        Metric(
            "workbench_batch_rows_total",
            "counter",
            of_queues(lambda q: q.statistics.rows),
            "Rows in these batches, padding not included.",
        ),
        Metric(
            "workbench_batch_padding_rows_total",
            "counter",
            of_queues(lambda q: q.statistics.padding),
            "Rows of padding in these batches.",
        ),
        Metric(
            "workbench_batch_run_seconds_total",
            "counter",
            of_queues(lambda q: q.statistics.run_micros / 1e6),
            "Time that the model ran, over all batches.",
        ),
        Metric(
            "workbench_batches_closed_total",
            "counter",
            lambda: (
                ((*labels, ("reason", reason)), count)
                for labels, queues in serving()
                for reason, count in sorted(queues.statistics.reasons.items())
            ),
            "Batches run, by the reason for which they were closed.",
        ),
        Metric(
            "workbench_worker_exits_total",
            "counter",
            lambda: (
                ((("model", model),), count) for model, count in sorted(counts.worker_exits.items())
            ),
            "Worker processes that ended without being asked to.",
        ),
    ]
