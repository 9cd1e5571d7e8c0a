"""Tensors between two processes: a small header over a socket, the bytes in shared memory.

A frame is two lengths, a JSON header and a payload. Large tensors lie in a `Region` that both sides
have mapped. Small ones travel in the payload itself, where one system call carries everything. The
reader builds arrays of numbers as views, without copying.
"""

from __future__ import annotations

import math
import socket
import struct
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import orjson

from workbench.formats.dtypes import STRING, dtype_name, numpy_dtype, string_array
from workbench.ipc.regions import Region

Tensors = dict[str, np.ndarray]

LENGTHS = struct.Struct("<II")
INLINE_BYTES = 16 * 1024
"""Up to here a tensor's bytes travel over the socket: cheaper than touching new pages."""
_ALIGN = 64
"""TensorFlow uses memory in place only where it is aligned to 64 bytes."""


class ConnectionLost(Exception):
    """The other process has closed its end: it has ended, or is ending."""


class Copies:
    """Numbers that are still to be copied into a region. A thread may do it: numpy copies without
    the interpreter's lock, and the views keep their memory, whatever becomes of the region.

    Attributes:
        nbytes: how many bytes these are.
    """

    def __init__(self) -> None:
        self.nbytes = 0
        self._jobs: list[tuple[np.ndarray, Sequence[np.ndarray]]] = []

    def add(self, target: np.ndarray, arrays: Sequence[np.ndarray]) -> None:
        """Add the copy of `arrays`, joined along dimension 0, to `target`."""
        self.nbytes += target.nbytes
        self._jobs.append((target, arrays))

    def run(self) -> None:
        """Copy everything into the region."""
        for target, arrays in self._jobs:
            if len(arrays) == 1:
                target[...] = arrays[0]
            else:
                np.concatenate(arrays, out=target)


def pack(
    parts: Mapping[str, Sequence[np.ndarray]],
    region: Region | None,
    inline_bytes: int = INLINE_BYTES,
) -> tuple[list[Any], bytes]:
    """Lay tensors out for the other side, and copy them; see `lay_out`."""
    descriptors, payload, copies = lay_out(parts, region, inline_bytes)
    copies.run()
    return descriptors, payload


