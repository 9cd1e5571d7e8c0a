"""JSON values into dense tensors, with TensorFlow Serving's rules and messages.

The second half of its json_tensor.cc, function by function: `AddValueToTensor`,
`GetDenseTensorShape`, `FillTensorProto`, `FillTensorMapFromInstancesList` and
`FillTensorMapFromInputsMap`. A tensor's shape is read off the first element of each list, and the
rest must agree; what the model's signature says about shapes is not looked at.
"""

from __future__ import annotations

import binascii
import math
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from itertools import chain
from operator import itemgetter
from typing import NoReturn

import numpy as np

from workbench.core.signature import TensorInfo
from workbench.core.status import Code, ServingError, invalid_argument
from workbench.formats.dtypes import DTYPES, STRING, JsonKind, integer_limits, numpy_dtype
from workbench.formats.signature_checks import shape_text
from workbench.server.front.json.json_value import Object, Value
from workbench.server.front.json.rapidjson import debug_text, type_name

Leaf = bool | int | float | bytes
Shape = tuple[int, ...]

_BASE64_SPACE = b" \t\n\v\f\r"
_BLOCK = 1024
"""Elements are checked in blocks of this many, and one by one only in an irregular block."""
_MANY_DIMENSIONS = 64
"""More than an array can have."""

_BASE64 = re.compile(rb"[A-Za-z0-9+/]*")
_PADDED_BASE64 = re.compile(rb"[A-Za-z0-9+/]*={0,2}")


def _is_integer_within(dtype: str) -> Callable[[Value], bool]:
    low, high = integer_limits(np.dtype(dtype))
    return lambda value: type(value) is int and low <= value <= high


_CHECKS: dict[JsonKind, Callable[[Value], bool]] = {
    "number": lambda value: type(value) is float or type(value) is int,
    "int32": _is_integer_within("int32"),
    "int64": _is_integer_within("int64"),
    "uint32": _is_integer_within("uint32"),
    "uint64": _is_integer_within("uint64"),
    "bool": lambda value: isinstance(value, bool),
    "string": lambda value: isinstance(value, bytes),
}
_ACCEPTS = {d.name: _CHECKS[d.json] for d in DTYPES if d.json is not None}


@dataclass(slots=True)
class _Column:
    """One input of a row-format request: the values of all elements so far, one after another."""

    name: str
    dtype: str
    leaves: list[Leaf] = field(default_factory=list)
    size: int = -1  # elements of one instance; -1 before the first
    shape: Shape = ()

    def add(self, value: Value) -> None:
        shape = _dense_shape(value)
        leaves = _leaves(value, shape, self.dtype)
        if self.size < 0:
            self.size, self.shape = len(leaves), shape
        elif len(leaves) != self.size:
            raise invalid_argument(f"Expecting tensor size: {self.size} but got: {len(leaves)}")
        elif shape != self.shape:
            raise invalid_argument(
                f"Expecting shape {shape_text(self.shape)} but got: {shape_text(shape)}"
            )
        self.leaves += leaves

    def add_alike(self, values: list[Value]) -> bool:
        """Add values that all have the column's shape; False, and nothing added, if one has not."""
        shape = self.shape if self.size >= 0 else _dense_shape(values[0])
        leaves = _regular_leaves(values, shape, self.dtype)
        if leaves is None:
            return False
        self.size, self.shape = math.prod(shape), shape
        self.leaves += leaves
        return True


