"""The page for Prometheus: TensorFlow Serving's names and layout, and series of ours."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from prometheus_client.parser import text_string_to_metric_families

from tests.server.conftest import Answer, Planes, catalog, planes  # noqa: F401
from tests.servers import Server
from workbench.core.batching.parameters import BatchingParameters
from workbench.formats.config_files import METRICS_PATH
from workbench.server.engine.telemetry.meters import Histogram, exponential
from workbench.server.front.metrics.exposition import escaped

PATH = METRICS_PATH
S = ":tensorflow:serving:"
Sample = tuple[str, tuple[tuple[str, str], ...]]


def page(planes: Planes) -> str:  # noqa: F811
    answer = planes.ask("GET", PATH)
    assert (answer.status, answer.headers["Content-Type"]) == (200, "text/plain")
    return answer.body.decode()


def samples(text: str) -> dict[Sample, float]:
    # The parser gives every counter the suffix that TensorFlow Serving's do not have.
    return {
        (
            sample.name.removesuffix("_total") if sample.name.startswith(":") else sample.name,
            tuple(sorted(sample.labels.items())),
        ): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


def value(found: dict[Sample, float], name: str, **labels: str) -> float:
    return found.get((name, tuple(sorted(labels.items()))), 0.0)


@pytest.fixture
def half(server: Server, planes: Planes, tmp_path: Path) -> Planes:  # noqa: F811
    server.run(server.serve(tmp_path, "half_plus_two", name="half"))
    return planes


def difference(planes: Planes, *requests: tuple[str, str, Any]) -> dict[Sample, float]:  # noqa: F811
    """What these requests add to the page."""
    before = samples(page(planes))
    for method, target, body in requests:
        planes.ask(method, target, body)
    after = samples(page(planes))
    changed = {key: after[key] - before.get(key, 0.0) for key in after}
    return {key: change for key, change in changed.items() if change}


PREDICT = ("POST", "/v1/models/half:predict", {"instances": [1.0, 2.0]})


def test_every_metric_of_tensorflow_serving_has_its_type_line_sorted_by_name(half: Planes) -> None:
    types = [line for line in page(half).split("\n") if line.startswith(f"# TYPE {S}")]
    assert types == [
        f"# TYPE {S}batching_session:input_batch_size histogram",
        f"# TYPE {S}batching_session:padding_size histogram",
        f"# TYPE {S}batching_session:processed_batch_size histogram",
        f"# TYPE {S}batching_session:queuing_latency histogram",
        f"# TYPE {S}batching_session:wrapped_run_count counter",
        f"# TYPE {S}mlmd_map gauge",
        f"# TYPE {S}model_warmup_latency histogram",
        f"# TYPE {S}model_warmup_records_read counter",
        f"# TYPE {S}request_count counter",
        f"# TYPE {S}request_example_count_total counter",
        f"# TYPE {S}request_example_counts histogram",
        f"# TYPE {S}request_latency histogram",
        f"# TYPE {S}request_log_count counter",
        f"# TYPE {S}runtime_latency histogram",
    ]
    assert page(half).endswith("\n")


def test_a_predict_request(half: Planes) -> None:
    changed = difference(half, PREDICT)
    latency = {"model_name": "half", "API": "predict", "entrypoint": "REST"}
    runtime = {"model_name": "half", "API": "Predict", "runtime": "TF1"}
    assert value(changed, f"{S}request_count", model_name="half", status="OK") == 1
    assert value(changed, f"{S}request_latency_count", **latency) == 1
    assert value(changed, f"{S}request_latency_bucket", **latency, le="+Inf") == 1
    assert value(changed, f"{S}runtime_latency_count", **runtime) == 1
    ours = {"model": "half", "version": "1", "signature": "serving_default"}
    assert value(changed, "workbench_requests_total", **ours, code="OK") == 1
    assert value(changed, "workbench_request_duration_seconds_count", **ours) == 1
    version = {"model": "half", "version": "1"}
    assert value(changed, "workbench_batches_total", **version) == 1
    assert value(changed, "workbench_batch_rows_total", **version) == 2


@pytest.mark.parametrize(
    ("request_", "model", "code"),
    [
        (("GET", "/v1/models/half", None), "half", "OK"),
        (("GET", "/v1/models/half/metadata", None), "half", "OK"),
        (("POST", "/v1/models/half:predict", b"{"), "half", "INVALID_ARGUMENT"),
        (("POST", "/v1/models/half/versions/9:predict", {"instances": [1]}), "half", "NOT_FOUND"),
        (("POST", "/v1/models/typo:predict", {"instances": [1]}), "", "NOT_FOUND"),
        (("GET", "/v1/models/half/", None), "", "INVALID_ARGUMENT"),
        (("GET", f"/v1/models/half/versions/{2**64}", None), "", "INVALID_ARGUMENT"),
        (("GET", "/health/live", None), "", ""),
        (("GET", "/v1/models", None), "", ""),
        (("GET", "/elsewhere", None), "", ""),
    ],
)
def test_what_is_counted(half: Planes, request_: Any, model: str, code: str) -> None:
    changed = difference(half, request_)
    counts = {k: v for k, v in changed.items() if k[0] == f"{S}request_count"}
    key = (f"{S}request_count", (("model_name", model), ("status", code)))
    assert counts == ({key: 1.0} if code else {})
    api = {"model_name": model, "API": "", "entrypoint": "REST"}
    assert value(changed, f"{S}request_latency_count", **api) == (code == "OK")


def test_names_of_clients_choosing_make_no_series(half: Planes) -> None:
    half.ask("GET", "/v1/models/typo")
    before = page(half).count("\n")
    for number in range(50):
        half.ask("GET", f"/v1/models/typo{number}")
    assert page(half).count("\n") == before


def test_classify_and_regress(half: Planes) -> None:
    body = {"signature_name": "classify_x_to_y", "examples": [{"x": 1.0}]}
    changed = difference(half, ("POST", "/v1/models/half:classify", body))
    runtime = {"model_name": "half", "API": "Classify", "runtime": "TF1"}
    assert value(changed, f"{S}runtime_latency_count", **runtime) == 1
    latency = {"model_name": "half", "API": "classify", "entrypoint": "REST"}
    assert value(changed, f"{S}request_latency_count", **latency) == 1


def test_latency_buckets_are_tensorflow_servings(half: Planes) -> None:
    half.ask(*PREDICT)
    start = f'{S}request_latency_bucket{{model_name="half",API="predict",entrypoint="REST",le="'
    bounds = [
        line.removeprefix(start).split('"')[0]
        for line in page(half).split("\n")
        if line.startswith(start)
    ]
    assert bounds[:5] == ["10", "18", "32.4", "58.32", "104.976"]
    assert bounds[-2:] == ["1.47476e+09", "+Inf"]
    assert len(bounds) == 34


def test_batching_session(server: Server, planes: Planes, tmp_path: Path) -> None:  # noqa: F811
    parameters = BatchingParameters(max_batch_size=4, allowed_batch_sizes=(4,))
    server.run(server.serve(tmp_path, "half_plus_two", name="half", batching=parameters))
    changed = difference(
        planes, ("POST", "/v1/models/half:predict", {"instances": [1.0, 2.0, 3.0]})
    )
    batching = f"{S}batching_session:"
    assert value(changed, f"{batching}wrapped_run_count") == 1
    assert value(changed, f"{batching}input_batch_size_sum") == 3
    assert value(changed, f"{batching}processed_batch_size_sum") == 4
    assert value(changed, f"{batching}padding_size_sum", execution_batch_size="4") == 1
    assert value(changed, f"{batching}queuing_latency_count", thread_pool_name="") == 1
    assert f"\n{batching}wrapped_run_count{{}} " in page(planes)


def test_warmup(server: Server, planes: Planes, tmp_path: Path) -> None:  # noqa: F811
    from tests.conformance.test_warmup import GOOD, load

    load(server, tmp_path, "half_plus_two", [GOOD, GOOD])
    found = samples(page(planes))
    labels = {"model_path": str(tmp_path / "1"), "status": "OK"}
    assert value(found, f"{S}model_warmup_records_read", **labels) == 2
    assert value(found, f"{S}model_warmup_latency_count", **labels) == 1


def test_a_warmup_that_failed(server: Server, planes: Planes, tmp_path: Path) -> None:  # noqa: F811
    from tests.conformance.test_warmup import FILE, GOOD
    from workbench.formats.wire.tfrecord import write_records
    from workbench.server.engine.telemetry.warmup_recorder import prediction_log

    async def fail() -> None:
        server.put(tmp_path, 1, "half_plus_two")
        records = [GOOD, GOOD, prediction_log("m", "nope", {}, ())]
        write_records(str(tmp_path / "1" / FILE), records)
        model = server.set_model("m", tmp_path)
        await server.until(
            lambda: any(s.harness.error is not None for s in model.listed()), "it has failed"
        )

    server.run(fail())
    found = samples(page(planes))
    labels = {"model_path": str(tmp_path / "1"), "status": "FAILED_PRECONDITION"}
    assert value(found, f"{S}model_warmup_records_read", **labels) == 2
    assert value(found, f"{S}model_warmup_latency_count", **labels) == 1


def test_states_of_versions(half: Planes) -> None:
    found = samples(page(half))
    labels = {"model": "half", "version": "1", "state": "AVAILABLE"}
    assert value(found, "workbench_version_state", **labels) == 1


def test_a_query_is_refused(half: Planes) -> None:
    answer = half.ask("GET", f"{PATH}?x=1")
    assert (answer.status, answer.headers["Content-Type"], answer.body.decode()) == (
        400,
        "text/plain",
        f"Unexpected path: {PATH}?x=1. Should be {PATH}",
    )


def test_the_page_needs_the_token(half: Planes) -> None:
    assert half.ask("GET", PATH, plane="guarded").status == 401


def test_a_value_at_a_bound_falls_above_it() -> None:
    # The example of TensorFlow Serving's prometheus_exporter_test.cc.
    histogram = Histogram(exponential(1, 2, 10))
    for number in (2, 20, 200):
        histogram.add(number)
    assert histogram.counts == [0, 0, 1, 0, 0, 1, 0, 0, 1, 0, 0]
    assert histogram.sum == 222


def test_escaping() -> None:
    assert escaped('"abc\\"') == '\\"abc\\\\\\"'
    assert escaped("a\nb") == "a\\nb"
