"""TensorFlow Serving's metrics, under its names. They have no version and no signature."""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

from workbench.server.engine.telemetry.meters import BatchingMeter
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

    def once_used(series: Series) -> Callable[[], Series]:
        return lambda: series if batching.runs else ()

    return [
        metric(
            "batching_session:input_batch_size",
            "histogram",
            once_used([(_NONE, batching.input_sizes)]),
        ),
        metric(
            "batching_session:padding_size",
            "histogram",
            lambda: [
                ((("execution_batch_size", str(size)),), padding)
                for size, padding in sorted(batching.paddings.items())
            ],
        ),
        metric(
            "batching_session:processed_batch_size",
            "histogram",
            once_used([(_NONE, batching.processed_sizes)]),
        ),
        metric(
            "batching_session:queuing_latency",
            "histogram",
            once_used([(_POOL, batching.queued_micros)]),
        ),
        metric(
            "batching_session:wrapped_run_count",
            "counter",
            lambda: [(_NONE, batching.runs)] if batching.runs else (),
        ),
        metric("mlmd_map", "gauge", nothing),
        metric(
            "model_warmup_latency",
            "histogram",
            lambda: [
                ((("model_path", path), ("status", status)), latency)
                for (path, status), (latency, _) in sorted(counts.warmups.items())
            ],
        ),
        metric(
            "model_warmup_records_read",
            "counter",
            lambda: [
                ((("model_path", path), ("status", status)), records)
                for (path, status), (_, records) in sorted(counts.warmups.items())
            ],
        ),
        metric(
            "request_count",
            "counter",
            lambda: [
                ((("model_name", model), ("status", code)), count)
                for model, codes in sorted(counts.requests.items())
                for code, count in codes_counted(codes)
            ],
        ),
        metric(
            "request_example_count_total",
            "counter",
            lambda: [
                ((("model", model),), histogram.sum)
                for model, histogram in sorted(counts.example_counts.items())
            ],
        ),
        metric(
            "request_example_counts",
            "histogram",
            lambda: [
                ((("model", model),), histogram)
                for model, histogram in sorted(counts.example_counts.items())
            ],
        ),
        metric(
            "request_latency",
            "histogram",
            lambda: [
                ((("model_name", model), ("API", api), ("entrypoint", entrypoint)), latency)
                for (model, api, entrypoint), latency in sorted(counts.latencies.items())
            ],
        ),
        metric("request_log_count", "counter", nothing),
        metric(
            "runtime_latency",
            "histogram",
            lambda: [
                ((("model_name", model), ("API", api), ("runtime", "TF1")), latency)
                for (model, api), latency in sorted(counts.runtimes.items())
            ],
        ),
    ]
