"""Traffic is recorded from a real server in use, and sent to it again."""

from __future__ import annotations

import json
import threading
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

import workbench as wb
from workbench.core.batching.parameters import BatchingParameters
from workbench.core.signature import Signature, TensorInfo
from workbench.core.status import Code, ServingError
from workbench.experiments.load.measure import Where
from workbench.experiments.load.server_load import MAX_BYTES, MAX_REQUESTS, make_payload
from workbench.experiments.store.store import Store
from workbench.experiments.sweep.sweep_result import SweepResult
from workbench.experiments.traffic import traffic_recording
from workbench.experiments.traffic.recorded_traffic import Traffic
from workbench.experiments.traffic.traffic_recording import record_traffic, to_traffic

ROWS = [1, 1, 4, 2, 1, 7, 4, 1, 16, 3] * 5
"""Of 50 requests, which come in five bursts."""
PIXELS = 64


def ask(server: wb.Server, rows: int) -> None:
    """One request of zeros as other programs send it: JSON that does not name the only input."""
    entry = server.control.entry()
    body = json.dumps({"instances": np.zeros((rows, PIXELS)).tolist()}).encode()
    headers = {} if entry.token is None else {"Authorization": f"Bearer {entry.token}"}
    url = f"{entry.url}/v1/models/{server.model}:predict"
    with urllib.request.urlopen(urllib.request.Request(url, body, headers), timeout=60) as answer:
        assert len(json.load(answer)["predictions"]) == rows


@contextmanager
def recording(server: wb.Server) -> Iterator[list[Traffic]]:
    """Record while the block runs."""
    found: list[Traffic] = []
    number = server.control.record_traffic(server.model, 600)["number"]
    yield found
    found.append(to_traffic(server.control.finish_traffic(server.model, number), server.model))


def until(holds: Callable[[], bool]) -> None:
    """Wait until something holds; the test's own limit ends it otherwise."""
    while not holds():
        time.sleep(0.02)


@pytest.fixture(scope="module")
def recorded(served_digits: wb.Server) -> Traffic:
    """Recorded in another thread, and ended from the dashboard."""
    found: list[Traffic] = []
    thread = threading.Thread(
        target=lambda: found.append(record_traffic(served_digits, seconds=600, progress=False))
    )
    with Store() as store:
        thread.start()
        until(lambda: any("left" in each["text"] for each in store.running()))
        for at, rows in enumerate(ROWS):
            ask(served_digits, rows)
            time.sleep(0.15 if at % 10 == 9 else 0.001)
        # It comes from inside the server, so it is no client's.
        served_digits.control.run_load(served_digits.model, engine_load(served_digits))
        store.cancel(store.running()[0]["number"])
        thread.join()
    return found[0]


def engine_load(server: wb.Server) -> dict[str, Any]:
    import base64

    from workbench.ipc.frames import encode_message

    (request,) = make_payload(server).inputs
    text = base64.b64encode(encode_message({}, dict(request))).decode()
    return {"inputs": [text], "callers": 1, "seconds": 0.05}


def counted(server: wb.Server) -> dict[str, Any]:
    return dict(server.describe()["versions"][0]["batches"])


def test_times_and_sizes_are_recorded_and_no_load_from_inside(recorded: Traffic) -> None:
    assert recorded.rows.tolist() == ROWS
    assert recorded.input_bytes.tolist() == [4 * PIXELS * rows for rows in ROWS]
    assert recorded.times_s[-1] < recorded.duration_s < 600
    gaps = np.diff(recorded.times_s)
    assert gaps.min() >= 0.001
    assert gaps[9::10].min() >= 0.15
    assert recorded.number is not None
    assert wb.load_experiment(recorded.number) == recorded
    assert wb.history().loc[recorded.number, "kind"] == "traffic"


@pytest.mark.parametrize("where", ["engine", "rest", "grpc"])
def test_a_replay_sends_every_request_with_its_size(
    served_digits: wb.Server, recorded: Traffic, where: Where
) -> None:
    batching = BatchingParameters(max_batch_size=32, max_enqueued_batches=1000)
    served_digits.batching = None
    before = counted(served_digits)

    result = served_digits.replay(
        recorded, speed=4, batching=batching, where=where, progress=False, keep=False
    )

    after = counted(served_digits)
    assert after["requests"] - before["requests"] == len(ROWS)
    assert after["rows"] - before["rows"] == sum(ROWS)
    (point,) = result.points
    assert (result.arrivals, point.failures, point.parameters["max_batch_size"]) == (
        "replay",
        {},
        32,
    )
    assert point.load == {"rate": pytest.approx(recorded.rate * 4), "speed": 4}
    assert point.seconds == pytest.approx(recorded.duration_s / 4)
    assert served_digits.batching is None


def test_a_replay_is_kept_and_itself_recorded_with_its_own_timing(
    served_digits: wb.Server, recorded: Traffic
) -> None:
    with recording(served_digits) as found:
        result = served_digits.replay(recorded, speed=2, where="rest", progress=False)
    (again,) = found
    assert again.rows.tolist() == ROWS
    # The bursts are bursts again: the machine holds up single requests at most.
    gaps = np.diff(again.times_s)
    between = np.zeros(len(gaps), bool)
    between[9::10] = True
    assert np.median(gaps[between]) > 3 * np.median(gaps[~between])
    assert isinstance(wb.load_experiment(result.number or 0), SweepResult)


