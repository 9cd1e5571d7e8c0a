"""What several large bodies share: each its own time, and none everybody's."""

from __future__ import annotations

import asyncio
import os
import signal
from typing import Any

import numpy as np
import psutil
import pytest

from tests.server.conftest import Planes
from tests.server.front.codec.codecs import run, spooled
from workbench.core.signature import Signature, TensorInfo
from workbench.core.status import Code, ServingError
from workbench.ipc.regions import Region
from workbench.server.engine.batching.tasks import now_micros
from workbench.server.front.codec.converter import CodecProcess, _Job
from workbench.server.front.codec.pool import CodecPool
from workbench.server.front.http.body import Spool
from workbench.server.front.json.requests import decode_examples
from workbench.server.front.json.responses import encode_classify, encode_regress

SIGNATURES = {"serving_default": Signature({"x": TensorInfo("float", (-1,))}, {})}
SMALL = b'{"instances": [1, 2, 3]}'
# Lists that nest so deeply are read one at a time: tens of seconds.
ENDLESS = b'{"instances": ' + b"[" * 30_000_000


async def until_gone(pid: int) -> None:
    """Wait for a process to have ended (the test's own limit bounds this)."""
    while psutil.pid_exists(pid):
        await asyncio.sleep(0.01)


def test_a_body_that_takes_too_long_is_stopped_for_real() -> None:
    async def scenario() -> None:
        codec = CodecProcess()
        small, endless = spooled(SMALL), spooled(ENDLESS)
        await codec.decode_predict(small, SIGNATURES)
        busy = codec.pid
        assert busy is not None
        with pytest.raises(ServingError) as refused:
            await codec.decode_predict(endless, SIGNATURES, 0.2)
        assert refused.value == ServingError(
            Code.DEADLINE_EXCEEDED,
            f"The time limit of the request ended while its body of {len(ENDLESS)} bytes was being "
            "converted: put fewer examples into one request.",
        )
        await until_gone(busy)
        # The next one has a process that does nothing else.
        request = await codec.decode_predict(small, SIGNATURES, 30)
        assert request.inputs["x"].tolist() == [1, 2, 3]
        assert codec.pid not in (None, busy)
        small.close()
        endless.close()
        await codec.close()

    run(scenario())


def test_who_waits_too_long_is_answered_before_its_turn_and_never_converted() -> None:
    async def scenario() -> None:
        codec = CodecProcess()
        small = spooled(SMALL)
        await codec.decode_predict(small, SIGNATURES)
        pid = codec.pid
        assert pid is not None
        os.kill(pid, signal.SIGSTOP)
        first = asyncio.ensure_future(codec.decode_predict(small, SIGNATURES))
        await asyncio.sleep(0.05)
        with pytest.raises(ServingError) as refused:
            await codec.decode_predict(small, SIGNATURES, 0.05)
        assert refused.value == ServingError(
            Code.DEADLINE_EXCEEDED,
            f"The time limit of the request ended while its body of {len(SMALL)} bytes waited to "
            "be converted: put fewer examples into one request.",
        )
        # The one before it is not harmed.
        os.kill(pid, signal.SIGCONT)
        assert (await first).inputs["x"].tolist() == [1, 2, 3]
        assert codec.pid == pid
        small.close()
        await codec.close()

    run(scenario())


def test_a_job_that_was_given_up_before_its_turn_does_not_cost_the_process() -> None:
    """Its turn may come before the thread hears that it was cancelled."""

    async def scenario() -> None:
        codec = CodecProcess()
        small = spooled(SMALL)
        await codec.decode_predict(small, SIGNATURES)
        pid = codec.pid
        job = _Job("body", small.size)
        codec._stop(job)
        with pytest.raises(ServingError, match="waited to be converted"):
            await asyncio.to_thread(codec.converse, job, {}, Region(os.dup(small.fd)))
        await codec.decode_predict(small, SIGNATURES)
        assert codec.pid == pid
        small.close()
        await codec.close()

    run(scenario())


def test_a_body_whose_sender_has_gone_is_stopped_too() -> None:
    async def scenario() -> None:
        codec = CodecProcess()
        small, endless = spooled(SMALL), spooled(ENDLESS)
        await codec.decode_predict(small, SIGNATURES)
        busy = codec.pid
        assert busy is not None
        abandoned = asyncio.ensure_future(codec.decode_predict(endless, SIGNATURES))
        await asyncio.sleep(0.05)
        abandoned.cancel()
        with pytest.raises(asyncio.CancelledError):
            await abandoned
        assert (await codec.decode_predict(small, SIGNATURES)).inputs["x"].tolist() == [1, 2, 3]
        await until_gone(busy)
        small.close()
        endless.close()
        await codec.close()

    run(scenario())


