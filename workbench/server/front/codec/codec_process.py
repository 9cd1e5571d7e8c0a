"""The process that turns large JSON bodies into tensors, and large tensors into JSON.

`python -m workbench.server.front.codec.codec_process FD` serves one job after the other from
the unix stream socket FD until that is closed, by its parent's wish or death. Bodies and tensors
never pass through the socket: it carries a short JSON message and, beside it, the descriptor of an
anonymous memory region (`SCM_RIGHTS`). The parent's side is `converter`.

Messages to it, each with a region::

    {"job": "decode", "size": bytes, "signatures": {name: ...} or "refusal": [code, message]}
    {"job": "examples", "size": bytes, "method": str}
    {"job": "encode", "size": bytes, "tensors": [...], "row_format": bool}
    {"job": "results", "size": bytes, "tensors": [...], "method": str}

and from it, with a region, or ``{"refusal": [code, message]}`` without::

    {"size": bytes, "tensors": [...], "signature_name": str, "row_format": bool}
    {"size": bytes, "tensors": [...], "signature_name": str}
    {"size": bytes}
"""

from __future__ import annotations

import contextlib
import gc
import json
import os
import signal
import socket
import sys
from collections.abc import Mapping
from typing import Any

import numpy as np

from workbench.core.signature import Signature
from workbench.core.status import Code, ServingError, invalid_argument
from workbench.formats.dtypes import STRING, dtype_name, numpy_dtype
from workbench.ipc.low_priority import LOWEST
from workbench.server.front.http.body import Spool

Message = dict[str, Any]

_ALIGNMENT = 64
"""Bytes; what TensorFlow wants of a tensor that it uses without copying."""

_GARBAGE = 50_000
"""Objects that are left after a job, and may be garbage, from which on it is looked for."""


def tensor_bytes(tensors: Mapping[str, np.ndarray]) -> int:
    """The bytes of numbers and strings in `tensors`."""
    return sum(
        a.nbytes if a.dtype != object else 8 * a.size + sum(map(len, a.flat))
        for a in tensors.values()
    )


def pack(tensors: Mapping[str, np.ndarray]) -> tuple[list[Message], Spool]:
    """Write tensors into one memory region; the descriptions say where each lies.

    Numbers lie there in C order from a multiple of 64 bytes; strings (`bytes` elements) as all
    their lengths (int64) followed by their bytes.

    Raises:
        KeyError: a dtype that TensorFlow does not have.
        OSError: there is no memory for the region.
    """
    spool = Spool.create()
    descriptions: list[Message] = []
    for name, array in tensors.items():
        spool.append(bytes(-spool.size % _ALIGNMENT))
        dtype = dtype_name(array.dtype)
        descriptions.append(
            {"name": name, "dtype": dtype, "shape": array.shape, "offset": spool.size}
        )
        if dtype == STRING:
            elements = array.ravel().tolist()
            spool.append(np.fromiter(map(len, elements), np.int64, len(elements)).tobytes())
            spool.append(b"".join(elements))
        elif array.size:
            # As bytes, because not every dtype (bfloat16) exports a buffer.
            flat = np.ascontiguousarray(array).reshape(-1).view(np.uint8)
            spool.append(flat.data)
    return descriptions, spool


def unpack(descriptions: list[Message], spool: Spool) -> dict[str, np.ndarray]:
    """The tensors of `pack`: read-only views of the region (which they keep), strings copied."""
    view = spool.view()
    tensors = {}
    for description in descriptions:
        shape, offset = tuple(description["shape"]), description["offset"]
        dtype = numpy_dtype(description["dtype"])
        count = int(np.prod(shape, dtype=np.int64))
        if count == 0:
            tensors[description["name"]] = np.empty(shape, dtype)
        elif description["dtype"] == STRING:
            lengths = np.frombuffer(view, np.int64, count, offset).tolist()
            elements = np.empty(count, object)
            start = offset + 8 * count
            for index, length in enumerate(lengths):
                elements[index] = view[start : start + length]
                start += length
            tensors[description["name"]] = elements.reshape(shape)
        else:
            tensors[description["name"]] = np.ndarray(shape, dtype, view, offset)
    return tensors


def send_message(sock: socket.socket, message: Message, region: Spool | None = None) -> None:
    """Raises OSError when the other side has gone."""
    data = json.dumps(message).encode()
    frame = len(data).to_bytes(4, "big") + data
    sent = 0
    if region is not None:
        sent = socket.send_fds(sock, [frame], [region.fd])
    sock.sendall(memoryview(frame)[sent:])