def test_requests_over_grpc_are_recorded(served_digits: wb.Server) -> None:
    payload = Traffic.from_times([0.0, 0.05, 0.1], [2, 5, 3])
    with recording(served_digits) as found:
        served_digits.replay(payload, where="grpc", progress=False, keep=False)
    assert found[0].rows.tolist() == [2, 5, 3]


def test_rejected_requests_are_recorded_too(served_digits: wb.Server) -> None:
    """One batch waits 2 s for a third row; meanwhile no other has room."""
    tight = BatchingParameters(
        max_batch_size=3, max_enqueued_batches=1, batch_timeout_micros=2_000_000
    )
    many = Traffic.from_times(np.arange(20) / 100, 2)
    with recording(served_digits) as found:
        result = served_digits.replay(
            many, batching=tight, where="rest", progress=False, keep=False
        )
    assert result.points[0].failures["rejected"] > 0
    assert len(found[0]) == 20


def test_an_interruption_keeps_what_was_recorded(
    served_digits: wb.Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(seconds: float) -> None:
        ask(served_digits, 5)
        raise KeyboardInterrupt

    monkeypatch.setattr(traffic_recording.time, "sleep", interrupted)
    traffic = record_traffic(served_digits, seconds=600, progress=False, keep=False)
    assert traffic.rows.tolist() == [5]
    assert traffic.duration_s < 600


def test_no_traffic_is_said(served_digits: wb.Server) -> None:
    with pytest.raises(ServingError, match=r"No request came to digits within 0\.1 s") as none:
        record_traffic(served_digits, seconds=0.1, progress=False)
    assert none.value.code is Code.FAILED_PRECONDITION
    with pytest.raises(ServingError, match="at most 86400 seconds; was 100000"):
        record_traffic(served_digits, seconds=1e5, progress=False)


def test_requests_that_the_parameters_refuse_are_named_before_any_is_sent(
    served_digits: wb.Server, recorded: Traffic
) -> None:
    before = counted(served_digits)
    with pytest.raises(ServingError) as refused:
        served_digits.replay(
            recorded, batching=BatchingParameters(max_batch_size=4), progress=False
        )
    assert refused.value == ServingError(
        Code.INVALID_ARGUMENT,
        "The server would refuse 10 of 50 requests, which have more rows than max_batch_size 4: "
        "raise it to 16 or more",
    )
    assert counted(served_digits) == before
    assert served_digits.batching is None


def test_a_payload_has_requests_of_each_size(served_digits: wb.Server) -> None:
    examples = np.arange(3 * PIXELS, dtype=np.float32).reshape(3, PIXELS)
    sizes = np.array([2, 5, 2, 5, 2])
    payload = make_payload(served_digits, examples, sizes=sizes)
    assert payload.order is not None
    sent = [next(iter(payload.inputs[at].values())) for at in payload.order]
    assert [len(array) for array in sent] == sizes.tolist()
    # Rows are cut from the examples one after the other, and begin again.
    assert np.array_equal(sent[0], examples[[0, 1]])
    assert not np.array_equal(sent[0], sent[2])
    assert payload.rows == 3
    # So many sizes are rounded up to a few.
    many = np.arange(1, 1001)
    payload = make_payload(served_digits, sizes=many)
    assert payload.order is not None
    assert len(payload.inputs) <= MAX_REQUESTS
    lengths = np.array([len(next(iter(each.values()))) for each in payload.inputs])
    sent_rows = lengths[payload.order]
    assert (sent_rows >= many).all()
    assert sent_rows.max() == 1000
    assert sent_rows.mean() < 1.05 * many.mean()
    with pytest.raises(ServingError, match=f"at most {MAX_BYTES >> 20} MiB can be prepared"):
        make_payload(served_digits, sizes=np.array([1_000_000]))


def test_a_payload_of_several_inputs_and_strings_keeps_their_rows_together() -> None:
    inputs = {
        "words": TensorInfo("string", (-1,), "words:0"),
        "ids": TensorInfo("int64", (-1, 2), "ids:0"),
    }
    signature = Signature(inputs, {}, "")
    server: Any = SimpleNamespace(signature=lambda name: signature)
    x = {
        "words": np.array([b"a", b"bc", b"def"], object),
        "ids": np.array([[1, 1], [2, 2], [3, 3]]),
    }
    sizes = np.array([1, 4, 0])
    for examples in (x, None):
        payload = make_payload(server, examples, sizes=sizes)
        assert payload.order is not None
        sent = [payload.inputs[at] for at in payload.order]
        # A model cannot be asked about no row at all.
        assert [each["words"].shape for each in sent] == [(1,), (4,), (1,)]
        assert [each["ids"].shape for each in sent] == [(1, 2), (4, 2), (1, 2)]
    for each in make_payload(server, x, sizes=sizes).inputs:
        assert [len(word) for word in each["words"]] == each["ids"][:, 0].tolist()


def test_a_payload_for_other_traffic_does_not_fit(
    served_digits: wb.Server, recorded: Traffic
) -> None:
    payload = make_payload(served_digits, sizes=recorded.rows)
    schedule = recorded.schedule(payload.order)
    body = {**engine_load(served_digits), "schedule": schedule.to_json(), "seconds": 1.0}
    with pytest.raises(ServingError, match="there are only 1: make its payload for the same"):
        served_digits.control.run_load(served_digits.model, body)
    assert replace(schedule, rate=1.0).choices(MAX_REQUESTS) == schedule.choices(MAX_REQUESTS)
