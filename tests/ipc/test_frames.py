"""Frames: tensors laid out for another process, and read back as views."""

from __future__ import annotations

import itertools
import socket
import threading
from typing import Any

import ml_dtypes
import numpy as np
import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from workbench.ipc.frames import (
    INLINE_BYTES,
    LENGTHS,
    ConnectionLost,
    FrameReader,
    decode_message,
    encode_message,
    frame,
    pack,
    receive_frame,
    send_frame,
    unpack,
)
from workbench.ipc.regions import Region


def strings(*values: bytes) -> np.ndarray:
    array = np.empty(len(values), object)
    array[:] = values
    return array


def there_and_back(parts: dict[str, list[np.ndarray]], region: Region | None) -> Any:
    descriptors, payload = pack(parts, region)
    descriptors = orjson.loads(orjson.dumps(descriptors))
    return unpack(descriptors, memoryview(payload), region)


def assert_same(got: np.ndarray, wanted: np.ndarray) -> None:
    assert (got.dtype, got.shape) == (wanted.dtype, wanted.shape)
    assert (
        got.tobytes() == wanted.tobytes()
        if wanted.dtype != object
        else list(got.flat) == list(wanted.flat)
    )


NUMERIC = st.sampled_from(
    [
        *map(np.dtype, ["f2", "f4", "f8", "i1", "i2", "i4", "i8", "u1", "u2", "u4", "u8"]),
        *map(np.dtype, ["?", "c8", "c16"]),
        np.dtype(ml_dtypes.bfloat16),
    ]
)


@given(
    data=st.data(),
    dtype=NUMERIC,
    rows=st.lists(st.integers(0, 4), min_size=1, max_size=4),
    rest=hnp.array_shapes(min_dims=0, max_dims=3, min_side=0, max_side=4),
)
def test_parts_are_joined_along_the_first_dimension(
    data: st.DataObject, dtype: np.dtype, rows: list[int], rest: tuple[int, ...]
) -> None:
    raw = [
        np.frombuffer(data.draw(st.binary(min_size=n, max_size=n)), dtype)
        for n in [int(np.prod((r, *rest))) * dtype.itemsize for r in rows]
    ]
    arrays = [a.reshape(r, *rest) for a, r in zip(raw, rows, strict=True)]
    if dtype == np.bool_:
        arrays = [a.view(np.uint8).astype(bool) for a in arrays]
    assert_same(there_and_back({"x": arrays}, None)["x"], np.concatenate(arrays))


@given(st.lists(st.binary(max_size=20), max_size=6), st.lists(st.binary(max_size=20), max_size=6))
def test_strings_keep_every_byte(first: list[bytes], second: list[bytes]) -> None:
    got = there_and_back({"s": [strings(*first), strings(*second)]}, None)
    assert_same(got["s"], strings(*first, *second))


@pytest.mark.parametrize(
    ("array", "wanted"),
    [
        (np.array(["ä", "b"]), [["ä".encode(), b"b"], (2,)]),
        (np.array([[b"a", b"bc"]]), [[b"a", b"bc"], (1, 2)]),
        (np.array("text", object), [[b"text"], ()]),
    ],
)
def test_text_is_encoded(array: np.ndarray, wanted: list[Any]) -> None:
    got = there_and_back({"s": [array]}, None)["s"]
    assert [list(got.flat), got.shape] == wanted


def test_scalars_and_names_of_all_kinds() -> None:
    got = there_and_back({"ä b": [np.array(2.5)], "": [np.array(True)]}, None)
    assert list(got) == ["ä b", ""]
    assert (got["ä b"].shape, float(got["ä b"]), bool(got[""])) == ((), 2.5, True)