def lay_out(
    parts: Mapping[str, Sequence[np.ndarray]],
    region: Region | None,
    inline_bytes: int = INLINE_BYTES,
) -> tuple[list[Any], bytes, Copies]:
    """Lay tensors out for the other side, joining each one's parts along dimension 0.

    Args:
        parts: for each name the arrays to be joined; all of one dtype and, but for dimension
            0, of one shape. A single part may be of any shape, also a scalar.
        region: where large tensors go; None puts everything into the payload.
        inline_bytes: the largest tensor that goes into the payload, though there is a region.

    Returns:
        Descriptors `[name, dtype, shape, offset or -1 for inline, nbytes]`, the payload, and what
        must be copied into the region before the descriptors are sent.
    """
    descriptors: list[Any] = []
    payload = bytearray()
    copies = Copies()
    offset = 0
    for name, arrays in parts.items():
        first = arrays[0]
        shape = list(first.shape)
        if len(arrays) > 1:
            shape[0] = sum(a.shape[0] for a in arrays)
        dtype = dtype_name(first.dtype)
        strings = _pack_strings(arrays) if dtype == STRING else []
        nbytes = sum(map(len, strings)) if strings else sum(a.nbytes for a in arrays)
        if region is None or nbytes <= inline_bytes:
            descriptors.append([name, dtype, shape, -1, nbytes])
            for data in strings or [array.tobytes() for array in arrays]:
                payload += data
            continue
        region.grow(offset + nbytes)
        view = region.view(offset, nbytes)
        if strings:
            lengths, text = strings
            view[: len(lengths)] = lengths
            view[len(lengths) :] = text
        else:
            copies.add(np.frombuffer(view, first.dtype).reshape(shape), arrays)
        descriptors.append([name, dtype, shape, offset, nbytes])
        offset += -(-nbytes // _ALIGN) * _ALIGN
    return descriptors, bytes(payload), copies


def unpack(descriptors: Sequence[Any], payload: memoryview, region: Region | None) -> Tensors:
    """The tensors that `pack` laid out, as views of the payload and of the region.

    Views of a region hold until the other side writes into it again.

    Raises:
        ValueError: a descriptor does not fit the bytes that came with it.
    """
    tensors: Tensors = {}
    at = 0
    for name, dtype, shape, offset, nbytes in descriptors:
        if offset < 0:
            data = payload[at : at + nbytes]
            at += nbytes
        elif region is not None:
            data = region.view(offset, nbytes)
        else:
            raise ValueError(f"tensor {name} is said to lie in a region, and there is none")
        if dtype == STRING:
            tensors[name] = _unpack_strings(data, shape)
        else:
            tensors[name] = np.frombuffer(data, numpy_dtype(dtype)).reshape(shape)
    return tensors


def _pack_strings(arrays: Sequence[np.ndarray]) -> list[bytes]:
    """All lengths (uint32), and all strings one after another."""
    values = [v if isinstance(v, bytes) else str(v).encode() for a in arrays for v in a.ravel()]
    lengths = np.fromiter(map(len, values), np.uint32, len(values))
    return [lengths.tobytes(), b"".join(values)]


def _unpack_strings(data: memoryview, shape: Sequence[int]) -> np.ndarray:
    count = math.prod(shape)
    lengths = np.frombuffer(data[: 4 * count], np.uint32).tolist()
    strings = []
    at = 4 * count
    for length in lengths:
        strings.append(data[at : at + length].tobytes())
        at += length
    return string_array(strings).reshape(shape)


def frame(header: Mapping[str, Any], payload: bytes = b"") -> bytes:
    """The bytes of one frame, ready to send."""
    head = orjson.dumps(header)
    return LENGTHS.pack(len(head), len(payload)) + head + payload


def encode_message(header: Mapping[str, Any], tensors: Mapping[str, np.ndarray]) -> bytes:
    """A self-contained frame: the binary body of a predict request or answer.

    The descriptors of the tensors are added to the header as ``t``.
    """
    descriptors, payload = pack({n: [np.asarray(a)] for n, a in tensors.items()}, None)
    return frame({**header, "t": descriptors}, payload)


def decode_message(data: bytes | memoryview) -> tuple[dict[str, Any], Tensors]:
    """The header and tensors of `encode_message`, as views of `data`.

    Raises:
        ValueError: it is not such a message, or not all of it.
    """
    view = memoryview(data)
    if len(view) < LENGTHS.size:
        raise ValueError("the message ends within its lengths")
    head_size, payload_size = LENGTHS.unpack_from(view)
    start = LENGTHS.size + head_size
    if len(view) != start + payload_size:
        raise ValueError(f"the message has {len(view)} bytes instead of {start + payload_size}")
    header = orjson.loads(view[LENGTHS.size : start])
    if not isinstance(header, dict) or not isinstance(header.get("t"), list):
        raise ValueError("the message's header has no list of tensors")
    try:
        return header, unpack(header["t"], view[start:], None)
    except (KeyError, TypeError, IndexError) as error:
        raise ValueError(f"the message's tensors are not described well: {error!r}") from error


class FrameReader:
    """Cuts a stream of bytes into frames; holds at most one incomplete frame."""

    __slots__ = ("_buffer", "_needed")

    def __init__(self) -> None:
        self._buffer = bytearray()
        self._needed = 0

    def feed(self, data: bytes) -> list[tuple[Any, memoryview]]:
        """The frames that `data` completes: pairs of header and payload."""
        whole: bytes | bytearray = data
        if self._buffer:
            self._buffer += data
            # A large frame comes in many pieces: it is looked at once, when it is there.
            if len(self._buffer) < self._needed:
                return []
            whole, self._buffer = self._buffer, bytearray()
        frames: list[tuple[Any, memoryview]] = []
        view = memoryview(whole)
        at = 0
        self._needed = LENGTHS.size
        while len(whole) - at >= LENGTHS.size:
            head_size, payload_size = LENGTHS.unpack_from(whole, at)
            body = at + LENGTHS.size
            end = body + head_size + payload_size
            if end > len(whole):
                self._needed = end - at
                break
            header = orjson.loads(view[body : body + head_size])
            frames.append((header, view[body + head_size : end]))
            at = end
        if at < len(whole):
            self._buffer += view[at:]
        return frames


def send_frame(sock: socket.socket, header: Mapping[str, Any], payload: bytes = b"") -> None:
    """Send one frame over a blocking socket.

    Raises:
        ConnectionLost: the other side is gone.
    """
    try:
        sock.sendall(frame(header, payload))
    except OSError as error:
        raise ConnectionLost(str(error)) from error


def receive_frame(sock: socket.socket) -> tuple[Any, memoryview]:
    """Receive exactly one frame over a blocking socket.

    Raises:
        ConnectionLost: the other side is gone.
    """
    lengths = _receive_exactly(sock, LENGTHS.size)
    head_size, payload_size = LENGTHS.unpack(lengths)
    body = memoryview(_receive_exactly(sock, head_size + payload_size))
    return orjson.loads(body[:head_size]), body[head_size:]


def _receive_exactly(sock: socket.socket, nbytes: int) -> bytearray:
    buffer = bytearray(nbytes)
    view = memoryview(buffer)
    got = 0
    while got < nbytes:
        try:
            n = sock.recv_into(view[got:])
        except OSError as error:
            raise ConnectionLost(str(error)) from error
        if n == 0:
            raise ConnectionLost("the other process closed the connection")
        got += n
    return buffer