def receive_message(sock: socket.socket) -> tuple[Message, Spool | None]:
    """The next message and its region; raises EOFError when the other side has gone."""
    flags = getattr(socket, "MSG_CMSG_CLOEXEC", 0)
    start, fds, _, _ = socket.recv_fds(sock, 4, 1, flags)
    region = Spool(fds[0], 0) if fds else None
    length = int.from_bytes(_receive_exactly(sock, 4, start), "big")
    message: Message = json.loads(_receive_exactly(sock, length))
    if region is not None:
        region.size = message["size"]
    return message, region


def _receive_exactly(sock: socket.socket, size: int, start: bytes = b"") -> bytes:
    data = bytearray(start)
    while len(data) < size:
        piece = sock.recv(size - len(data))
        if not piece:
            raise EOFError
        data += piece
    return bytes(data)


def refusal_of(error: ServingError) -> Message:
    return {"refusal": [int(error.code), error.message]}


def raise_refusal(message: Message) -> None:
    """Raise the ServingError a message carries, if it does."""
    if "refusal" in message:
        code, text = message["refusal"]
        raise ServingError(Code(code), text)


def _decode(message: Message, body: Spool) -> tuple[Message, Spool]:
    from workbench.server.front.json.requests import decode_predict

    def signature_of(name: str) -> Signature:
        raise_refusal(message)
        if name not in message["signatures"]:
            raise invalid_argument(f'Serving signature name: "{name}" not found in signature def')
        return Signature.from_json(message["signatures"][name])

    request = decode_predict(memoryview(body.view()), signature_of)
    descriptions, tensors = pack(request.inputs)
    return {
        "size": tensors.size,
        "tensors": descriptions,
        "signature_name": request.signature_name,
        "row_format": request.row_format,
    }, tensors


def _examples(message: Message, body: Spool) -> tuple[Message, Spool]:
    from workbench.server.front.json.requests import decode_examples

    request = decode_examples(memoryview(body.view()), message["method"])
    examples = np.empty(len(request.examples), object)
    examples[:] = request.examples
    descriptions, tensors = pack({"examples": examples})
    return {
        "size": tensors.size,
        "tensors": descriptions,
        "signature_name": request.signature_name,
    }, tensors


def _encode(message: Message, tensors: Spool) -> tuple[Message, Spool]:
    from workbench.server.front.json.responses import encode_predict

    body = Spool.create()
    body.append(encode_predict(unpack(message["tensors"], tensors), message["row_format"]))
    return {"size": body.size}, body


def _results(message: Message, tensors: Spool) -> tuple[Message, Spool]:
    from workbench.server.front.json.responses import encode_results

    body = Spool.create()
    body.append(encode_results(message["method"], unpack(message["tensors"], tensors)))
    return {"size": body.size}, body


_JOBS = {"decode": _decode, "examples": _examples, "encode": _encode, "results": _results}


def _serve_one(sock: socket.socket) -> None:
    message, region = receive_message(sock)
    assert region is not None
    try:
        answer, result = _JOBS[message["job"]](message, region)
    except ServingError as error:
        send_message(sock, refusal_of(error))
    except Exception as error:
        text = f"A large body could not be converted: {type(error).__name__}: {error}"
        send_message(sock, refusal_of(ServingError(Code.INTERNAL, text)))
    else:
        send_message(sock, answer, result)
        result.close()
    finally:
        region.close()
    if gc.get_count()[0] > _GARBAGE:
        gc.collect()


def _go_first_without_memory() -> None:
    """Have the system end this process, and not the server, where one body takes all memory."""
    with contextlib.suppress(OSError), open("/proc/self/oom_score_adj", "w") as file:
        file.write("500")


def main() -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the parent, which ends us
    # Who sends tens of megabytes waits for a while; those with small requests are not to notice.
    own = os.getpriority(os.PRIO_PROCESS, 0)
    os.setpriority(os.PRIO_PROCESS, 0, max(own, LOWEST))
    _go_first_without_memory()
    # Millions of values are no garbage, and looking for it among them takes longer than reading.
    gc.disable()
    with socket.socket(fileno=int(sys.argv[1])) as sock:
        try:
            while True:
                _serve_one(sock)
        except (EOFError, OSError):
            pass
    os._exit(0)  # nothing to clean up, and much memory to take apart


if __name__ == "__main__":
    main()