def tensors_of_instances(
    instances: list[Value], infos: Mapping[str, TensorInfo]
) -> dict[str, np.ndarray]:
    """The inputs of a row-format request; `instances` is not empty, nor is `infos`.

    Bare base64 objects give the first input alone, also where the signature has more.

    Raises:
        ServingError: INVALID_ARGUMENT, naming the element.
    """
    named = _is_named(instances[0])
    if not isinstance(instances[0], Object) and len(infos) > 1:
        raise invalid_argument(
            "instances is a plain list, but expecting list of objects as multiple input tensors "
            "required as per tensorinfo_map"
        )
    columns = {name: _Column(name, info.dtype) for name, info in infos.items()}
    first = next(iter(columns.values()))
    for start in range(0, len(instances), _BLOCK):
        block = instances[start : start + _BLOCK]
        if named and _add_named_alike(columns, block):
            continue
        if not named and not any(map(_is_named, block)) and first.add_alike(block):
            continue
        for index, instance in enumerate(block, start):
            if _is_named(instance) != named:
                expected, got = ("object", "list") if named else ("value/list", "object")
                raise invalid_argument(
                    f"Expecting {expected} but got {got} at item {index} of input list"
                )
            if named:
                assert isinstance(instance, Object)
                _add_named_instance(columns, instance, index)
            else:
                try:
                    first.add(instance)
                except ServingError as error:
                    raise _element_error(f"{index}", error) from None
    return {
        name: _to_array(name, column.dtype, (len(instances), *column.shape), column.leaves)
        for name, column in columns.items()
        if column.size >= 0
    }


def _add_named_alike(columns: dict[str, _Column], block: list[Value]) -> bool:
    """Add instances that are objects of all inputs, each input of one shape.

    Returns:
        False, and nothing is added, if they are not, or need a closer look.
    """
    if "b64" in columns or set(map(type, block)) != {Object}:
        return False
    rows: list[dict[bytes, Value]] = list(map(dict, block))  # type: ignore[arg-type]
    # As long as a row is its dictionary: no key comes twice.
    if set(map(len, block)) != {len(columns)} or set(map(len, rows)) != {len(columns)}:  # type: ignore[arg-type]
        return False
    try:
        values = [list(map(itemgetter(name.encode()), rows)) for name in columns]
    except KeyError:
        return False
    return _add_all(columns, values)


def _add_all(columns: dict[str, _Column], values: list[list[Value]]) -> bool:
    """Add its values to each column; False, and nothing is added, if some differ in shape."""
    before = [(len(c.leaves), c.size, c.shape) for c in columns.values()]
    if all(map(_Column.add_alike, columns.values(), values)):
        return True
    for column, (count, size, shape) in zip(columns.values(), before, strict=True):
        del column.leaves[count:]
        column.size, column.shape = size, shape
    return False


def _add_named_instance(columns: dict[str, _Column], instance: Object, index: int) -> None:
    if len(instance) > _BLOCK:  # a key that comes again and again
        grouped: dict[bytes, list[Value]] = {name.encode(): [] for name in columns}
        if {key for key, _ in instance} == grouped.keys():
            for key, value in instance:
                grouped[key].append(value)
            if _add_all(columns, list(grouped.values())):
                return
    names = set()
    for key, value in instance:
        # A key with a NUL in it ends there: TensorFlow Serving takes it for a C string.
        name = key.split(b"\0", 1)[0].decode("utf-8", "replace")
        names.add(name)
        try:
            if name not in columns:
                raise invalid_argument(f"JSON object: does not have named input: {name}")
            columns[name].add(value)
        except ServingError as error:
            raise _element_error(f"{index} key: {name}", error) from None
    if names != columns.keys():
        raise invalid_argument(
            f"Failed to process element: {index} of 'instances' list. JSON object: "
            f"{debug_text(instance)} keys must be equal to: {','.join(sorted(columns))}"
        )


def _element_error(which: str, error: ServingError) -> ServingError:
    return invalid_argument(
        f"Failed to process element: {which} of 'instances' list. "
        f"Error: {error.code.name}: {error.message}"
    )


def tensors_of_inputs(value: Value, infos: Mapping[str, TensorInfo]) -> dict[str, np.ndarray]:
    """The inputs of a column-format request; members that are no input are ignored.

    Raises:
        ServingError: INVALID_ARGUMENT, or UNIMPLEMENTED for a dtype that JSON does not carry.
    """
    if _is_named(value):
        assert isinstance(value, Object)
        tensors = {}
        for name, info in infos.items():
            key = name.encode()
            if key not in value:
                raise no_such_input(name)
            tensors[name] = _dense_tensor(name, value.get(key), info.dtype)
        return tensors
    if len(infos) > 1:
        raise invalid_argument(
            "inputs is a plain value/list, but expecting an object as multiple input tensors "
            "required as per tensorinfo_map"
        )
    ((name, info),) = infos.items()
    return {name: _dense_tensor(name, value, info.dtype)}