def test_large_tensors_lie_aligned_in_the_region_and_small_ones_in_the_payload() -> None:
    region = Region.create("test")
    small = np.arange(INLINE_BYTES // 8, dtype=np.int64)
    large = np.arange(INLINE_BYTES + 1, dtype=np.uint8)
    parts = {"a": [large], "b": [small], "c": [large[:100], large], "d": [strings(b"x" * 99999)]}
    descriptors, payload = pack(parts, region)
    assert descriptors == [
        ["a", "uint8", [INLINE_BYTES + 1], 0, INLINE_BYTES + 1],
        ["b", "int64", [INLINE_BYTES // 8], -1, INLINE_BYTES],
        ["c", "uint8", [INLINE_BYTES + 101], INLINE_BYTES + 64, INLINE_BYTES + 101],
        ["d", "string", [1], 2 * (INLINE_BYTES + 64) + 64, 4 + 99999],
    ]
    assert len(payload) == INLINE_BYTES
    got = unpack(descriptors, memoryview(payload), region)
    for name, arrays in parts.items():
        assert_same(got[name], np.concatenate(arrays))
    address = got["c"].__array_interface__["data"][0]
    assert address % 64 == 0
    # A view, not a copy: what is written into the region shows.
    region.view(0, 1)[0] = 99
    assert got["a"][0] == 99
    region.close()


@pytest.mark.parametrize(
    ("descriptor", "message"),
    [
        (["x", "float", [2], 0, 8], "tensor x is said to lie in a region, and there is none"),
        (["x", "float", [3], -1, 8], "cannot reshape array of size 2 into shape (3,)"),
        (["x", "float", [2], -1, 7], "buffer size must be a multiple of element size"),
    ],
)
def test_descriptors_that_do_not_fit_are_refused(descriptor: list[Any], message: str) -> None:
    with pytest.raises(ValueError) as raised:
        unpack([descriptor], memoryview(b"12345678"), None)
    assert str(raised.value) == message


def test_messages_there_and_back() -> None:
    data = encode_message({"signature": "s"}, {"x": np.arange(3), "s": strings(b"a")})
    header, tensors = decode_message(data)
    assert header == {
        "signature": "s",
        "t": [["x", "int64", [3], -1, 24], ["s", "string", [1], -1, 5]],
    }
    assert tensors["x"].tolist() == [0, 1, 2]
    assert tensors["s"].tolist() == [b"a"]


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"1234567", "the message ends within its lengths"),
        (frame({"t": []})[:-1], "the message has 15 bytes instead of 16"),
        (frame({"t": []}, b"x") + b"y", "the message has 18 bytes instead of 17"),
        (frame([]), "the message's header has no list of tensors"),  # type: ignore[arg-type]
        (frame({"t": 1}), "the message's header has no list of tensors"),
        (
            frame({"t": [["x", "resource", [], -1, 0]]}),
            "the message's tensors are not described well: KeyError('resource')",
        ),
        (
            frame({"t": [["x", "float", [1], 0, 4]]}),
            "tensor x is said to lie in a region, and there is none",
        ),
        (
            frame({"t": [[1, 2]]}),
            "not enough values to unpack (expected 5, got 2)",
        ),
    ],
)
def test_messages_that_are_none_are_refused(data: bytes, message: str) -> None:
    with pytest.raises(ValueError) as raised:
        decode_message(data)
    assert str(raised.value) == message


@given(st.binary(max_size=60))
def test_no_bytes_make_the_decoder_fail_otherwise(noise: bytes) -> None:
    body = LENGTHS.pack(len(noise), 0) + noise
    for data in (noise, body):
        try:
            decode_message(data)
        except ValueError:
            pass


FRAMES = st.lists(
    st.tuples(st.dictionaries(st.text(max_size=3), st.integers(0, 9), max_size=2), st.binary()),
    max_size=5,
)


@given(frames=FRAMES, cuts=st.lists(st.integers(0, 400)))
def test_no_split_of_the_bytes_changes_the_frames(
    frames: list[tuple[dict[str, int], bytes]], cuts: list[int]
) -> None:
    stream = b"".join(frame(header, payload) for header, payload in frames)
    edges = [0, *sorted(min(c, len(stream)) for c in cuts), len(stream)]
    reader = FrameReader()
    got = []
    for a, b in itertools.pairwise(edges):
        got += [(header, bytes(payload)) for header, payload in reader.feed(stream[a:b])]
    assert got == frames


def test_a_large_frame_in_small_pieces_is_put_together_once() -> None:
    payload = bytes(range(256)) * (64 * 1024)
    stream = frame({}, payload) + frame({"next": 1})
    reader = FrameReader()
    got = []
    for at in range(0, len(stream), 4096):
        got += reader.feed(stream[at : at + 4096])
    assert [(header, bytes(data)) for header, data in got] == [({}, payload), ({"next": 1}, b"")]


def test_blocking_frames_over_a_socket() -> None:
    ours, theirs = socket.socketpair()
    payload = b"x" * 1_000_000
    sender = threading.Thread(target=send_frame, args=(ours, {"n": 1}, payload))
    sender.start()
    header, got = receive_frame(theirs)
    sender.join(10)
    assert (header, bytes(got)) == ({"n": 1}, payload)
    ours.close()
    with pytest.raises(ConnectionLost, match="the other process closed the connection"):
        receive_frame(theirs)
    with pytest.raises(ConnectionLost, match="Broken pipe"):
        send_frame(theirs, {})
    theirs.close()
    with pytest.raises(ConnectionLost, match="Bad file descriptor"):
        receive_frame(theirs)


def test_strings_of_more_dimensions_than_numpys_iterators_take() -> None:
    deep = np.empty((1,) * 50 + (2,), object)
    deep.fill(b"word")
    _, tensors = decode_message(encode_message({}, {"x": deep}))
    assert tensors["x"].shape == deep.shape
    assert tensors["x"].ravel().tolist() == [b"word", b"word"]
