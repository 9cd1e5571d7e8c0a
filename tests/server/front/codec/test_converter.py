"""The codec process, for real: a child, a socket, memory regions."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
import time

import numpy as np
import pytest

from tests.server.front.codec.codecs import run, spooled
from workbench.core.signature import Signature, TensorInfo
from workbench.core.status import Code, ServingError, not_found, unavailable
from workbench.ipc.low_priority import LOWEST
from workbench.server.front.codec.codec_process import pack, unpack
from workbench.server.front.codec.converter import CodecProcess, WaitingBytes
from workbench.server.front.json.requests import decode_examples
from workbench.server.front.json.responses import encode_predict

SIGNATURES = {
    "serving_default": Signature(
        {"x": TensorInfo("float", (-1, 2)), "s": TensorInfo("string", (-1,))}, {}
    ),
    "ids": Signature({"n": TensorInfo("int64", (-1,))}, {}),
}
IDS = b'{"signature_name": "ids", "inputs": [1, 2, 3]}'


@pytest.mark.parametrize(
    "array",
    [
        np.arange(6, dtype=np.float32).reshape(2, 3),
        np.asfortranarray(np.arange(6, dtype=np.int64).reshape(2, 3)),
        np.arange(10, dtype=np.uint8)[::2],
        np.array(2.5, np.float64),
        np.empty((0, 3), np.int32),
        np.array([True, False]),
        np.array([1 + 2j], np.complex64),
        np.array([b"a", b"", b"\x00b\x00"], object),
        np.array([[b"x"], [b"yz"]], object),
        np.array(b"scalar", object),
        np.empty((2, 0), object),
    ],
    ids=lambda array: f"{array.dtype}{array.shape}",
)
def test_packed_tensors_come_back_as_they_were(array: np.ndarray) -> None:
    descriptors, region = pack({"first": np.array([7], np.int8), "array": array})
    tensors = unpack(descriptors, region)
    region.close()
    assert list(tensors) == ["first", "array"]
    assert tensors["array"].dtype == array.dtype
    assert tensors["array"].shape == array.shape
    assert tensors["array"].tolist() == array.tolist()
    assert all(offset % 64 == 0 for _, _, _, offset, nbytes in descriptors if nbytes)


def test_bfloat16_is_packed_too() -> None:
    ml_dtypes = pytest.importorskip("ml_dtypes")
    array = np.array([1.5, 2.5], ml_dtypes.bfloat16)
    tensors = unpack(*pack({"x": array}))
    assert tensors["x"].dtype == array.dtype
    assert tensors["x"].tolist() == [1.5, 2.5]


def test_numbers_are_views_of_the_region_that_cannot_be_written() -> None:
    tensors = unpack(*pack({"x": np.ones(4, np.float32)}))
    assert not tensors["x"].flags.owndata
    assert not tensors["x"].flags.writeable
    assert tensors["x"].ctypes.data % 64 == 0


def test_decoding_a_request() -> None:
    async def scenario() -> None:
        codec = CodecProcess()
        assert codec.pid is None
        rows = [{"x": [i, i + 0.5], "s": f"row {i}"} for i in range(1000)]
        body = spooled(json.dumps({"instances": rows}).encode())
        request = await codec.decode_predict(body, SIGNATURES)
        assert not body.closed
        body.close()
        assert request.row_format is True
        assert request.inputs["x"].dtype == np.float32
        assert request.inputs["x"].tolist() == [[i, i + 0.5] for i in range(1000)]
        assert request.inputs["s"].tolist() == [b"row %d" % i for i in range(1000)]

        pid = codec.pid
        body = spooled(IDS)
        request = await codec.decode_predict(body, SIGNATURES)
        body.close()
        assert request.signature_name == "ids"
        assert request.row_format is False
        assert request.inputs["n"].tolist() == [1, 2, 3]
        assert codec.pid == pid
        await codec.close()
        assert codec.pid is None

    run(scenario())


def test_decoding_examples() -> None:
    async def scenario() -> None:
        codec = CodecProcess()
        data = json.dumps(
            {"signature_name": "s", "examples": [{"x": [0.5, i]} for i in (1.5, 2.5)]}
        )
        body = spooled(data.encode())
        request = await codec.decode_examples(body)
        assert request == decode_examples(data.encode())
        body.close()
        body = spooled(b'{"examples": [1]}')
        with pytest.raises(ServingError) as refused:
            await codec.decode_examples(body)
        assert refused.value.message == "Example must be JSON object but got JSON Number"
        body.close()
        await codec.close()

    run(scenario())


@pytest.mark.parametrize("row_format", [True, False])
def test_encoding_an_answer(row_format: bool) -> None:
    outputs = {
        "y": np.arange(12, dtype=np.float32).reshape(3, 4),
        "label": np.array([b"a", b"b", b"c"], object),
    }

    async def scenario() -> None:
        codec = CodecProcess()
        body = await codec.encode_predict(outputs, row_format)
        assert bytes(body.view()) == encode_predict(outputs, row_format)
        body.close()
        await codec.close()

    run(scenario())


@pytest.mark.parametrize(
    ("data", "signatures", "error"),
    [
        (
            b"",
            SIGNATURES,
            ServingError(Code.INVALID_ARGUMENT, "JSON Parse error: The document is empty"),
        ),
        (
            b'{"signature_name": "absent", "instances": [1]}',
            SIGNATURES,
            ServingError(
                Code.INVALID_ARGUMENT,
                'Serving signature name: "absent" not found in signature def',
            ),
        ),
        (IDS, not_found("Servable not found"), ServingError(Code.NOT_FOUND, "Servable not found")),
        (
            b"",
            not_found("Servable not found"),
            ServingError(Code.INVALID_ARGUMENT, "JSON Parse error: The document is empty"),
        ),
    ],
    ids=["empty", "no such signature", "no such model", "parsed before the model is looked up"],
)
def test_what_is_refused(
    data: bytes, signatures: dict[str, Signature] | ServingError, error: ServingError
) -> None:
    async def scenario() -> None:
        codec = CodecProcess()
        body = spooled(data)
        with pytest.raises(ServingError) as refused:
            await codec.decode_predict(body, signatures)
        assert refused.value == error
        body.close()
        with pytest.raises(ServingError) as refused:
            await codec.encode_predict({}, True)
        assert refused.value.message == "Cannot convert empty tensor map to JSON"
        await codec.close()

    run(scenario())


def test_a_failure_in_the_child_is_told_and_survived() -> None:
    async def scenario() -> None:
        codec = CodecProcess()
        broken = {"ids": Signature({"n": TensorInfo("nonsense", (-1,))}, {})}
        body = spooled(IDS)
        with pytest.raises(ServingError) as refused:
            await codec.decode_predict(body, broken)
        pid = codec.pid
        assert pid is not None
        assert (await codec.decode_predict(body, SIGNATURES)).inputs["n"].tolist() == [1, 2, 3]
        assert codec.pid == pid
        assert refused.value.code in (Code.INTERNAL, Code.UNIMPLEMENTED)
        body.close()
        await codec.close()

    run(scenario())


def test_the_child_has_a_low_priority() -> None:
    async def scenario() -> None:
        codec = CodecProcess()
        body = spooled(IDS)
        await codec.decode_predict(body, SIGNATURES)
        assert codec.pid is not None
        own = os.getpriority(os.PRIO_PROCESS, 0)
        assert os.getpriority(os.PRIO_PROCESS, codec.pid) == max(own, LOWEST)
        body.close()
        await codec.close()

    run(scenario())


def test_a_dead_child_fails_its_job_and_is_replaced() -> None:
    async def scenario() -> None:
        codec = CodecProcess()
        body = spooled(IDS)
        await codec.decode_predict(body, SIGNATURES)
        first = codec.pid
        assert first is not None
        os.kill(first, signal.SIGSTOP)
        waiting = [asyncio.ensure_future(codec.decode_predict(body, SIGNATURES)) for _ in range(2)]
        await asyncio.sleep(0)
        os.kill(first, signal.SIGKILL)
        with pytest.raises(ServingError) as refused:
            await waiting[0]
        assert refused.value == unavailable(
            "The process that converts large bodies ended (exit status -9). Try again."
        )
        assert (await waiting[1]).inputs["n"].tolist() == [1, 2, 3]
        assert codec.pid != first
        body.close()
        await codec.close()

    run(scenario())


def test_a_job_that_takes_too_long_is_given_up() -> None:
    async def scenario() -> None:
        codec = CodecProcess(job_timeout_s=5.0)
        body = spooled(IDS)
        await codec.decode_predict(body, SIGNATURES)
        assert codec.pid is not None
        assert codec._channel is not None
        codec._channel.sock.settimeout(0.05)
        os.kill(codec.pid, signal.SIGSTOP)
        with pytest.raises(ServingError) as refused:
            await codec.decode_predict(body, SIGNATURES)
        assert refused.value == unavailable("Converting a large body took more than 5 s.")
        assert codec.pid is None
        body.close()
        await codec.close()

    run(scenario())


def test_too_much_waiting_is_refused() -> None:
    async def scenario() -> None:
        codec = CodecProcess(waiting=WaitingBytes(100))
        body = spooled(IDS)
        jobs = [asyncio.ensure_future(codec.decode_predict(body, SIGNATURES)) for _ in range(3)]
        results = await asyncio.gather(*jobs, return_exceptions=True)
        assert [getattr(result, "signature_name", result) for result in results] == [
            "ids",
            "ids",
            unavailable(
                "92 bytes of large bodies are waiting to be converted and 46 more would exceed "
                "the limit of 100. Try again."
            ),
        ]
        await codec.decode_predict(body, SIGNATURES)
        body.close()
        await codec.close()

    run(scenario())


def test_an_idle_child_is_ended_and_a_new_one_started() -> None:
    async def scenario() -> None:
        codec = CodecProcess(idle_s=0.05)
        body = spooled(IDS)
        await codec.decode_predict(body, SIGNATURES)
        while codec.pid is not None:
            await asyncio.sleep(0.01)
        await codec.decode_predict(body, SIGNATURES)
        assert codec.pid is not None
        body.close()
        await codec.close()

    run(scenario())


def test_closing_fails_what_is_waiting() -> None:
    async def scenario() -> None:
        codec = CodecProcess()
        body = spooled(IDS)
        await codec.decode_predict(body, SIGNATURES)
        assert codec.pid is not None
        os.kill(codec.pid, signal.SIGSTOP)
        jobs = [asyncio.ensure_future(codec.decode_predict(body, SIGNATURES)) for _ in range(2)]
        await asyncio.sleep(0)
        await codec.close()
        codes = [r.code for r in await asyncio.gather(*jobs, return_exceptions=True)]  # type: ignore[union-attr]
        assert codes == [Code.UNAVAILABLE] * 2
        with pytest.raises(ServingError) as refused:
            await codec.decode_predict(body, SIGNATURES)
        assert refused.value == unavailable("The server is stopping.")
        body.close()

    run(scenario())


def test_the_child_ends_when_its_owner_is_killed() -> None:
    script = (
        "import asyncio, os, signal\n"
        "from workbench.server.front.http.body import Spool\n"
        "from workbench.server.front.codec.converter import CodecProcess, WaitingBytes\n"
        "from workbench.core.status import not_found\n"
        "async def main():\n"
        "    codec, body = CodecProcess(), Spool.create()\n"
        "    try:\n"
        "        await codec.decode_predict(body, not_found(''))\n"
        "    except Exception:\n"
        "        print(codec.pid, flush=True)\n"
        "    os.kill(os.getpid(), signal.SIGKILL)\n"
        "asyncio.run(main())\n"
    )
    owner = subprocess.run([sys.executable, "-c", script], stdout=subprocess.PIPE, timeout=60)
    assert owner.returncode == -signal.SIGKILL
    pid = int(owner.stdout)
    deadline = time.monotonic() + 20
    while alive(pid) and time.monotonic() < deadline:
        time.sleep(0.01)
    assert not alive(pid)


def alive(pid: int) -> bool:
    """Whether the process runs (one that nobody has reaped yet does not)."""
    try:
        with open(f"/proc/{pid}/stat") as stat:
            return stat.read().rpartition(")")[2].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False


def test_the_child_imports_nothing_heavy() -> None:
    script = (
        "import sys, workbench.server.front.codec.codec_process, "
        "workbench.server.front.json.requests, "
        "workbench.server.front.json.responses\n"
        "heavy = {'tensorflow', 'asyncio', 'uvloop', 'tornado', 'pandas', 'matplotlib'}\n"
        "print(sorted(heavy & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", script], stdout=subprocess.PIPE, timeout=60)
    assert done.stdout == b"[]\n"
