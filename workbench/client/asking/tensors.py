"""Turns a caller's values (lists, arrays, data frames) into a signature's tensors."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from workbench.client.asking import columns as tables
from workbench.client.asking import ragged
from workbench.client.asking.arrays import to_array
from workbench.client.asking.shapes import fit
from workbench.core.signature import Signature, TensorInfo
from workbench.core.status import invalid_argument

if TYPE_CHECKING:
    import numpy as np

_NUMBERED = re.compile(r"(.+)_(\d+)")
_OF_REST = frozenset({"instances", "inputs"})


def to_inputs(signature: Signature, x: Any, *, check_shapes: bool = True) -> dict[str, np.ndarray]:
    """The input tensors of a request.

    Args:
        x: an array or list for a signature with one input, a mapping from input names otherwise;
            a data frame or a list of records, whose columns are the inputs if they have their
            names, otherwise the features of the only input; a ragged or sparse value if the
            signature takes its parts; a list of arrays if the inputs have only numbers
            (``input_0``, ``input_1``).
        check_shapes: otherwise each array keeps its shape, whatever the signature says.

    Raises:
        ServingError: INVALID_ARGUMENT, with the input and the values that it takes.
    """
    if not check_shapes:
        anything = {name: replace(info, shape=None) for name, info in signature.inputs.items()}
        signature = replace(signature, inputs=anything)
    if tables.is_frame(x):
        return _from_table(signature, tables.of_frame(x))
    if tables.is_records(x):
        return _from_table(signature, tables.of_records(x))
    names = getattr(getattr(x, "dtype", None), "names", None)
    if names is not None and isinstance(names, tuple):
        return _from_table(signature, tables.of_structured(x, names))
    if isinstance(x, Mapping):
        return _from_mapping(signature, x)
    return _from_one(signature, x)


def check_outputs(signature: Signature, outputs: Sequence[str]) -> None:
    """Check that the signature has outputs of these names.

    Raises:
        ServingError: INVALID_ARGUMENT, with the outputs that there are.
    """
    there = ", ".join(sorted(signature.outputs))
    for i, name in enumerate(outputs):
        if name not in signature.outputs:
            parts = [o for o in sorted(signature.outputs) if o.startswith(f"{name}/")]
            if parts:
                raise invalid_argument(
                    f"Output {name!r} is not one dense tensor: ask for its parts, "
                    f"{', '.join(parts)}"
                )
            raise invalid_argument(f"There is no output {name!r}; the outputs are {there}")
        if name in outputs[:i]:
            raise invalid_argument(f"Output {name!r} is asked for twice: name each output once")


def _from_one(signature: Signature, x: Any) -> dict[str, np.ndarray]:
    names = sorted(signature.inputs)
    if len(names) == 1:
        return _plain(signature, names[0], (), x, (), "x")
    if not names and x is None:
        return {}
    for name, parts in ragged.composites(signature).items():
        if set(parts) == set(names):
            arrays = _plain(signature, name, parts, x, (), "x")
            if len(arrays) < len(parts):
                raise invalid_argument(
                    f"Input {name!r} takes ragged or sparse values ({', '.join(parts)}): give a "
                    "tf.RaggedTensor, a list of rows or a tf.SparseTensor, whichever the model "
                    "was made for"
                )
            return arrays
    if not names:
        raise invalid_argument("This signature has no inputs: give an empty dictionary")
    by_position = _by_position(signature, x)
    if by_position is not None:
        return by_position
    raise invalid_argument(
        f"This signature has {len(names)} inputs ({_originals(signature, names)}): give a "
        "dictionary with one entry for each"
    )


def _by_position(signature: Signature, x: Any) -> dict[str, np.ndarray] | None:
    """The inputs from a list with one array for each, in the order of their numbers; None if the
    inputs are not numbered, or `x` is not such a list."""
    if not isinstance(x, (list, tuple)) or len(x) != len(signature.inputs):
        return None
    if not all(isinstance(each, (list, tuple)) or getattr(each, "shape", ()) for each in x):
        return None
    found = [_NUMBERED.fullmatch(name) for name in signature.inputs]
    numbered = {int(match[2]): match[0] for match in found if match is not None}
    if sorted(numbered) != [*range(len(x))] or len({m[1] for m in found if m is not None}) != 1:
        return None
    arrays: dict[str, np.ndarray] = {}
    for index, value in enumerate(x):
        arrays |= _plain(signature, numbered[index], (), value, (), f"x[{index}]")
    return arrays


def _from_mapping(signature: Signature, x: Mapping[Any, Any]) -> dict[str, np.ndarray]:
    by_original = {original: name for name, original in signature.originals.items()}
    named: dict[str, tuple[str, Any]] = {}
    composites = ragged.composites(signature)
    for key, value in x.items():
        name = by_original.get(str(key), str(key))
        if name not in signature.inputs and name not in composites:
            raise _unknown(signature, key)
        if name in named:
            raise invalid_argument(
                f"Input {name!r} is given twice, as {named[name][0]!r} and as {str(key)!r}"
            )
        named[name] = (str(key), value)
    arrays: dict[str, np.ndarray] = {}
    for name, (key, value) in named.items():
        parts = composites.get(name, ())
        arrays |= _plain(signature, name, parts, value, named, f"x[{key!r}]")
    return _checked(signature, arrays)


def _from_table(signature: Signature, table: tables.Table) -> dict[str, np.ndarray]:
    if tables.are_features(signature, table):
        ((name, info),) = signature.inputs.items()
        matrix = tables.feature_matrix(info, table, name)
        return {name: fit(info, matrix, f"Input {name!r}", "x.to_numpy()", column=True)}
    named = tables.named_inputs(signature, table)
    composites = ragged.composites(signature)
    arrays: dict[str, np.ndarray] = {}
    for name, column in named.items():
        value = table.column(column)
        label = f"Column {column!r}"
        parts = ragged.parts_of(signature, composites.get(name, ()), value, named, label)
        if parts is not None:
            arrays |= _parts(signature, parts, label)
            continue
        info = signature.inputs[name]
        array = tables.column_array(info, value, label)
        arrays[name] = fit(info, array, label, f"x[{column!r}]", column=True)
    return _checked(signature, arrays, table)


def _plain(
    signature: Signature,
    name: str,
    parts: Sequence[str],
    value: Any,
    given: Collection[str],
    code: str,
) -> dict[str, np.ndarray]:
    """The plain inputs that one value of the caller becomes; mostly one.

    Args:
        parts: of the composite of that name, if there is one.
        given: all names that the caller gave.
        code: the caller's code for the value.
    """
    label = f"Input {signature.originals.get(name, name)!r}"
    divided = ragged.parts_of(signature, parts, value, given, label)
    if divided is not None:
        return _parts(signature, divided, label)
    info = signature.inputs[name]
    column = tables.is_series(value)
    array = to_array(info, tables.column_values(value, info, label), label)
    # Neither lists nor series can be indexed with np.newaxis.
    is_array = hasattr(value, "shape") and not column
    written = code if is_array or array.ndim == 0 else f"np.asarray({code})"
    if isinstance(value, (list, tuple)):
        written = ""
    return {name: fit(info, array, label, written, column)}


def _parts(signature: Signature, parts: ragged.Parts, label: str) -> dict[str, np.ndarray]:
    arrays = {}
    for name, value in parts.items():
        info: TensorInfo = signature.inputs[name]
        array = to_array(info, value, label)
        arrays[name] = fit(info, array, f"{label}, as {name!r}", "x")
    return arrays


def _checked(
    signature: Signature, arrays: dict[str, np.ndarray], table: tables.Table | None = None
) -> dict[str, np.ndarray]:
    """The arrays, after a check that no required input is missing."""
    missing = signature.inputs.keys() - arrays.keys() - signature.defaults
    if not missing:
        return arrays
    them = "input " if len(missing) == 1 else "the inputs "
    them += _originals(signature, missing)
    if table is not None:
        raise invalid_argument(
            f"The table has no column for {them}; its columns are {', '.join(table.names)}: rename "
            "or add columns, as the model takes each by name"
        )
    raise invalid_argument(
        f"There is no value for {them}: give a dictionary with one entry for each input"
    )


def _originals(signature: Signature, names: Iterable[str]) -> str:
    return ", ".join(signature.originals.get(name, name) for name in sorted(names))


def _unknown(signature: Signature, name: Any) -> Exception:
    there = _originals(signature, signature.inputs)
    cure = f"; {name!r} is part of the REST API: give its value alone" if name in _OF_REST else ""
    return invalid_argument(f"There is no input {name!r}; the inputs are {there or 'none'}{cure}")
