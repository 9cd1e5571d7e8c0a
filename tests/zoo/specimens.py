"""How a model of the zoo is described: its inputs, how it is built, and real requests for it.

Everything here is plain data without TensorFlow. Builders are given the `tensorflow` module and are
only called by `models_main`.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from workbench.formats.wire.tf_example import Feature, encode_example

Sample = Callable[[np.random.Generator, int], np.ndarray]

REQUESTS_SEED = 15

TEXTS = (
    b"The parcel arrived two days late and nobody answered the telephone",
    b"good",
    b"Gute Ware, schnelle Lieferung",
    b"",
    b"I would buy it again, and I told all of my friends about it, twice",
    b"broken on arrival",
    b"na\xc3\xafve caf\xc3\xa9 owner",
    b"ok ok ok",
    b"the colour is not the one that the picture shows",
    b"excellent!",
)
WORDS = (b"red", b"green", b"blue", b"violet", b"", b"Red", b"ultramarine", b"gr\xc3\xbcn")


@dataclass(frozen=True)
class Input:
    """One input of a model.

    Attributes:
        dtype: TensorFlow's name of it, such as ``float32`` or ``string``.
        shape: without the batch dimension; None is a dimension of any size.
        sample: makes an array of so many rows.
    """

    dtype: str
    shape: tuple[int | None, ...]
    sample: Sample


def floats(*shape: int, scale: float = 1.0) -> Input:
    """Normally distributed numbers."""
    return Input(
        "float32", shape, lambda rng, n: rng.normal(0, scale, (n, *shape)).astype(np.float32)
    )


def integers(high: int, *shape: int, low: int = 0, dtype: str = "int64") -> Input:
    """Whole numbers from `low` up to `high`, which is excluded."""
    return Input(dtype, shape, lambda rng, n: rng.integers(low, high, (n, *shape)).astype(dtype))


def images(height: int, width: int, channels: int = 1) -> Input:
    """Pixels between 0 and 255, as floats."""
    shape = (height, width, channels)
    return Input(
        "float32", shape, lambda rng, n: rng.integers(0, 256, (n, *shape)).astype(np.float32)
    )


def texts(*values: bytes, shape: tuple[int, ...] = ()) -> Input:
    """Strings drawn from `values`; without any, sentences of very different lengths."""
    return strings(lambda rng: (values or TEXTS)[rng.integers(len(values or TEXTS))], shape)


def strings(one: Callable[[np.random.Generator], bytes], shape: tuple[int, ...] = ()) -> Input:
    """Strings that `one` makes."""

    def sample(rng: np.random.Generator, rows: int) -> np.ndarray:
        array = np.empty((rows, *shape), object)
        for index in np.ndindex(array.shape):
            array[index] = one(rng)
        return array

    return Input("string", shape, sample)


def example(rng: np.random.Generator) -> bytes:
    """A serialised `tf.Example` with two features."""
    return encode_example(
        {
            b"x": Feature("float", list(rng.normal(size=3))),
            b"colour": Feature("bytes", [WORDS[rng.integers(len(WORDS))]]),
        }
    )


def png(rng: np.random.Generator) -> bytes:
    """A grey image of 6 x 5 pixels as a PNG file."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return (
            struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
        )

    lines = b"".join(b"\0" + rng.integers(0, 256, 5, np.uint8).tobytes() for _ in range(6))
    header = struct.pack(">IIBBBBB", 5, 6, 8, 0, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n"
        + chunk(b"IHDR", header)
        + chunk(b"IDAT", zlib.compress(lines))
        + chunk(b"IEND", b"")
    )


@dataclass(frozen=True)
class Specimen:
    """A model of the zoo.

    Attributes:
        name: that of its folder.
        inputs: by alias.
        build: makes it, given the `tensorflow` module: a function of tensors, a Keras model, or
            an `exporting.Export` that knows how to save itself.
        mixes: None where each output row depends on its own input row alone; else a regular
            expression for what the server says of the operation that mixes the rows.
        repeats: the same request alone has the same answer each time. Where it has not (random
            numbers, a counter) there is no answer to compare with, and no request may be merged.
        tolerance: the relative difference that rounding may make between a batch and a row.
    """

    name: str
    inputs: Mapping[str, Input]
    build: Callable[[Any], Any]
    mixes: str | None = None
    repeats: bool = True
    tolerance: float = 1e-4

    def request(self, rng: np.random.Generator, rows: int = 1) -> dict[str, np.ndarray]:
        """One request of so many rows."""
        return {alias: each.sample(rng, rows) for alias, each in self.inputs.items()}

    def requests(self, count: int, seed: int = REQUESTS_SEED) -> list[dict[str, np.ndarray]]:
        """Requests as callers send them: most have one row, every eighth has two or three."""
        rng = np.random.default_rng(seed)
        return [self.request(rng, 1 if i % 8 else 2 + i // 8 % 2) for i in range(count)]


@dataclass
class Collection:
    """Specimens in the order in which they are defined."""

    specimens: list[Specimen] = field(default_factory=list)

    def add(self, **settings: Any) -> Callable[[Callable[[Any], Any]], Callable[[Any], Any]]:
        """Take up a builder as a specimen of its name; see `Specimen` for the settings."""

        def take_up(build: Callable[[Any], Any]) -> Callable[[Any], Any]:
            self.specimens.append(Specimen(build.__name__, build=build, **settings))
            return build

        return take_up


def by_name(*groups: Sequence[Specimen]) -> dict[str, Specimen]:
    """All of them by their names, each of which must be there once."""
    found: dict[str, Specimen] = {}
    for specimen in (each for group in groups for each in group):
        assert specimen.name not in found, f"two models are called {specimen.name}"
        found[specimen.name] = specimen
    return found
