"""Compares the interface of two versions: which changes break the callers of the first.

A caller sends the inputs that it knows and reads the outputs that it knows. So an input may become
wider and an output narrower, and what is new breaks nobody who does not have to send it.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import NamedTuple

from workbench.core.signature import INIT_SIGNATURE, Signature, TensorInfo

Signatures = Mapping[str, Signature]

_BY_KERAS = re.compile(r"(keras_tensor|input|input_layer)(_\d+)?")
"""Keras numbers the inputs that a model does not name, in the whole process: the same model has
another name after each training."""
_NUMBER = re.compile(r"_\d+(?=_|\Z)")


class Changes(NamedTuple):
    """The differences of two versions, a phrase each: those that break callers, and the others."""

    breaking: tuple[str, ...]
    harmless: tuple[str, ...]


def compare(before: Signatures, after: Signatures) -> Changes:
    """What becomes of the signatures `before` when those `after` take their place."""
    breaking: list[str] = []
    harmless: list[str] = []
    for name in sorted((before.keys() | after.keys()) - {INIT_SIGNATURE}):
        if name not in after:
            breaking.append(f"signature {name} is gone")
        elif name not in before:
            harmless.append(f"signature {name} is new")
        else:
            for breaks, phrase in _differences(before[name], after[name]):
                (breaking if breaks else harmless).append(phrase)
    # A Keras model has the same signature under two names.
    return Changes(tuple(dict.fromkeys(breaking)), tuple(dict.fromkeys(harmless)))


def _differences(before: Signature, after: Signature) -> Iterator[tuple[bool, str]]:
    """Each difference of a signature's two states, and whether it breaks a caller."""
    old, new = dict(before.inputs), dict(after.inputs)
    if len(old) == len(new) == 1:
        (was,), (now,) = old, new
        if was != now and _both_numbered(was, now):
            # One input needs no name: an array is enough.
            yield False, f"input {was} is called {now} now, as Keras numbers unnamed inputs"
            old = {now: old[was]}
    for name in [*sorted(old), *sorted(new.keys() - old.keys())]:
        if name not in new:
            yield True, f"input {name} is gone"
        elif name not in old:
            optional = name in after.defaults
            yield not optional, f"input {name} ({new[name]}) is new" + ", and optional" * optional
        elif (old[name].dtype, old[name].shape) != (new[name].dtype, new[name].shape):
            phrase = f"input {name} is {new[name]} and was {old[name]}"
            yield not _takes(new[name], old[name]), phrase
        elif name in before.defaults and name not in after.defaults:
            yield True, f"input {name} must be given"
    yield from _outputs(before.outputs, after.outputs)


def _outputs(
    old: Mapping[str, TensorInfo], new: Mapping[str, TensorInfo]
) -> Iterator[tuple[bool, str]]:
    if len(old) == len(new) == 1:
        (was,), (now,) = old, new
        if was != now and _NUMBER.sub("", was) == _NUMBER.sub("", now):
            yield False, f"output {was} is called {now} now"
            old = {now: old[was]}
    for name in [*sorted(old), *sorted(new.keys() - old.keys())]:
        if name not in new:
            yield True, f"output {name} is gone"
        elif name not in old:
            # The only output is answered as an array, and one of several by its name.
            breaks = len(old) == 1 and old.keys() <= new.keys()
            yield breaks, f"output {name} ({new[name]}) is new"
        elif (old[name].dtype, old[name].shape) != (new[name].dtype, new[name].shape):
            same = old[name].dtype == new[name].dtype and _may_be(old[name].shape, new[name].shape)
            yield not same, f"output {name} is {new[name]} and was {old[name]}"


def _both_numbered(was: str, now: str) -> bool:
    if _NUMBER.sub("", was) == _NUMBER.sub("", now):
        return True
    return bool(_BY_KERAS.fullmatch(was) and _BY_KERAS.fullmatch(now))


def _takes(new: TensorInfo, old: TensorInfo) -> bool:
    """Whether an input takes everything that it took before."""
    if new.dtype != old.dtype:
        return False
    if new.shape is None or old.shape is None:
        return new.shape is None
    return len(new.shape) == len(old.shape) and all(
        now in (-1, was) for now, was in zip(new.shape, old.shape, strict=True)
    )


def _may_be(old: tuple[int, ...] | None, new: tuple[int, ...] | None) -> bool:
    """Whether an output of the one shape may have the other: an unknown size fits every size."""
    if old is None or new is None:
        return True
    return len(old) == len(new) and all(
        was == now or -1 in (was, now) for was, now in zip(old, new, strict=True)
    )
