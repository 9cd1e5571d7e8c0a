"""The workbench's own metrics (`workbench_...`): by version, and by signature where that matters.

They are made from what the engine counts anyway, when the page is asked for.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from workbench.core.signature import INIT_SIGNATURE
from workbench.server.engine.telemetry.meters import DURATION_SECONDS, SignatureMeter
from workbench.server.engine.versions.manager import Manager
from workbench.server.engine.versions.model import Model, Served
from workbench.server.front.metrics.exposition import Labels, Metric, Series
from workbench.server.front.metrics.request_counts import RequestCounts, codes_counted

_TOTALS: dict[str, tuple[Callable[[Any], float], str]] = {
    "rejected_requests": (lambda s: s.rejected, "Requests that found the queue full."),
    "batches": (lambda s: s.batches, "Batches run."),
    "batch_rows": (lambda s: s.rows, "Rows in these batches, padding not included."),
    "batch_padding_rows": (lambda s: s.padding, "Rows of padding in these batches."),
    "batch_run_seconds": (lambda s: s.run_micros / 1e6, "Time the model ran, over all batches."),
}
"""Counters of a version's queue statistics: how each is read, and its HELP text."""


def workbench_metrics(counts: RequestCounts, manager: Manager) -> list[Metric]:
    """All that a page shows beside TensorFlow Serving's."""

    def versions() -> Iterator[tuple[Labels, Served]]:
        for model in manager.models.values():
            for served in model.listed():
                yield _version(model, served.id.version), served

    def serving() -> Iterator[tuple[Labels, Any]]:
        """The queues of versions that serve."""
        return ((labels, s.queues) for labels, s in versions() if s.queues is not None)

    def signatures() -> Iterator[tuple[Labels, SignatureMeter]]:
        for labels, queues in serving():
            for name, meter in sorted(queues.meters.items()):
                yield (*labels, ("signature", name)), meter

    def states() -> Series:
        for labels, served in versions():
            yield (*labels, ("state", served.harness.public_state.name)), 1

    def quarantined() -> Series:
        for model in manager.models.values():
            for version in sorted(model.failing):
                if model.set_aside(version) is not None:
                    yield _version(model, version), 1

    def merged() -> Series:
        for labels, queues in serving():
            for name, decided in sorted(queues.merging.items()):
                if name != INIT_SIGNATURE and queues.parameters is None:
                    more = (("signature", name), ("operation", decided.operation))
                    yield labels + more, int(bool(decided.merged))

    def waiting() -> Series:
        for model in manager.models.values():
            for version, lack in sorted(model.waiting.items()):
                yield (*_version(model, version), ("reason", lack.kind)), 1

    def requests() -> Series:
        for labels, meter in signatures():
            for code, count in codes_counted(meter.codes):
                yield (*labels, ("code", code)), count

    def closed() -> Series:
        for labels, queues in serving():
            for reason, count in sorted(queues.statistics.reasons.items()):
                yield (*labels, ("reason", reason)), count

    def of_queues(value: Callable[[Any], float]) -> Callable[[], Series]:
        return lambda: ((labels, value(queues)) for labels, queues in serving())

    def total(name: str, value: Callable[[Any], float], about: str) -> Metric:
        series = of_queues(lambda queues: value(queues.statistics))
        return Metric(f"workbench_{name}_total", "counter", series, about)

    return [
        Metric("workbench_version_state", "gauge", states, "1 for the state that a version is in."),
        Metric(
            "workbench_version_quarantined",
            "gauge",
            quarantined,
            "1 for a version that keeps failing and is set aside.",
        ),
        Metric(
            "workbench_requests_merged",
            "gauge",
            merged,
            "1 for a signature whose requests share batches; 0 where each runs alone, with the "
            "operation that decides it.",
        ),
        Metric(
            "workbench_version_waiting",
            "gauge",
            waiting,
            "1 for a version whose folder is not complete yet, with the kind of what it lacks.",
        ),
        Metric(
            "workbench_requests_total",
            "counter",
            requests,
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
            of_queues(lambda queues: queues.pending),
            "Requests accepted and not yet answered.",
        ),
        *(total(name, value, about) for name, (value, about) in _TOTALS.items()),
        Metric(
            "workbench_batches_closed_total",
            "counter",
            closed,
            "Batches run, by the reason for which they were closed.",
        ),
        Metric(
            "workbench_worker_exits_total",
            "counter",
            lambda: (((("model", m),), count) for m, count in sorted(counts.worker_exits.items())),
            "Worker processes that ended without being asked to.",
        ),
    ]


def _version(model: Model, version: int) -> Labels:
    return ("model", model.name), ("version", str(version))
