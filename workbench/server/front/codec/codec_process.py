"""The process that turns large JSON bodies into tensors, and large tensors into JSON.

`python -m workbench.server.front.codec.codec_process FD` serves one job after the other over the
channel on the socket FD until its parent closes that or dies. Bodies and tensors never pass through
the socket: a message carries, beside its JSON, the descriptor of a shared region. The parent's side
is `converter`.

Messages to it, each with a region::

    {"job": "decode", "size": bytes, "signatures": {name: ...} or "refusal": [code, message]}
    {"job": "examples", "size": bytes}
    {"job": "encode", "tensors": [...], "row_format": bool}
    {"job": "results", "tensors": [...]}

and from it, with a region, or ``{"refusal": [code, message]}`` without::

    {"tensors": [...], "signature_name": str, "row_format": bool}
    {"tensors": [...], "signature_name": str}
    {"size": bytes}

``size`` is that of a body, and ``tensors`` are the descriptors of `ipc.frames`.
"""

from __future__ import annotations

import contextlib
import gc
import json
import os
import signal
import socket
import sys
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from workbench.core.signature import Signature
from workbench.core.status import Code, ServingError, invalid_argument
from workbench.formats.dtypes import string_array
from workbench.ipc import frames
from workbench.ipc.channel import Channel
from workbench.ipc.low_priority import LOWEST
from workbench.ipc.regions import Region
from workbench.server.front.http.body import Spool

Message = dict[str, Any]

_GARBAGE = 50_000
"""Objects left after a job, and perhaps garbage, above which the collector runs."""


def tensor_bytes(tensors: Mapping[str, np.ndarray]) -> int:
    """The bytes of numbers and strings in `tensors`."""
    return sum(
        a.nbytes if a.dtype != object else 8 * a.size + sum(map(len, a.flat))
        for a in tensors.values()
    )


def pack(tensors: Mapping[str, np.ndarray]) -> tuple[list[Any], Region]:
    """Write tensors into a region, each from a multiple of 64 bytes on.

    Returns:
        Their descriptors, and the region.

    Raises:
        KeyError: a dtype that TensorFlow does not have.
    """
    region = Region.create("workbench-codec")
    parts = {name: [array] for name, array in tensors.items()}
    return frames.pack(parts, region, inline_bytes=0)[0], region


def unpack(descriptors: list[Any], region: Region) -> frames.Tensors:
    """The tensors of `pack`: read-only views of the region (which they keep), strings copied."""
    tensors = frames.unpack(descriptors, memoryview(b""), region)
    for array in tensors.values():
        array.flags.writeable = False
    return tensors


def send_message(channel: Channel, message: Message, region: Region | Spool | None = None) -> None:
    """Raises ConnectionLost where the other side is gone, TimeoutError where it takes nothing."""
    fds = [] if region is None else [region.fd]
    # `json` escapes lone surrogates, which a refusal may quote, and which orjson refuses.
    channel.send({"fds": len(fds)}, json.dumps(message).encode(), fds)


def receive_message(channel: Channel) -> tuple[Message, Region | None]:
    """The next message and its region.

    Raises:
        ConnectionLost: the other side is gone.
        TimeoutError: it says nothing.
    """
    _, payload, fds = channel.receive()
    return json.loads(payload.tobytes()), Region(fds[0]) if fds else None


def refusal_of(error: ServingError) -> Message:
    """A message that carries `error`, for `raise_refusal`."""
    return {"refusal": [int(error.code), error.message]}


def raise_refusal(message: Message) -> None:
    """Raise the ServingError a message carries, if it does."""
    if "refusal" in message:
        code, text = message["refusal"]
        raise ServingError(Code(code), text)


def _decode(message: Message, body: Region) -> tuple[Message, Region]:
    from workbench.server.front.json.requests import decode_predict

    def signature_of(name: str) -> Signature:
        raise_refusal(message)
        if name not in message["signatures"]:
            raise invalid_argument(f'Serving signature name: "{name}" not found in signature def')
        return Signature.from_json(message["signatures"][name])

    request = decode_predict(body.view(0, message["size"]), signature_of)
    descriptions, tensors = pack(request.inputs)
    answer = {"signature_name": request.signature_name, "row_format": request.row_format}
    return answer | {"tensors": descriptions}, tensors


def _examples(message: Message, body: Region) -> tuple[Message, Region]:
    from workbench.server.front.json.requests import decode_examples

    request = decode_examples(body.view(0, message["size"]))
    descriptions, tensors = pack({"examples": string_array(request.examples)})
    return {"tensors": descriptions, "signature_name": request.signature_name}, tensors


def _encode(message: Message, tensors: Region) -> tuple[Message, Spool]:
    from workbench.server.front.json.responses import encode_predict

    return _body(encode_predict(unpack(message["tensors"], tensors), message["row_format"]))


def _results(message: Message, tensors: Region) -> tuple[Message, Spool]:
    from workbench.server.front.json.responses import encode_results

    return _body(encode_results(unpack(message["tensors"], tensors)))


def _body(text: bytes) -> tuple[Message, Spool]:
    body = Spool.create(text)
    return {"size": body.size}, body


_Work = Callable[[Message, Region], tuple[Message, Region | Spool]]
_JOBS: dict[str, _Work] = {
    "decode": _decode,
    "examples": _examples,
    "encode": _encode,
    "results": _results,
}


def _serve_one(channel: Channel) -> None:
    message, region = receive_message(channel)
    assert region is not None
    try:
        answer, result = _JOBS[message["job"]](message, region)
    except ServingError as error:
        send_message(channel, refusal_of(error))
    except Exception as error:
        text = f"A large body could not be converted: {type(error).__name__}: {error}"
        send_message(channel, refusal_of(ServingError(Code.INTERNAL, text)))
    else:
        send_message(channel, answer, result)
        result.close()
    finally:
        region.close()
    if gc.get_count()[0] > _GARBAGE:
        gc.collect()


def _go_first_without_memory() -> None:
    """Have the system kill this process, and not the server, when one body takes all memory."""
    with contextlib.suppress(OSError), open("/proc/self/oom_score_adj", "w") as file:
        file.write("500")


def main() -> None:
    """Convert bodies until the parent closes the channel."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the parent, which ends us
    # A caller with tens of megabytes waits anyway; those with small requests should not notice.
    own = os.getpriority(os.PRIO_PROCESS, 0)
    os.setpriority(os.PRIO_PROCESS, 0, max(own, LOWEST))
    _go_first_without_memory()
    # Millions of values are not garbage, and searching them for it takes longer than reading them.
    gc.disable()
    sock = socket.socket(fileno=int(sys.argv[1]))
    sock.set_inheritable(False)
    channel = Channel(sock)
    with contextlib.suppress(frames.ConnectionLost):
        while True:
            _serve_one(channel)
    os._exit(0)  # nothing to clean up, and much memory to take apart


if __name__ == "__main__":
    main()
