from __future__ import annotations

import contextlib
import gc
import gzip
import os
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from workbench.server.front.http.body import BodyTooLarge, BodyWriter, Spool, inflate


def content(body: bytes | Spool) -> bytes:
    return body if isinstance(body, bytes) else bytes(body.view())


def test_a_spool_holds_what_is_appended() -> None:
    spool = Spool.create()
    spool.append(b"abc")
    spool.append(memoryview(b"def"))
    assert spool.size == 6
    assert bytes(spool.view()) == b"abcdef"
    assert not os.get_inheritable(spool.fd)
    spool.close()


def test_an_empty_spool_has_an_empty_view() -> None:
    spool = Spool.create()
    assert spool.view() == b""
    spool.close()


def test_a_view_outlives_its_spool() -> None:
    spool = Spool.create()
    spool.append(b"kept")
    view = spool.view()
    spool.close()
    spool.close()
    assert spool.closed
    assert bytes(view) == b"kept"
    with pytest.raises(ValueError) as refused:
        spool.view()
    assert str(refused.value) == "This body was closed."


def test_a_forgotten_spool_closes_itself() -> None:
    spool = Spool.create()
    fd, file = spool.fd, os.fstat(spool.fd)
    del spool
    gc.collect()
    # Another thread may have opened something under that number since.
    with contextlib.suppress(OSError):
        assert not os.path.samestat(os.fstat(fd), file)


@given(st.lists(st.binary(max_size=8)), st.integers(0, 40), st.integers(0, 40))
def test_a_writer_gives_back_what_it_took(
    pieces: list[bytes], threshold: int, expected: int
) -> None:
    writer = BodyWriter(10_000, threshold, expected)
    for piece in pieces:
        writer.add(piece)
    body = writer.finish()
    whole = b"".join(pieces)
    assert content(body) == whole
    assert isinstance(body, Spool) == (len(whole) > threshold or expected > threshold)


def test_a_writer_refuses_what_is_too_much() -> None:
    writer = BodyWriter(5, 3)
    writer.add(b"abcde")
    with pytest.raises(BodyTooLarge):
        writer.add(b"f")
    spool = writer.spool
    assert spool is not None
    writer.discard()
    assert spool.closed


def spooled(data: bytes) -> Spool:
    spool = Spool.create()
    spool.append(data)
    return spool


@pytest.mark.parametrize("size", [0, 1, 1000, 64 * 1024, 3_000_000])
@pytest.mark.parametrize("random_content", [False, True])
def test_inflating(size: int, random_content: bool) -> None:
    data = random.Random(size).randbytes(size) if random_content else b"a" * size
    packed = gzip.compress(data)
    for body in (packed, spooled(packed)):
        result = inflate(body, 3_000_000, 1000)
        assert content(result) == data
        assert isinstance(result, Spool) == (size > 1000)
        if isinstance(body, Spool):
            assert body.closed


GOOD = gzip.compress(b"content" * 10)


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"not gzip",
        GOOD[:-1],
        GOOD[:20],
        GOOD + b"x",
        GOOD + GOOD,
        GOOD[:-6] + b"\x00" + GOOD[-5:],
        gzip.compress(b"a" * 1001),
        gzip.compress(b"a" * 50_000_000),
    ],
    ids=[
        "empty", "no gzip", "cut at the end", "cut", "trailing byte", "two members",
        "wrong checksum", "too large", "bomb",
    ],
)  # fmt: skip
def test_what_does_not_inflate_becomes_empty(body: bytes) -> None:
    assert inflate(body, 1000, 100) == b""
    assert inflate(spooled(body), 1000, 100) == b""


def test_what_follows_a_member_in_later_pieces_is_not_collected() -> None:
    assert inflate(spooled(gzip.compress(b"x") + bytes(2_000_000)), 1000, 100) == b""
