"""Warm-up as TensorFlow Serving has it, in real workers; and files recorded from real requests."""

from __future__ import annotations

import asyncio
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.conformance.process import Process
from tests.servers import Server, floats
from workbench.core.events import log_line
from workbench.core.status import Code, ServingError
from workbench.facade import connect
from workbench.formats.wire.protobuf import field
from workbench.formats.wire.tfrecord import write_records
from workbench.server.engine.telemetry.warmup_recorder import (
    prediction_log,
)
from workbench.server.engine.versions.model import Served
from workbench.server.worker.replay import decode

FILE = "assets.extra/tf_serving_warmup_requests"
PREDICT = prediction_log("m", "incr_counter_by", {"delta": np.float32(2.5)}, ())
GOOD = prediction_log("another name", "", {"x": floats(1.0, 2.0)}, ())


def spec(signature: str) -> bytes:
    return field(1, field(3, signature.encode()))


# An example without features takes the default of 0.0; the second message has a context.
EXAMPLES = field(2, field(1, field(1, b"") + field(1, b"")))
WITH_CONTEXT = field(2, field(2, field(1, b"") + field(2, b"")))


def task(signature: str, method: str) -> bytes:
    return field(1, spec(signature) + field(2, method.encode()))


CLASSIFY = field(2, field(1, spec("classify_x_to_y") + EXAMPLES))
REGRESS = field(3, field(1, spec("regress_x_to_y") + WITH_CONTEXT))
MULTI = field(
    4,
    field(
        1,
        task("classify_x_to_y", "tensorflow/serving/classify")
        + task("regress_x_to_y", "tensorflow/serving/regress")
        + EXAMPLES,
    ),
)


def load(server: Server, base: Path, export: str, records: Any, **settings: Any) -> Served:
    """Serve a model with a warm-up file: a list of records, or the file's bytes."""

    async def load() -> Served:
        server.put(base, 1, export)
        path = base / "1" / FILE
        if isinstance(records, bytes):
            path.parent.mkdir()
            path.write_bytes(records)
        else:
            write_records(str(path), records)
        server.set_model("m", base, **settings)
        return await server.available("m", 1)

    return server.run(load())


def warmup_lines(server: Server, since: int) -> list[str]:
    lines = [log_line(e) for e in server.events(since) if e.kind.startswith("warmup")]
    return [line for line in lines if line is not None]


@pytest.mark.parametrize(
    ("settings", "count"),
    [
        ({}, 5.0),
        ({"num_request_iterations_for_warmup": 3}, 15.0),
        ({"enable_model_warmup": False}, 0.0),
    ],
)
def test_records_are_run_before_the_version_is_available(
    server: Server, tmp_path: Path, settings: dict[str, Any], count: float
) -> None:
    since = server.core.events.last_seq
    load(server, tmp_path, "counter", [PREDICT, PREDICT], **settings)
    got = server.run(server.predict("m", {}, signature="get_counter"))
    assert got["output"] == count
    kinds = [e.kind for e in server.events(since)]
    if count:
        order = ["loaded_saved_model", "warmup_started", "warmup_finished", "available"]
    else:
        order = ["loaded_saved_model", "available"]
    assert [k for k in kinds if k in order or k.startswith("warmup")] == order


def test_log_lines(server: Server, tmp_path: Path) -> None:
    since = server.core.events.last_seq
    load(server, tmp_path, "half_plus_two", [GOOD], num_request_iterations_for_warmup=2)
    first, second = warmup_lines(server, since)
    path = tmp_path / "1" / FILE
    assert first == (
        f"Starting to read warmup data for model at {path} with model-warmup-options "
        "num_request_iterations { value: 2 }"
    )
    assert second.startswith(
        f"Finished reading warmup data for model at {path}. Number of warmup records read: 1. "
        "Elapsed time (microseconds): "
    )


def test_without_a_file(server: Server, tmp_path: Path) -> None:
    since = server.core.events.last_seq
    server.run(server.serve(tmp_path, "half_plus_two"))
    path = tmp_path / "1" / FILE
    assert warmup_lines(server, since) == [f"No warmup data file found at {path}"]


@pytest.mark.parametrize(
    "record",
    [GOOD, CLASSIFY, REGRESS, MULTI, b""],
    ids=["predict", "classify", "regress", "multi", "unset"],
)
def test_every_kind_of_request(server: Server, tmp_path: Path, record: bytes) -> None:
    since = server.core.events.last_seq
    load(server, tmp_path, "half_plus_two", [record])
    (finished,) = (e for e in server.events(since) if e.kind == "warmup_finished")
    assert finished.data is not None
    assert finished.data["records"] == 1


NO_X = "input size does not match signature: 0!=1 len({}) != len({x}). "


