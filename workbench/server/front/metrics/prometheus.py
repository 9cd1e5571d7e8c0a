"""Metrics for Prometheus: TensorFlow Serving's, under its names, and ours.

TensorFlow Serving's series have no version and no signature; ours (`workbench_...`) do. They
are made from what the server counts anyway when the page is asked for; on a request's way only
plain integers are added to. The number of series is bounded: a model name gets its own only
while there is such a model, whatever clients may ask for.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

from workbench.core.events import Event
from workbench.core.signature import INIT_SIGNATURE
from workbench.core.status import Code
from workbench.server.engine.batching.scheduler import BatchScheduler
from workbench.server.engine.batching.tasks import now_micros
from workbench.server.engine.telemetry.meters import (
    DURATION_SECONDS,
    LATENCY_MICROS,
    Histogram,
    exponential,
)
from workbench.server.engine.versions.manager import Manager
from workbench.server.engine.versions.model import Served

CONTENT_TYPE = "text/plain"
_SERVING = ":tensorflow:serving:"

Labels = tuple[tuple[str, str], ...]


class Metrics:
    """Counts requests, and writes the page.

    Interfaces call `request` once a request, and `runtime` once a successful run of a model.
    """

    def __init__(self, manager: Manager, scheduler: BatchScheduler) -> None:
        self._manager = manager
        self._scheduler = scheduler
        self._requests: dict[str, list[int]] = {}
        self._latencies: dict[tuple[str, str, str], Histogram] = {}
        self._runtimes: dict[tuple[str, str], Histogram] = {}
        self._examples: dict[str, Histogram] = {}
        # By the folder of the version, and how its warm-up ended.
        self._warmups: dict[tuple[str, str], tuple[Histogram, int]] = {}
        self._exits: dict[str, int] = {}
        self.more: list[Callable[[], Iterator[str]]] = []
        """Further lines for the page, from those who know."""
        manager.events.listen(self._note)

    def request(
        self,
        model: str,
        api: str,
        entrypoint: str,
        code: Code,
        micros: int,
        version: int | None = None,
    ) -> None:
        """Count an answered request.

        Args:
            api: ``predict`` ... (REST) or ``Predict`` ... (gRPC), as TensorFlow Serving has it;
                empty for a question about the model.
            entrypoint: ``REST`` or ``GRPC``.
            micros: what it took; kept for a success only.
            version: that it went to; None where none was found.
        """
        known = self._manager.models.get(model)
        if known is None:
            model = ""
        elif api:
            known.traffic.add(now_micros(), version, code, micros)
        counts = self._requests.get(model)
        if counts is None:
            counts = self._requests[model] = [0] * len(Code)
        counts[code] += 1
        if code is Code.OK:
            key = (model, api, entrypoint)
            latency = self._latencies.get(key)
            if latency is None:
                latency = self._latencies[key] = Histogram(LATENCY_MICROS)
            latency.add(micros)

    def runtime(self, model: str, api: str, micros: int) -> None:
        """Count a run that succeeded, `api` being ``Predict``, ``Classify`` or ``Regress``."""
        key = (model, api)
        latency = self._runtimes.get(key)
        if latency is None:
            latency = self._runtimes[key] = Histogram(LATENCY_MICROS)
        latency.add(micros)

    def examples(self, model: str, count: int) -> None:
        """Count the examples of a MultiInference request."""
        if model not in self._examples:
            self._examples[model] = Histogram(exponential(1, 2, 15))
        self._examples[model].add(count)

    def _note(self, event: Event) -> None:
        if event.kind in ("warmup_finished", "warmup_failed") and event.data is not None:
            path = event.data["path"].removesuffix("/assets.extra/tf_serving_warmup_requests")
            key = path, event.data.get("code", "OK")
            latency, records = self._warmups.get(key, (Histogram(LATENCY_MICROS), 0))
            latency.add(event.data["micros"])
            self._warmups[key] = latency, records + event.data["records"]
        elif event.kind == "worker_exited" and event.model is not None:
            self._exits[event.model] = self._exits.get(event.model, 0) + 1

    def page(self) -> bytes:
        """Everything, in Prometheus' text format."""
        lines = [*self._tensorflow_serving(), *self._workbench()]
        for more in self.more:
            lines += more()
        return ("\n".join(lines) + "\n").encode()

    def first_value(self, name: str) -> int:
        """The value of a counter's first series; 0 for a metric that is none or has no series.

        Args:
            name: as TensorFlow has it (``/tensorflow/serving/request_count``), or as on the page.
        """
        start = re.sub(r"[^a-zA-Z0-9_]", ":", name) + "{"
        for line in self.page().decode().splitlines():
            if line.startswith(start):
                return int(float(line.rpartition(" ")[2]))
        return 0

    def _tensorflow_serving(self) -> Iterator[str]:
        """In TensorFlow Serving's layout (`prometheus_exporter.cc`): sorted by name, and the
        type of a metric also before its first use."""
        batching = self._scheduler.batching
        sizes: list[tuple[Labels, Histogram]] = [
            ((("execution_batch_size", str(size)),), histogram)
            for size, histogram in sorted(batching.paddings.items())
        ]
        used = batching.runs > 0

        def histogram(name: str, series: Iterable[tuple[Labels, Histogram]]) -> Iterator[str]:
            yield f"# TYPE {_SERVING}{name} histogram"
            for labels, values in series:
                yield from _histogram(_SERVING + name, labels, values, values.bounds, values.sum)

        def counter(name: str, series: Iterable[tuple[Labels, int]]) -> Iterator[str]:
            yield f"# TYPE {_SERVING}{name} counter"
            for labels, value in series:
                yield f"{_SERVING}{name}{{{_labels(labels)}}} {value}"

        none: Labels = ()
        pool: Labels = (("thread_pool_name", ""),)
        yield from histogram(
            "batching_session:input_batch_size", [(none, batching.input_sizes)] if used else []
        )
        yield from histogram("batching_session:padding_size", sizes)
        yield from histogram(
            "batching_session:processed_batch_size",
            [(none, batching.processed_sizes)] if used else [],
        )
        yield from histogram(
            "batching_session:queuing_latency", [(pool, batching.queued_micros)] if used else []
        )
        yield from counter(
            "batching_session:wrapped_run_count", [(none, batching.runs)] if used else []
        )
        # There is no ML Metadata, and no request log: neither has a series.
        yield f"# TYPE {_SERVING}mlmd_map gauge"
        warmups = sorted(self._warmups.items())
        yield from histogram(
            "model_warmup_latency",
            [((("model_path", path), ("status", s)), w[0]) for (path, s), w in warmups],
        )
        yield from counter(
            "model_warmup_records_read",
            [((("model_path", path), ("status", s)), w[1]) for (path, s), w in warmups],
        )
        yield from counter(
            "request_count",
            [
                ((("model_name", model), ("status", code)), count)
                for model, counts in sorted(self._requests.items())
                for code, count in _counted(counts)
            ],
        )
        examples = sorted(self._examples.items())
        yield from counter(
            "request_example_count_total", [((("model", m),), h.sum) for m, h in examples]
        )
        yield from histogram("request_example_counts", [((("model", m),), h) for m, h in examples])
        yield from histogram(
            "request_latency",
            [
                ((("model_name", model), ("API", api), ("entrypoint", entrypoint)), h)
                for (model, api, entrypoint), h in sorted(self._latencies.items())
            ],
        )
        yield from counter("request_log_count", [])
        yield from histogram(
            "runtime_latency",
            [
                ((("model_name", model), ("API", api), ("runtime", "TF1")), h)
                for (model, api), h in sorted(self._runtimes.items())
            ],
        )

    def _workbench(self) -> Iterator[str]:
        versions = [
            (
                (("model", model.name), ("version", str(served.id.version))),
                served,
            )
            for model in self._manager.models.values()
            for served in model.listed()
        ]
        serving = [(labels, served) for labels, served in versions if served.queues is not None]
        signatures = [
            ((*labels, ("signature", name)), meter)
            for labels, served in serving
            for name, meter in sorted(_queues(served).meters.items())
        ]
        yield from family(
            "version_state",
            "gauge",
            "1 for the state that a version is in.",
            [
                ((*labels, ("state", served.harness.public_state.name)), 1)
                for labels, served in versions
            ],
        )
        yield from family(
            "version_quarantined",
            "gauge",
            "1 for a version that keeps failing and is set aside.",
            [
                ((("model", model.name), ("version", str(version))), 1)
                for model in self._manager.models.values()
                for version in sorted(model.failing)
                if model.set_aside(version) is not None
            ],
        )
        yield from family(
            "requests_merged",
            "gauge",
            "1 for a signature whose requests share batches; 0 where each runs alone, with the "
            "operation that decides it.",
            [
                (
                    (*labels, ("signature", name), ("operation", decided.operation)),
                    int(bool(decided.merged)),
                )
                for labels, served in serving
                for name, decided in sorted(_queues(served).merging.items())
                if name != INIT_SIGNATURE and _queues(served).parameters is None
            ],
        )
        yield from family(
            "version_waiting",
            "gauge",
            "1 for a version whose folder is not complete yet, with the kind of what it lacks.",
            [
                ((("model", model.name), ("version", str(version)), ("reason", lack.kind)), 1)
                for model in self._manager.models.values()
                for version, lack in sorted(model.waiting.items())
            ],
        )
        yield from family(
            "requests_total",
            "counter",
            "Requests answered by a version, by signature and status code.",
            [
                ((*labels, ("code", code)), count)
                for labels, meter in signatures
                for code, count in _counted(meter.codes)
            ],
        )
        name = "workbench_request_duration_seconds"
        yield f"# HELP {name} Time from accepting a request to answering it."
        yield f"# TYPE {name} histogram"
        for labels, meter in signatures:
            durations = meter.durations
            yield from _histogram(name, labels, durations, DURATION_SECONDS, durations.sum / 1e6)
        per_version: Sequence[tuple[str, str, str, Any]] = (
            ("pending_requests", "gauge", "Requests accepted and not yet answered.",
             lambda q: q.pending),
            ("rejected_requests_total", "counter", "Requests that found the queue full.",
             lambda q: q.statistics.rejected),
            ("batches_total", "counter", "Batches run.", lambda q: q.statistics.batches),
            ("batch_rows_total", "counter", "Rows in these batches, padding not included.",
             lambda q: q.statistics.rows),
            ("batch_padding_rows_total", "counter", "Rows of padding in these batches.",
             lambda q: q.statistics.padding),
            ("batch_run_seconds_total", "counter", "Time that the model ran, over all batches.",
             lambda q: q.statistics.run_micros / 1e6),
        )  # fmt: skip
        for name, kind, about, value in per_version:
            series = [(labels, value(served.queues)) for labels, served in serving]
            yield from family(name, kind, about, series)
        yield from family(
            "batches_closed_total",
            "counter",
            "Batches run, by the reason for which they were closed.",
            [
                ((*labels, ("reason", reason)), count)
                for labels, served in serving
                for reason, count in sorted(_queues(served).statistics.reasons.items())
            ],
        )
        yield from family(
            "worker_exits_total",
            "counter",
            "Worker processes that ended without being asked to.",
            [((("model", model),), count) for model, count in sorted(self._exits.items())],
        )