def no_such_input(name: str) -> ServingError:
    """The refusal of ``inputs`` that lack an input."""
    return invalid_argument(f"Missing named input: {name} in 'inputs' object.")


def no_inputs() -> ServingError:
    """The refusal of a request that has neither ``inputs`` nor ``instances``."""
    return invalid_argument("Missing 'inputs' or 'instances' key")


def _is_named(value: Value) -> bool:
    return isinstance(value, Object) and not is_base64_object(value)


def _dense_tensor(name: str, value: Value, dtype: str) -> np.ndarray:
    shape = _dense_shape(value)
    return _to_array(name, dtype, shape, _leaves(value, shape, dtype))


def _dense_shape(value: Value) -> Shape:
    """The shape that a regular nest of lists beginning like `value` has; () for a scalar."""
    shape = []
    while isinstance(value, list):
        shape.append(len(value))
        if not value:
            break
        value = value[0]
    return tuple(shape)


def _leaves(value: Value, shape: Shape, dtype: str) -> list[Leaf]:
    """The scalars of `value` in order, depth first."""
    if len(shape) > _MANY_DIMENSIONS:
        return _leaves_of_deep(value, shape, dtype)
    leaves = _regular_leaves([value], shape, dtype)
    return _raise_first_fault(value, shape, dtype) if leaves is None else leaves


def _regular_leaves(values: list[Value], shape: Shape, dtype: str) -> list[Leaf] | None:
    """The scalars of values that are nests of lists of this shape; None where something is not
    so, or no value of `dtype`. A level at a time, which costs the least for each list."""
    nodes: list[Value] = values
    for size in shape:
        if not set(map(type, nodes)) <= {list} or not set(map(len, nodes)) <= {size}:  # type: ignore[arg-type]
            return None
        nodes = list(chain.from_iterable(nodes))  # type: ignore[arg-type]
    kinds = set(map(type, nodes))
    leaves: list[Leaf] = nodes  # type: ignore[assignment]
    if dtype in ("float", "double"):
        return leaves if kinds <= {int, float} else None
    if dtype == STRING:
        if kinds <= {bytes}:
            return leaves
        return _with_base64(nodes) if kinds <= {bytes, Object} else None
    if dtype == "bool":
        return leaves if kinds <= {bool} else None
    accepts = _ACCEPTS.get(dtype)
    # Of integers, those between the least and the greatest are accepted where these are.
    alike = accepts and kinds == {int} and accepts(min(leaves)) and accepts(max(leaves))
    return leaves if alike or not kinds else None


def _with_base64(values: list[Value]) -> list[Leaf] | None:
    try:
        return [decode_base64_object(v) if type(v) is Object else v for v in values]  # type: ignore[misc]
    except ServingError:
        return None


def _raise_first_fault(value: Value, shape: Shape, dtype: str) -> NoReturn:
    """Raise the error of the first place, depth first, where `value` is not regular.

    Raises:
        ServingError: always.
    """
    nodes, level = [value], 0
    while True:
        inner = shape[level:]
        starts = range(0, len(nodes), _BLOCK)
        blocks = (nodes[start : start + _BLOCK] for start in starts)
        block = next(b for b in blocks if _regular_leaves(b, inner, dtype) is None)
        node = next(n for n in block if _regular_leaves([n], inner, dtype) is None)
        if not isinstance(node, list):
            _check_level(node, level, shape)
            _leaf_or_refusal(node, dtype)
            raise AssertionError(f"{node!r} was taken for no {dtype}")
        _check_size(node, level, shape)
        nodes, level = node, level + 1