def test_a_job_that_was_abandoned_and_done_in_time_costs_no_process() -> None:
    async def scenario() -> None:
        codec = CodecProcess()
        small = spooled(SMALL)
        await codec.decode_predict(small, SIGNATURES)
        pid = codec.pid
        abandoned = asyncio.ensure_future(codec.decode_predict(small, SIGNATURES))
        await asyncio.sleep(0)
        abandoned.cancel()
        with pytest.raises(asyncio.CancelledError):
            await abandoned
        await codec.decode_predict(small, SIGNATURES)
        await asyncio.sleep(0.7)
        await codec.decode_predict(small, SIGNATURES)
        assert codec.pid == pid
        small.close()
        await codec.close()

    run(scenario())


def test_a_deadline_between_two_jobs_harms_neither_answer() -> None:
    """Many jobs whose time is about what they take: each is answered right, or as late."""

    async def scenario() -> None:
        codec = CodecProcess()
        small = spooled(SMALL)
        await codec.decode_predict(small, SIGNATURES)
        outcomes = set()
        for attempt in range(60):
            seconds = 0.0005 * (attempt % 6)
            results = await asyncio.gather(
                codec.decode_predict(small, SIGNATURES, seconds),
                codec.decode_predict(small, SIGNATURES, 20),
                return_exceptions=True,
            )
            for result in results:
                if isinstance(result, ServingError):
                    outcomes.add(result.code)
                else:
                    assert not isinstance(result, BaseException)
                    assert result.inputs["x"].tolist() == [1, 2, 3]
            # The second had time enough, whatever became of the first.
            assert not isinstance(results[1], BaseException)
        assert outcomes == {Code.DEADLINE_EXCEEDED}
        small.close()
        await codec.close()

    run(scenario())


def test_a_small_large_body_does_not_wait_for_a_huge_one() -> None:
    async def scenario() -> None:
        codec = CodecPool()
        # A huge one, and one that waits for it: then comes a small one.
        huge, small = spooled(ENDLESS), spooled(b'{"instances": [1' + b", 1" * 30_000 + b"]}")
        waiting = [
            asyncio.ensure_future(codec.decode_predict(huge, SIGNATURES, 30)) for _ in range(2)
        ]
        medium = spooled(b" " * 2_000_000 + SMALL)
        await asyncio.sleep(0.2)
        for body in (small, medium):
            request = await codec.decode_predict(body, SIGNATURES, 30)
            assert request.inputs["x"][0] == 1
            assert not any(job.done() for job in waiting)
        assert len(codec.pids) == 3
        for job in waiting:
            job.cancel()
        await asyncio.gather(*waiting, return_exceptions=True)
        for body in (huge, small, medium):
            body.close()
        await codec.close()
        assert codec.pids == []

    run(scenario())


def test_a_huge_answer_keeps_nobody_waiting() -> None:
    async def scenario() -> None:
        codec = CodecPool()
        texts = np.empty(1_000_000, object)
        texts[:] = b"0123456789abcdefg"
        huge = asyncio.ensure_future(codec.encode_predict({"y": texts}, True, 30))
        await asyncio.sleep(0.05)
        small = await codec.encode_predict({"y": np.ones(3, np.float32)}, True, 30)
        assert not huge.done()
        assert bytes(small.view()) == b'{"predictions":[1.0,1.0,1.0]}'
        small.close()
        with pytest.raises(ServingError) as refused:
            await codec.encode_predict({"y": texts}, True, 0.01)
        assert refused.value.code is Code.DEADLINE_EXCEEDED
        assert "its answer of 25000000 bytes" in refused.value.message
        (await huge).close()
        await codec.close()

    run(scenario())


def test_the_bytes_of_all_processes_are_bounded_together() -> None:
    async def scenario() -> None:
        codec = CodecPool(max_waiting_bytes=2**20 + 100)
        small, medium = spooled(SMALL), spooled(b" " * (2**20 + 90 - len(SMALL)) + SMALL)
        first = asyncio.ensure_future(codec.decode_predict(medium, SIGNATURES))
        await asyncio.sleep(0)
        with pytest.raises(ServingError) as refused:
            await codec.decode_predict(small, SIGNATURES)
        assert refused.value.code is Code.UNAVAILABLE
        await first
        await codec.decode_predict(small, SIGNATURES)
        small.close()
        medium.close()
        await codec.close()

    run(scenario())


def test_idle_processes_end_each_by_itself() -> None:
    async def scenario() -> None:
        codec = CodecPool(idle_s=0.05)
        small, medium = spooled(SMALL), spooled(b" " * 2_000_000 + SMALL)
        await asyncio.gather(
            codec.decode_predict(small, SIGNATURES), codec.decode_predict(medium, SIGNATURES)
        )
        while codec.pids:
            await asyncio.sleep(0.01)
        small.close()
        medium.close()
        await codec.close()

    run(scenario())


