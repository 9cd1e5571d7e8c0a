"""Reads plain predict requests at the speed of simdjson.

A request is plain when it is strict JSON and its lists are regular. Where all inputs are numeric,
simdjson copies all numbers into one buffer, which becomes the tensor. This copy does not show how
the numbers were nested: ``[[1, 2], [3, 4]]`` and ``[[1], [2, 3, 4]]`` give the same buffer. So the
request's *skeleton*, its text without numbers and white space, is compared with the skeleton that
the tensor's shape implies. Equal texts are equal nests, whatever the rank, and comparing them costs
a fraction of walking the lists. Where an input holds strings or booleans, simdjson makes Python
lists of it, and these are walked level by level.

For everything else the answer is None, and the exact reader reads the request again. That reader
would read all of a million members before it refuses the first that is no input, so this module
refuses such objects itself.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from itertools import chain, islice
from typing import Any

import numpy as np
import simdjson

from workbench.core.signature import DEFAULT_SIGNATURE, Signature, TensorInfo
from workbench.core.status import ServingError
from workbench.formats.dtypes import DTYPES, STRING, JsonKind, integer_limits, numpy_dtype
from workbench.server.front.json.dense_tensors import (
    decode_base64,
    no_inputs,
    no_such_input,
    tensors_of_instances,
)
from workbench.server.front.json.json_value import Object, Value
from workbench.server.front.json.rapidjson import parse

# simdjson's buffer type for each kind of number, and the limits of its values where the buffer has
# wider ones.
_KIND_BUFFERS: dict[JsonKind, tuple[str, tuple[int, int] | None]] = {
    "number": ("d", None),
    "int32": ("i", integer_limits(np.dtype(np.int32))),
    "uint32": ("i", integer_limits(np.dtype(np.uint32))),
    "int64": ("i", None),
    "uint64": ("u", None),
}
_BUFFERS = {d.name: _KIND_BUFFERS[d.json] for d in DTYPES if d.json in _KIND_BUFFERS}
_ELEMENT_TYPES = {"d": np.float64, "i": np.int64, "u": np.uint64}

# What a skeleton leaves out: all that numbers and white space are made of.
_NOT_SKELETON = b"0123456789+-.eE \t\r\n"
# Names that JSON text always shows as they are, and that hold nothing structural.
_PLAIN_NAME = re.compile(r"[A-Za-z0-9_/.:-]+")

_NAME_CODES = [bytes((code,)) for code in range(14, 32)]
_NOT_NUMBERS = b"[]{}: \t\r\n" + b"".join(_NAME_CODES)
_MANY = 64
"""From this many rows on, their text is read as a whole, which costs less for each row. From this
many members on, an object with members that are no inputs is not left to the exact reader."""
_LARGE_BYTES = 64 * 1024
"""Up to this size, any body is cheap to read."""
_LONGEST = 0xFF_FFFF
"""The length that simdjson gives of a list with so many elements or more."""

# A parser keeps some 14 bytes for each byte of the longest document it has seen.
_POOLED_DOCUMENT_BYTES = 256 * 1024
_POOLED_PARSERS = 8
_parsers: list[simdjson.Parser] = []


@dataclass(frozen=True, slots=True)
class PredictRequest:
    """The inputs of a predict call; strings are object arrays of `bytes`.

    `row_format` says which key held them, and so which form the answer takes: ``instances``
    (one element an example) or ``inputs`` (one tensor an input).
    """

    signature_name: str
    inputs: dict[str, np.ndarray]
    row_format: bool


class _NotPlain(Exception):
    """The request needs the exact reader."""


def decode_plain(body: bytes, signature_of: Callable[[str], Signature]) -> PredictRequest | None:
    """The request in `body`, or None where only the exact reader can tell.

    Raises:
        ServingError: from `signature_of`; INVALID_ARGUMENT, in the exact reader's words, for an
            object of many members that cannot be the inputs. Nothing else is refused here.
    """
    try:
        parser = _parsers.pop()
    except IndexError:
        parser = simdjson.Parser()
    try:
        request = _read(parser, body, signature_of)
    except (_NotPlain, ValueError, TypeError, LookupError, ArithmeticError, RuntimeError):
        # simdjson's refusals (its types of error are Python's own), and ours. The parser goes
        # too: the error's traceback may still hold values of its document.
        return None
    if len(body) <= _POOLED_DOCUMENT_BYTES and len(_parsers) < _POOLED_PARSERS:
        _parsers.append(parser)
    return request


def _read(
    parser: simdjson.Parser, body: bytes, signature_of: Callable[[str], Signature]
) -> PredictRequest:
    document = parser.parse(body)
    if not isinstance(document, simdjson.Object):
        raise _NotPlain
    # A name is found sooner in a list of few, and a list of many takes long to make.
    keys = document if len(document) >= _MANY else list(document)
    name = document["signature_name"] if "signature_name" in keys else ""
    if not isinstance(name, str):
        raise _NotPlain
    name = name or DEFAULT_SIGNATURE
    infos = signature_of(name).inputs
    row_format = "instances" in keys
    if row_format == ("inputs" in keys):
        if row_format or not infos or len(keys) < _MANY:
            raise _NotPlain
        raise no_inputs()

    value = document["instances" if row_format else "inputs"]
    if row_format and len(body) > _LARGE_BYTES and isinstance(value, simdjson.Array):
        _refuse_many_members(value[0], infos)
    if any(info.dtype not in _BUFFERS for info in infos.values()):
        inputs = _Walk(body).read(value, infos, row_format)
    elif isinstance(value, simdjson.Object) and not row_format:
        if len(value) < _MANY:
            inputs = _read_columns(value, body, infos)
        else:
            inputs = _pick_columns(value, infos)
    elif not isinstance(value, simdjson.Array):
        raise _NotPlain
    elif row_format and isinstance(value[0], simdjson.Object):
        inputs = _read_rows(value, body, infos)
    else:
        inputs = _read_array(value, body, infos)
    return PredictRequest(name, inputs, row_format)


def _refuse_many_members(first: Any, infos: Mapping[str, TensorInfo]) -> None:
    """Refuse an object of many members that are not all inputs, without reading all of it.

    Raises:
        ServingError: what the exact reader raises of the members up to the first unknown one.
    """
    if not isinstance(first, simdjson.Object) or len(first) < _MANY:
        return
    members: list[tuple[bytes, Value]] = []
    for name, value in islice(first.items(), _MANY):
        if name == "b64" or "\0" in name:
            return  # not what it seems
        exact: Any = value.encode() if isinstance(value, str) else value
        if isinstance(value, (simdjson.Object, simdjson.Array)):
            exact = parse(value.mini)  # type: ignore[arg-type]  # it is bytes
        members.append((name.encode(), exact))
        if name not in infos:
            tensors_of_instances([Object(members)], infos)


def _read_array(value: Any, body: bytes, infos: Mapping[str, TensorInfo]) -> dict[str, np.ndarray]:
    """The only input, as a list of lists of numbers."""
    ((name, info),) = infos.items()
    shape, flat = _numbers([value], info.dtype)
    # If what lies between the first and the last bracket of the document holds no quotation mark,
    # it is one value; and `value` lies between them.
    if _text_skeleton(body, body.index(b"["), body.rindex(b"]")) != _skeleton(shape):
        raise _NotPlain
    return {name: flat.reshape(shape)}


def _read_rows(rows: Any, body: bytes, infos: Mapping[str, TensorInfo]) -> dict[str, np.ndarray]:
    """The inputs as one object an example."""
    if len({_BUFFERS[info.dtype][0] for info in infos.values()}) == 1 and len(rows) >= _MANY:
        return _read_many_rows(rows, body, infos)
    columns, skeleton = _read_members(list(rows), infos)
    expected = b"[" + _repeated(skeleton, len(rows)) + b"]"
    if _text_skeleton(body, body.index(b"["), body.rindex(b"]")) != expected:
        raise _NotPlain
    return {name: flat.reshape(len(rows), *shape) for name, (shape, flat) in columns.items()}


def _read_many_rows(
    rows: Any, body: bytes, infos: Mapping[str, TensorInfo]
) -> dict[str, np.ndarray]:
    """The same by its text: all rows have the first one's members, in its order.

    Each name becomes a character that JSON text cannot hold. Two strings are never neighbours: a
    comma or a colon lies between them, which these names do not have. So what becomes such a
    character is a whole string, and if no quotation mark is left, all of them are such names.
    """
    first = rows[0]
    names = list(first)
    if len(names) != len(infos) or set(names) != infos.keys() or len(names) > len(_NAME_CODES):
        raise _NotPlain
    text = body[body.index(b"[") : body.rindex(b"]") + 1]
    shapes, members = [], []
    for name, code in zip(names, _NAME_CODES, strict=False):
        if not _PLAIN_NAME.fullmatch(name) or ":" in name:
            raise _NotPlain
        text = text.replace(f'"{name}"'.encode(), code)
        shapes.append(_shape_of(first[name]))
        members.append(code + b":" + _skeleton(shapes[-1]))
    if b'"' in text:
        raise _NotPlain
    skeleton = text.translate(None, _NOT_SKELETON)
    row = b"{" + b",".join(members) + b"}"
    count, rest = divmod(len(skeleton) - 1, len(row) + 1)
    if rest or skeleton != b"[" + _repeated(row, count) + b"]":
        raise _NotPlain
    # Without all that is no number, it is one list.
    numbers: Any = simdjson.Parser().parse(b"[" + text.translate(None, _NOT_NUMBERS) + b"]")
    buffer_type = _BUFFERS[infos[names[0]].dtype][0]
    flat = np.frombuffer(numbers.as_buffer(of_type=buffer_type), _ELEMENT_TYPES[buffer_type])
    table = flat.reshape(count, -1)
    columns, start = {}, 0
    for name, shape in zip(names, shapes, strict=True):
        column = table[:, start : start + math.prod(shape)]
        start += math.prod(shape)
        numbers_of_name = np.ascontiguousarray(_converted(column, infos[name].dtype))
        columns[name] = numbers_of_name.reshape(count, *shape)
    if start != table.shape[1]:
        raise _NotPlain
    return columns


def _pick_columns(value: Any, infos: Mapping[str, TensorInfo]) -> dict[str, np.ndarray]:
    """The inputs among the members of an object, of which the others are ignored."""
    if "b64" in value:
        raise _NotPlain
    columns = {}
    for name, info in infos.items():
        if name not in value:
            raise no_such_input(name)
        member = value[name]
        shape, flat = _numbers([member], info.dtype)
        if shape and member.mini.translate(None, _NOT_SKELETON) != _skeleton(shape):
            raise _NotPlain
        columns[name] = flat.reshape(shape)
    return columns


def _read_columns(
    value: Any, body: bytes, infos: Mapping[str, TensorInfo]
) -> dict[str, np.ndarray]:
    """The inputs as members of one object."""
    columns, expected = _read_members([value], infos)
    # The outermost braces are the document's. Between the next ones there is nothing but `value`
    # if there are no further ones.
    start = body.index(b"{", body.index(b"{") + 1)
    if _text_skeleton(body, start, body.rindex(b"}", 0, body.rindex(b"}"))) != expected:
        raise _NotPlain
    return {name: flat.reshape(shape) for name, (shape, flat) in columns.items()}


def _read_members(
    objects: list[Any], infos: Mapping[str, TensorInfo]
) -> tuple[dict[str, tuple[tuple[int, ...], np.ndarray]], bytes]:
    """For each input its shape in one object and its numbers in all; and one object's skeleton."""
    if not all(isinstance(item, simdjson.Object) and len(item) == len(infos) for item in objects):
        raise _NotPlain
    columns, members = {}, []
    for name in objects[0]:
        if not _PLAIN_NAME.fullmatch(name):
            raise _NotPlain
        shape, flat = _numbers([item[name] for item in objects], infos[name].dtype)
        columns[name] = shape, flat
        key = f'"{name}":'.encode().translate(None, _NOT_SKELETON)
        members.append(key + _skeleton(shape))
    if columns.keys() != infos.keys():
        raise _NotPlain
    return columns, b"{" + b",".join(members) + b"}"


