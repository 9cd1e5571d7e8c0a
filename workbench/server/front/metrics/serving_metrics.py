"""TensorFlow Serving's metrics, under its names. They have no version and no signature."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Literal

from workbench.server.engine.telemetry.meters import BatchingMeter, Histogram
from workbench.server.front.metrics.exposition import Labels, Metric, Series
from workbench.server.front.metrics.request_counts import RequestCounts, codes_counted

_PREFIX = ":tensorflow:serving:"
_NONE: Labels = ()
_POOL: Labels = (("thread_pool_name", ""),)


def serving_metrics(counts: RequestCounts, batching: BatchingMeter) -> list[Metric]:
    """In TensorFlow Serving's layout (`prometheus_exporter.cc`): sorted by name, and the type of a
    metric also before its first use."""

    def metric(
        name: str, kind: Literal["counter", "gauge", "histogram"], series: Callable[[], Series]
    ) -> Metric:
        return Metric(_PREFIX + name, kind, series)

    def nothing() -> Series:
        """There is no ML Metadata and no request log, so these have no series."""
        return ()

    def once_used(labels: Labels, value: Callable[[], float | Histogram]) -> Callable[[], Series]:
        return lambda: [(labels, value())] if batching.runs else ()

    def by(names: tuple[str, ...], values: Mapping[Any, Any], *more: tuple[str, str]) -> Series:
        """A series for each value, labelled with its key: a text, or one for each name."""
        for key, value in sorted(values.items()):
            texts = key if isinstance(key, tuple) else (str(key),)
            yield (*zip(names, texts, strict=True), *more), value

    model, warmup = ("model",), ("model_path", "status")
    return [
        metric(
            "batching_session:input_batch_size",
            "histogram",
            once_used(_NONE, lambda: batching.input_sizes),
        ),
        metric(
            "batching_session:padding_size",
            "histogram",
            lambda: by(("execution_batch_size",), batching.paddings),
        ),
        metric(
            "batching_session:processed_batch_size",
            "histogram",
            once_used(_NONE, lambda: batching.processed_sizes),
        ),
        metric(
            "batching_session:queuing_latency",
            "histogram",
            once_used(_POOL, lambda: batching.queued_micros),
        ),
        metric(
            "batching_session:wrapped_run_count",
            "counter",
            once_used(_NONE, lambda: batching.runs),
        ),
        metric("mlmd_map", "gauge", nothing),
        metric(
            "model_warmup_latency",
            "histogram",
            lambda: by(warmup, {key: latency for key, (latency, _) in counts.warmups.items()}),
        ),
        metric(
            "model_warmup_records_read",
            "counter",
            lambda: by(warmup, {key: records for key, (_, records) in counts.warmups.items()}),
        ),
        metric(
            "request_count",
            "counter",
            lambda: [
                ((("model_name", name), ("status", code)), count)
                for name, codes in sorted(counts.requests.items())
                for code, count in codes_counted(codes)
            ],
        ),
        metric(
            "request_example_count_total",
            "counter",
            lambda: by(model, {name: h.sum for name, h in counts.example_counts.items()}),
        ),
        metric("request_example_counts", "histogram", lambda: by(model, counts.example_counts)),
        metric(
            "request_latency",
            "histogram",
            lambda: by(("model_name", "API", "entrypoint"), counts.latencies),
        ),
        metric("request_log_count", "counter", nothing),
        metric(
            "runtime_latency",
            "histogram",
            lambda: by(("model_name", "API"), counts.runtimes, ("runtime", "TF1")),
        ),
    ]