@pytest.mark.parametrize(
    ("records", "code", "message"),
    [
        (
            [GOOD] * 1001,
            Code.INVALID_ARGUMENT,
            "Number of warmup records exceeds the maximum (1000) at PATH",
        ),
        (
            [b"\x0fno message"],
            Code.INVALID_ARGUMENT,
            "Failed to parse warmup record: \x0fno message from PATH",
        ),
        (
            b"not a TFRecord file at all",
            Code.DATA_LOSS,
            "corrupted record at 0 (Is this even a TFRecord file?). Please verify your warmup "
            "data is in TFRecord format.",
        ),
        ([field(5, b"")], Code.UNIMPLEMENTED, "Unsupported log_type for warmup: 5"),
        ([field(7, b"")], Code.UNIMPLEMENTED, "Unsupported log_type for warmup: 7"),
        (
            [prediction_log("m", "q", {"x": floats(1.0)}, ())],
            Code.FAILED_PRECONDITION,
            'Serving signature key "q" not found.',
        ),
        (
            [prediction_log("m", "", {}, ())],
            Code.INVALID_ARGUMENT,
            NO_X + "Sent extra: {}. Missing but required: {x}.",
        ),
        (
            [prediction_log("m", "", {"x": np.array([b"a"], object)}, ())],
            Code.INVALID_ARGUMENT,
            "Expects arg[0] to be float but string is provided",
        ),
        ([field(2, field(1, spec("classify_x_to_y")))], Code.INVALID_ARGUMENT, "Input is empty."),
        (
            [field(4, field(1, task("q", "tensorflow/serving/predict") + EXAMPLES))],
            Code.UNIMPLEMENTED,
            "Unsupported signature method_name: tensorflow/serving/predict",
        ),
    ],
)
def test_a_failure_fails_the_load(
    server: Server, tmp_path: Path, records: Any, code: Code, message: str
) -> None:
    with pytest.raises(ServingError) as caught:
        load(server, tmp_path, "half_plus_two", records)
    expected = message.replace("PATH", str(tmp_path / "1" / FILE))
    assert (caught.value.code, caught.value.message) == (code, expected)


def test_recorded_requests_are_run_at_the_next_load(server: Server, tmp_path: Path) -> None:
    async def record() -> None:
        _, served = await server.serve(tmp_path, "counter")
        recording = served.record_warmup(3)
        for delta in (1.0, 2.0, 3.0, 100.0):
            await server.predict("m", {"delta": np.float32(delta)}, signature="incr_counter_by")
            with pytest.raises(ServingError):
                # A request that fails is not kept.
                await server.predict(
                    "m", {"delta": np.array([b"x"], object)}, signature="incr_counter_by"
                )
        await recording.finish()
        assert recording.to_json() == {
            "version": 1,
            "wanted": 3,
            "recorded": 3,
            "state": "written",
            "error": "",
            "path": str(tmp_path / "1" / FILE),
        }
        assert served.queues is not None
        assert served.queues.on_accepted is None
        assert [p.name for p in (tmp_path / "1" / "assets.extra").iterdir()] == [
            "tf_serving_warmup_requests"
        ]
        # Writing into the folder of a version that serves does not disturb it.
        server.core.manager.poll_soon("m")
        await asyncio.sleep(0.1)
        assert server.core.manager.find("m") is served

    server.run(record())
    server.clear()

    async def again() -> Any:
        server.set_model("m", tmp_path)
        await server.available("m", 1)
        return await server.predict("m", {}, signature="get_counter")

    assert server.run(again())["output"] == 6.0


def test_recording_through_the_client(process: Process, models: Path, tmp_path: Path) -> None:
    base = tmp_path / "warmed"
    shutil.copytree(models / "half_plus_two", base / "1")
    process.add("warmed", base)
    client = connect(process.server.name)
    client.model = "warmed"
    recording = client.record_warmup(2)
    assert repr(recording) == "<WarmupRecording of version 1: 0 of 2 requests, recording>"
    with pytest.raises(ServingError) as caught:
        recording.wait(timeout=0.0)
    assert caught.value.message == "0 of 2 requests were recorded within 0 s"
    with pytest.raises(ServingError) as caught:
        recording.finish()
    assert caught.value.message == "No request has been recorded yet"
    client.predict([1.0])
    assert recording.recorded == 1
    process.predict("warmed", {"instances": [2.0]})
    assert recording.wait() == recording.path == str(base / "1" / FILE)
    assert recording.finish() == recording.path
    with pytest.raises(ServingError) as caught:
        client.record_warmup(0)
    assert caught.value.message == "Between 1 and 1000 requests can be recorded; asked for 0"


def test_limits_of_a_recording(server: Server, tmp_path: Path) -> None:
    async def refuse() -> None:
        _, served = await server.serve(tmp_path, "half_plus_two")
        for count in (0, 1001):
            with pytest.raises(ServingError) as caught:
                served.record_warmup(count)
            assert caught.value.message == (
                f"Between 1 and 1000 requests can be recorded; asked for {count}"
            )
        recording = served.record_warmup(2)
        with pytest.raises(ServingError) as caught:
            await recording.finish()
        assert caught.value.message == "No request has been recorded yet"
        await server.predict("m", {"x": floats(1.0)})
        await recording.finish()
        assert (recording.state, recording.recorded) == ("written", 1)

    server.run(refuse())


def test_a_folder_that_cannot_be_written(server: Server, tmp_path: Path) -> None:
    async def fail() -> None:
        _, served = await server.serve(tmp_path, "half_plus_two")
        (tmp_path / "1" / "assets.extra").write_text("a file where the folder should be")
        recording = served.record_warmup(1)
        await server.predict("m", {"x": floats(1.0)})
        await recording.finish()
        path = tmp_path / "1" / FILE
        assert (recording.state, recording.error) == ("failed", f"{path}: File exists")

    server.run(fail())


def test_decode_without_tensors() -> None:
    (call,) = decode(prediction_log("m", "s", {}, ("a", "b")))
    assert call == ("predict", "s", {}, ("a", "b"))
    with pytest.raises(ValueError, match="field 6 holds a number"):
        decode(field(6, 1))