def _numbers(values: list[Any], dtype: str) -> tuple[tuple[int, ...], np.ndarray]:
    """The shape of `values[0]`, and the numbers in all values as a flat array of `dtype`.

    As many numbers as that shape implies; that all values have this shape is left to check.
    """
    buffer_type, _ = _BUFFERS[dtype]
    shape = _shape_of(values[0])
    element_type = _ELEMENT_TYPES[buffer_type]
    if not shape:
        if not all(
            type(value) is int or (type(value) is float and buffer_type == "d") for value in values
        ):
            raise _NotPlain
        flat = np.array(values, element_type)
    elif len(values) == 1:
        flat = np.frombuffer(values[0].as_buffer(of_type=buffer_type), element_type)
        shape = _counted(shape, flat.size)
    else:
        if not all(isinstance(value, simdjson.Array) for value in values):
            raise _NotPlain
        parts = [value.as_buffer(of_type=buffer_type) for value in values]
        flat = np.frombuffer(b"".join(parts), element_type)
    if flat.size != len(values) * math.prod(shape):
        raise _NotPlain
    return shape, _converted(flat, dtype)


def _shape_of(value: Any) -> tuple[int, ...]:
    """The shape that a regular nest of lists beginning like `value` has; () for a scalar."""
    shape = []
    while isinstance(value, simdjson.Array):
        shape.append(len(value))
        value = value[0]
    return tuple(shape)