def _leaves_of_deep(value: Value, shape: Shape, dtype: str) -> list[Leaf]:
    """As `_leaves`, one value at a time; not recursive, because lists nest without limit."""
    accepts = _ACCEPTS.get(dtype)
    leaves: list[Leaf] = []
    stack: list[Iterator[Value]] = [iter((value,))]
    while stack:
        level = len(stack) - 1
        for node in stack[-1]:
            if not isinstance(node, list):
                _check_level(node, level, shape)
                leaves.append(node if accepts and accepts(node) else _leaf_or_refusal(node, dtype))  # type: ignore[arg-type]
                continue
            _check_size(node, level, shape)
            stack.append(iter(node))
            break
        else:
            stack.pop()
    return leaves


def _check_level(leaf: Value, level: int, shape: Shape) -> None:
    if level != len(shape):
        raise invalid_argument(
            f"JSON Value: {debug_text(leaf)} found at incorrect level: {level + 1} "
            f"in the JSON DOM. Expected at level: {len(shape)}"
        )


def _check_size(node: list[Value], level: int, shape: Shape) -> None:
    if level >= len(shape):
        raise invalid_argument(
            f"Encountered list at unexpected level: {level} expected < {len(shape)}"
        )
    if len(node) != shape[level]:
        raise invalid_argument(
            f"Encountered list at unexpected size: {len(node)} at level: {level} "
            f"expected size: {shape[level]}"
        )


def _leaf_or_refusal(value: Value, dtype: str) -> bytes:
    """The bytes of a base64 object, or the error that says why `dtype` does not take `value`."""
    if isinstance(value, Object) and dtype == STRING:
        return decode_base64_object(value)
    if dtype not in _ACCEPTS and not isinstance(value, Object):
        raise ServingError(
            Code.UNIMPLEMENTED,
            f"Conversion of JSON Value: {debug_text(value)} to type: {dtype}",
        )
    raise invalid_argument(
        f"JSON Value: {debug_text(value)} Type: {type_name(value)} is not of expected type: {dtype}"
    )


def is_base64_object(value: Value) -> bool:
    """Whether `value` is ``{"b64": "..."}`` and nothing else: how JSON carries bytes."""
    return (
        isinstance(value, Object)
        and len(value) == 1
        and value[0][0] == b"b64"
        and isinstance(value[0][1], bytes)
    )


def decode_base64_object(value: Object) -> bytes:
    """The bytes of ``{"b64": "..."}``: standard alphabet, white space ignored, padding optional.

    Raises:
        ServingError: INVALID_ARGUMENT.
    """
    if not is_base64_object(value):
        raise invalid_argument(
            f"JSON Value: {debug_text(value)} not formatted correctly for base64 data"
        )
    return decode_base64(value[0][1])


def decode_base64(encoded: bytes) -> bytes:
    """`absl::Base64Unescape`, which takes ``.`` for padding as well as ``=``.

    Raises:
        ServingError: INVALID_ARGUMENT.
    """
    if len(encoded) % 4 == 0 and _PADDED_BASE64.fullmatch(encoded):  # the usual form
        return binascii.a2b_base64(encoded)
    packed = encoded.translate(None, _BASE64_SPACE)
    digits = packed.rstrip(b"=.")
    padding = -len(digits) % 4
    if (
        padding == 3
        or len(packed) - len(digits) not in (0, padding)
        or not _BASE64.fullmatch(digits)
    ):
        raise invalid_argument("Unable to base64 decode")
    return binascii.a2b_base64(digits + b"=" * padding)


def _to_array(name: str, dtype: str, shape: Shape, leaves: list[Leaf]) -> np.ndarray:
    # An input that an element names twice leaves surplus values, which TensorFlow ignores.
    leaves = leaves[: math.prod(shape)]
    target = numpy_dtype(dtype)
    if dtype == STRING:
        array = np.empty(len(leaves), object)
        array[:] = leaves
    elif target.kind == "i" or dtype in ("uint8", "uint32"):
        array = np.array(leaves, np.int64).astype(target)
    else:
        with np.errstate(over="ignore"):  # beyond float32's range is infinity
            array = np.array(leaves, np.float64 if dtype == "float" else target).astype(target)
    try:
        return array.reshape(shape)
    except ValueError:  # more dimensions than an array can have
        raise invalid_argument(f"tensor parsing error: {name}") from None
