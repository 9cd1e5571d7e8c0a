"""TensorFlow Serving's metrics, under its names. They have no version and no signature."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from workbench.server.engine.telemetry.meters import BatchingMeter, Histogram
from workbench.server.front.metrics.exposition import Kind, Labels, Metric, Series
from workbench.server.front.metrics.request_counts import RequestCounts, codes_counted

_POOL: Labels = (("thread_pool_name", ""),)


def serving_metrics(counts: RequestCounts, batching: BatchingMeter) -> list[Metric]:
    """In TensorFlow Serving's layout (`prometheus_exporter.cc`): sorted by name, and the type of a
    metric also before its first use."""

    def nothing() -> Series:
        """There is no ML Metadata and no request log, so these have no series."""
        return ()

    def once_used(
        value: Callable[[], float | Histogram], labels: Labels = ()
    ) -> Callable[[], Series]:
        return lambda: [(labels, value())] if batching.runs else ()

    def by(names: tuple[str, ...], values: Mapping[Any, Any], *more: tuple[str, str]) -> Series:
        """A series for each value, labelled with its key: a text, or one for each name."""
        for key, value in sorted(values.items()):
            texts = key if isinstance(key, tuple) else (str(key),)
            yield (*zip(names, texts, strict=True), *more), value

    def warmups(part: int) -> Series:
        values = {key: warmup[part] for key, warmup in counts.warmups.items()}
        return by(("model_path", "status"), values)

    def requests() -> Series:
        for name, codes in sorted(counts.requests.items()):
            for code, count in codes_counted(codes):
                yield (("model_name", name), ("status", code)), count

    def example_sums() -> Series:
        return by(("model",), {name: sizes.sum for name, sizes in counts.example_counts.items()})

    runtime = ("runtime", "TF1")
    metrics: dict[Kind, dict[str, Callable[[], Series]]] = {
        "gauge": {"mlmd_map": nothing},
        "counter": {
            "batching_session:wrapped_run_count": once_used(lambda: batching.runs),
            "model_warmup_records_read": lambda: warmups(1),
            "request_count": requests,
            "request_example_count_total": example_sums,
            "request_log_count": nothing,
        },
        "histogram": {
            "batching_session:input_batch_size": once_used(lambda: batching.input_sizes),
            "batching_session:padding_size": lambda: by(
                ("execution_batch_size",), batching.paddings
            ),
            "batching_session:processed_batch_size": once_used(lambda: batching.processed_sizes),
            "batching_session:queuing_latency": once_used(lambda: batching.queued_micros, _POOL),
            "model_warmup_latency": lambda: warmups(0),
            "request_example_counts": lambda: by(("model",), counts.example_counts),
            "request_latency": lambda: by(("model_name", "API", "entrypoint"), counts.latencies),
            "runtime_latency": lambda: by(("model_name", "API"), counts.runtimes, runtime),
        },
    }
    return sorted(
        Metric(":tensorflow:serving:" + name, kind, series)
        for kind, table in metrics.items()
        for name, series in table.items()
    )