def _counted(shape: tuple[int, ...], size: int) -> tuple[int, ...]:
    """`shape`, of an array of `size` elements, where simdjson has counted as far as it can."""
    if _LONGEST not in shape:
        return shape
    at = shape.index(_LONGEST)
    others = shape[:at] + shape[at + 1 :]
    return (*shape[:at], size // math.prod(others), *shape[at + 1 :])


def _converted(flat: np.ndarray, dtype: str) -> np.ndarray:
    """Numbers in the type of simdjson's buffer as ones of `dtype`, if that takes them."""
    _, limits = _BUFFERS[dtype]
    if limits is not None and (flat.min() < limits[0] or flat.max() > limits[1]):
        raise _NotPlain
    if dtype == "float":
        with np.errstate(over="ignore"):  # beyond float32's range is infinity
            return flat.astype(np.float32)
    return flat.astype(numpy_dtype(dtype), copy=False)


class _Walk:
    """Reads inputs of which some are strings or booleans.

    A dictionary does not show that a key came twice. Members of rows are counted; base64 objects
    are as many as their key is found in the text, which must not have it in another spelling.
    """

    def __init__(self, body: bytes) -> None:
        self._body = body
        self._base64_objects = 0

    def read(
        self, value: Any, infos: Mapping[str, TensorInfo], row_format: bool
    ) -> dict[str, np.ndarray]:
        if isinstance(value, simdjson.Object) and not row_format:
            pick = self._members_of if len(value) < _MANY else self._picked
            inputs = self._members(pick(value, infos), infos)
        elif not isinstance(value, simdjson.Array):
            raise _NotPlain
        elif row_format and isinstance(value[0], simdjson.Object) and "b64" not in value[0]:
            rows = [self._members_of(row, infos) for row in value]
            inputs = self._members({name: [row[name] for row in rows] for name in infos}, infos)
        else:
            ((name, info),) = infos.items()
            inputs = {name: self._tensor(value.as_list(), info.dtype)}
        if self._base64_objects and (
            b"\\" in self._body or self._body.count(b'"b64"') != self._base64_objects
        ):
            raise _NotPlain
        return inputs

    @staticmethod
    def _picked(value: Any, infos: Mapping[str, TensorInfo]) -> dict[str, Any]:
        """The members of an object that are inputs; the others are ignored."""
        if "b64" in value:
            raise _NotPlain
        members = {}
        for name in infos:
            member = value[name]
            if isinstance(member, simdjson.Object):
                member = member.as_dict()
            members[name] = member.as_list() if isinstance(member, simdjson.Array) else member
        return members

    @staticmethod
    def _members_of(value: Any, infos: Mapping[str, TensorInfo]) -> dict[str, Any]:
        """The members of an object, which are the inputs and nothing else."""
        if not isinstance(value, simdjson.Object) or len(value) != len(infos) or "b64" in infos:
            raise _NotPlain
        members: dict[str, Any] = value.as_dict()
        if members.keys() != infos.keys():
            raise _NotPlain
        return members

    def _members(
        self, members: Mapping[str, Any], infos: Mapping[str, TensorInfo]
    ) -> dict[str, np.ndarray]:
        return {name: self._tensor(members[name], info.dtype) for name, info in infos.items()}

    def _tensor(self, value: Any, dtype: str) -> np.ndarray:
        """A regular nest of lists as an array."""
        shape: list[int] = []
        flat = [value]
        while type(flat[0]) is list:
            size = len(flat[0])
            if set(map(type, flat)) != {list} or set(map(len, flat)) != {size}:
                raise _NotPlain
            shape.append(size)
            flat = list(chain.from_iterable(flat))
        return self._leaves(flat, dtype).reshape(shape)

    def _leaves(self, flat: list[Any], dtype: str) -> np.ndarray:
        types = set(map(type, flat))
        if dtype == STRING and types <= {str, dict}:
            array = np.empty(len(flat), object)
            if dict in types:
                array[:] = [self._bytes(leaf) for leaf in flat]
            else:
                array[:] = [leaf.encode() for leaf in flat]
            return array
        if dtype == "bool" and types == {bool}:
            return np.array(flat, bool)
        buffer_type, _ = _BUFFERS[dtype]
        if not types <= ({int, float} if buffer_type == "d" else {int}):
            raise _NotPlain
        return _converted(np.array(flat, _ELEMENT_TYPES[buffer_type]), dtype)

    def _bytes(self, leaf: Any) -> bytes:
        if type(leaf) is str:
            return leaf.encode()
        text = leaf.get("b64")
        if len(leaf) != 1 or type(text) is not str:
            raise _NotPlain
        self._base64_objects += 1
        try:
            return decode_base64(text.encode())
        except ServingError:
            raise _NotPlain from None


def _text_skeleton(body: bytes, start: int, last: int) -> bytes:
    return body[start : last + 1].translate(None, _NOT_SKELETON)


def _skeleton(shape: tuple[int, ...]) -> bytes:
    """The skeleton of nested lists: ``[[,],[,]]`` for shape (2, 2), nothing for a number."""
    text = b""
    for size in reversed(shape):
        text = b"[" + _repeated(text, size) + b"]"
    return text


def _repeated(skeleton: bytes, times: int) -> bytes:
    return ((skeleton + b",") * times)[:-1]
