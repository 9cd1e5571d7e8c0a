"""Damage to bytes, and numbers that are often the wrong ones."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence

EDGES = (
    0, 1, -1, 2, 7, 127, 128, 255, 256, 2**31 - 1, 2**31, 2**32, 2**53, 2**63 - 1, 2**63, -(2**63),
    2**64,
)  # fmt: skip


def _flip(data: bytearray, rng: random.Random) -> None:
    at = rng.randrange(len(data))
    data[at] ^= 1 << rng.randrange(8)


def _overwrite(data: bytearray, rng: random.Random) -> None:
    at = rng.randrange(len(data))
    data[at] = rng.choice(b"\x00\x01\x7f\x80\xff\r\n :/%{}[]\",'\\09azAZ")


def _cut(data: bytearray, rng: random.Random) -> None:
    del data[rng.randrange(len(data)) :]


def _drop(data: bytearray, rng: random.Random) -> None:
    at = rng.randrange(len(data))
    del data[at : at + rng.randrange(1, 9)]


def _repeat(data: bytearray, rng: random.Random) -> None:
    at = rng.randrange(len(data))
    piece = data[at : at + rng.randrange(1, 33)]
    data[at:at] = piece * rng.randrange(1, 5)


def _insert(data: bytearray, rng: random.Random) -> None:
    at = rng.randrange(len(data) + 1)
    data[at:at] = rng.randbytes(rng.randrange(1, 9))


def _swap(data: bytearray, rng: random.Random) -> None:
    a, b = rng.randrange(len(data)), rng.randrange(len(data))
    data[a], data[b] = data[b], data[a]


_DAMAGES: Sequence[Callable[[bytearray, random.Random], None]] = (
    _flip, _overwrite, _cut, _drop, _repeat, _insert, _swap,
)  # fmt: skip


def mutate(data: bytes, rng: random.Random, times: int | None = None) -> bytes:
    """A few things wrong with `data`."""
    damaged = bytearray(data)
    for _ in range(rng.choice((1, 1, 1, 2, 4)) if times is None else times):
        if damaged:
            rng.choice(_DAMAGES)(damaged, rng)
    return bytes(damaged)


def splice(data: bytes, tokens: Sequence[bytes], rng: random.Random) -> bytes:
    """A word that the reader knows, where it does not belong."""
    at = rng.randrange(len(data) + 1)
    return data[:at] + rng.choice(tokens) + data[at + rng.randrange(4) :]