def test_results_of_classify_and_regress_are_written_there_too() -> None:
    labels = np.array([[b"a", b"b"], [b"\xff", b'"']], object)
    scores = np.array([[0.5, np.nan], [1, 2]], np.float32)

    async def scenario() -> None:
        codec = CodecPool()
        for given in ({"labels": labels}, {"scores": scores}, {"labels": labels, "scores": scores}):
            body = await codec.encode_results(given)
            expected = encode_classify(given.get("labels"), given.get("scores"))
            assert bytes(body.view()) == expected
            body.close()
        body = await codec.encode_results({"values": scores[:, 0]})
        assert bytes(body.view()) == encode_regress(scores[:, 0])
        body.close()
        examples = spooled(b'{"examples": [{"x": 1}]}')
        decoded = await codec.decode_examples(examples, 30)
        assert decoded == decode_examples(b'{"examples": [{"x": 1}]}')
        examples.close()
        await codec.close()

    run(scenario())


# Through REST.


@pytest.mark.usefixtures("catalog")
def test_a_body_that_cannot_be_decoded_in_time_is_answered_with_504(
    planes: Planes, monkeypatch: pytest.MonkeyPatch
) -> None:
    many = {"instances": [0.5] * 30_000}
    assert planes.ask("POST", "/v1/models/half:predict", many).status == 200
    pid = planes.codec.pid
    assert pid is not None
    monkeypatch.setattr(planes.rest, "_timeout_micros", 300_000)
    answer = planes.ask("POST", "/v1/models/half:predict", ENDLESS)
    assert answer.status == 504
    assert answer.error == (
        f"The time limit of the request ended while its body of {len(ENDLESS)} bytes was being "
        "converted: put fewer examples into one request."
    )
    monkeypatch.setattr(planes.rest, "_timeout_micros", 30_000_000)
    assert planes.ask("POST", "/v1/models/half:predict", many).status == 200
    assert planes.codec.pid not in (None, pid)


@pytest.mark.usefixtures("catalog")
def test_what_decoding_takes_is_no_longer_there_for_the_model(
    planes: Planes, monkeypatch: pytest.MonkeyPatch
) -> None:
    left: list[int] = []
    submit = planes.server.core.scheduler.submit

    def note(task: Any) -> None:
        left.append(task.deadline - now_micros())
        submit(task)

    async def slow(codec: CodecProcess, *arguments: Any) -> Any:
        await asyncio.sleep(0.2)
        return await decode(codec, *arguments)

    decode = CodecProcess.decode_predict
    monkeypatch.setattr(planes.server.core.scheduler, "submit", note)
    monkeypatch.setattr(CodecProcess, "decode_predict", slow)
    answer = planes.ask("POST", "/v1/models/half:predict", {"instances": [0.5] * 30_000})
    assert answer.status == 200
    assert 0 < left[0] <= 30_000_000 - 200_000


@pytest.mark.usefixtures("catalog")
def test_rest_asks_the_codec_with_the_time_that_is_left(
    planes: Planes, monkeypatch: pytest.MonkeyPatch
) -> None:
    given: list[float] = []
    encode = CodecProcess.encode_predict

    async def note(codec: CodecProcess, outputs: Any, row: bool, seconds: float) -> Spool:
        given.append(seconds)
        return await encode(codec, outputs, row, seconds)

    monkeypatch.setattr(CodecProcess, "encode_predict", note)
    answer = planes.ask("POST", "/v1/models/half:predict", {"instances": [0.5] * 100_000})
    assert answer.status == 200
    assert len(given) == 1
    assert 0 < given[0] < 30


@pytest.mark.usefixtures("catalog")
def test_many_classes_are_written_in_the_codec_process(
    planes: Planes, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[str] = []
    encode = CodecProcess.encode_results

    async def note(codec: CodecProcess, results: Any, seconds: float) -> Spool:
        asked.append("regress" if "values" in results else "classify")
        assert 0 < seconds < 30
        return await encode(codec, results, seconds)

    monkeypatch.setattr(CodecProcess, "encode_results", note)
    examples = {"examples": [{"x": float(i)} for i in range(6000)]}
    for method, name in (("classify", "classify_x_to_y"), ("regress", "regress_x_to_y")):
        body = examples | {"signature_name": name}
        answer = planes.ask("POST", f"/v1/models/half/versions/1:{method}", body)
        assert answer.status == 200
        results = answer.json["results"]
        scores = [row[0][1] for row in results] if method == "classify" else results
        assert scores == [i / 2 + 2 for i in range(6000)]
    assert asked == ["classify", "regress"]