def _counted(counts: Sequence[int]) -> list[tuple[str, int]]:
    """The names of the codes that occurred, and how often each did."""
    return [(code.name, counts[code]) for code in Code if counts[code]]


def _queues(served: Served) -> Any:
    assert served.queues is not None
    return served.queues


def family(
    name: str, kind: str, about: str, series: Iterable[tuple[Labels, float]]
) -> Iterator[str]:
    yield f"# HELP workbench_{name} {about}"
    yield f"# TYPE workbench_{name} {kind}"
    for labels, value in series:
        yield f"workbench_{name}{{{_labels(labels)}}} {value}"


def _histogram(
    name: str, labels: Labels, histogram: Histogram, bounds: Sequence[float], total: float
) -> Iterator[str]:
    """The lines of one histogram; `bounds` and `total` in the unit to show."""
    shown = _labels(labels)
    before = shown + "," if shown else ""
    below = 0
    for bound, count in zip([*map(_number, bounds), "+Inf"], histogram.counts, strict=True):
        below += count
        yield f'{name}_bucket{{{before}le="{bound}"}} {below}'
    yield f"{name}_sum{{{shown}}} {_number(total)}"
    yield f"{name}_count{{{shown}}} {below}"


def _number(value: float) -> str:
    """As `absl::StrCat` writes a double: six digits."""
    return f"{value:g}"


def _labels(labels: Labels) -> str:
    return ",".join(f'{name}="{_escaped(value)}"' for name, value in labels)


def _escaped(value: str) -> str:
    return value.replace("\\", r"\\").replace('"', r"\"").replace("\n", r"\n")
