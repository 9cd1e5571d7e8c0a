"""One window of load by each way it can enter: the same record of what came of it."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, cast

import grpc
import numpy as np
import pytest

import workbench as wb
from workbench.core.batching.parameters import BatchingParameters
from workbench.core.signature import Signature, TensorInfo
from workbench.core.status import Code, ServingError
from workbench.experiments.load.grpc_sender import status_of
from workbench.experiments.load.measure import Where, load_job, measure
from workbench.experiments.load.server_load import make_payload
from workbench.experiments.sweep.point import summarize
from workbench.formats.wire.predict_message import answered_version, predict_request
from workbench.formats.wire.protobuf import field, submessage, submessages
from workbench.formats.wire.tensor_proto import decode_tensor
from workbench.load.arrivals import Schedule

WAYS: tuple[Where, ...] = ("engine", "rest", "grpc")


@pytest.mark.parametrize("where", WAYS)
def test_an_open_loop_is_answered(served_digits: wb.Server, where: Where) -> None:
    served_digits.batching = BatchingParameters(max_batch_size=16)
    schedule = Schedule("poisson", 150, 0.5, seed=4)

    window = measure(served_digits, make_payload(served_digits), schedule, 0.5, where)

    count = len(schedule.arrivals())
    assert (window.sent, window.failures, window.batches["requests"]) == (count, {}, count)
    warm = int((schedule.arrivals() >= 0.05).sum())
    assert len(window.latency) == len(window.ended) == len(window.batch) == warm
    assert (window.latency > 0).all()
    # Only inside the server is it known which batch answered.
    assert (window.batch >= 0).all() == (where == "engine")


@pytest.mark.parametrize("where", WAYS)
def test_a_full_queue_rejects(served_digits: wb.Server, where: Where) -> None:
    """A request of two rows waits 2 s for a third row; meanwhile no other has room."""
    served_digits.batching = BatchingParameters(
        max_batch_size=3, max_enqueued_batches=1, batch_timeout_micros=2_000_000
    )
    payload = make_payload(served_digits, rows=2)

    window = measure(served_digits, payload, Schedule("constant", 100, 0.5), 0.5, where)

    accepted = window.batches["requests"]
    assert (window.sent, window.failures) == (50, {"rejected": 50 - accepted})
    assert 1 <= accepted < 10
    parameters = BatchingParameters(num_batch_threads=2)
    point = summarize(parameters, {"rate": 100.0}, 2, [window], None)
    assert point.rejected == 1 - accepted / 50
    assert point.verdict in ("saturated", "limited by the load generator")
    assert window.failures["rejected"] == window.batches["rejected"]
    served_digits.batching = None


def test_what_the_server_refuses_is_counted_by_reason(served_digits: wb.Server) -> None:
    served_digits.batching = None
    wrong = replace(make_payload(served_digits), signature="nothing")
    for where, reason in (("rest", "HTTP 400"), ("grpc", "HTTP 400")):
        window = measure(served_digits, wrong, 1, 0.1, where)  # type: ignore[arg-type]
        assert window.failures.keys() == {reason}
        assert window.answered == 0


def test_grpc_must_be_offered(served_digits: wb.Server, monkeypatch: pytest.MonkeyPatch) -> None:
    entry = replace(served_digits.control.entry(), grpc_port=None)
    monkeypatch.setattr(type(served_digits.control), "entry", lambda self: entry)
    with pytest.raises(ServingError) as refused:
        load_job(served_digits, make_payload(served_digits), 1, 1.0, "grpc")
    assert refused.value == ServingError(
        Code.FAILED_PRECONDITION,
        "digits does not offer gRPC: serve it with a grpc_port, or measure with where='rest'",
    )


def test_a_predict_request_is_what_the_server_reads() -> None:
    floats = np.array([[1.5, -2.0]], np.float32)
    texts = np.array([b"ab", "é"], object)
    message = predict_request("m", "serving_default", {"x": floats, "s": texts})

    spec = submessage(message, 1)
    assert (submessage(spec, 1), submessage(spec, 3)) == (b"m", b"serving_default")
    assert submessage(spec, 2) == b""  # the latest version
    inputs = {submessage(e, 1): decode_tensor(submessage(e, 2)) for e in submessages(message, 2)}
    assert inputs.keys() == {b"x", b"s"}
    assert inputs[b"x"].dtype == np.float32
    assert inputs[b"x"].tolist() == floats.tolist()
    assert inputs[b"s"].tolist() == [b"ab", "é".encode()]


def test_an_answer_names_its_version() -> None:
    unnamed = field(2, field(1, b"m"))
    assert answered_version(unnamed) == answered_version(b"") == 0
    assert answered_version(field(2, field(1, b"m") + field(2, field(1, 1234)))) == 1234


def test_statuses_of_grpc_are_those_of_rest() -> None:
    names = ("UNAVAILABLE", "INVALID_ARGUMENT", "NOT_FOUND", "RESOURCE_EXHAUSTED", "INTERNAL")
    assert [status_of(grpc.StatusCode[name]) for name in names] == [503, 400, 404, 429, 500]


def test_a_payload_whose_inputs_differ_in_rows_is_refused() -> None:
    class Takes:
        def signature(self, name: str) -> Signature:
            info = TensorInfo("float", (-1, 2))
            return Signature({"a": info, "b": info}, {"y": info})

    server = cast(Any, Takes())
    assert make_payload(server, {"a": np.zeros((4, 2)), "b": np.ones((4, 2))}, rows=2).rows == 2
    with pytest.raises(ServingError) as refused:
        make_payload(server, {"a": np.zeros((4, 2)), "b": np.zeros((3, 2))})
    assert str(refused.value) == (
        "The payload's inputs do not have the same number of rows ('a' has 4, 'b' has 3): "
        "give the same number for each"
    )
