"""gRPC server reflection: lists the services, and hands out the files that describe them.

Generic clients (grpcurl, Postman) need it before they can send a request. It answers both versions
of the protocol, `grpc.reflection.v1` and `v1alpha`; their messages are the same on the wire.

The descriptors are TensorFlow Serving's own files with all that they import, under their own names,
in `grpc_descriptors.binpb` (`grpc_descriptor_files.py` makes it). The server itself needs
none of them, so they are read with the first request.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any, NamedTuple

from google.protobuf import descriptor_pb2
from google.protobuf.message import DecodeError

from workbench.core.status import Code, ServingError
from workbench.formats.wire.messages import message_class

REFLECTION_METHODS = tuple(
    f"/grpc.reflection.{version}.ServerReflection/ServerReflectionInfo"
    for version in ("v1", "v1alpha")
)
_FILE = Path(__file__).with_name("grpc_descriptors.binpb")


class _Described(NamedTuple):
    """Serialised `FileDescriptorProto`s by name; what they import; where symbols are declared."""

    files: Mapping[str, bytes]
    imports: Mapping[str, Sequence[str]]
    symbols: Mapping[str, str]
    messages: frozenset[str]


@lru_cache(maxsize=1)
def _described() -> _Described:
    described = descriptor_pb2.FileDescriptorSet.FromString(_FILE.read_bytes()).file
    symbols: dict[str, str] = {}
    messages: set[str] = set()
    for file in described:
        for name, is_message in _symbols(file):
            symbols[name] = file.name
            if is_message:
                messages.add(name)
    return _Described(
        {file.name: file.SerializeToString(deterministic=True) for file in described},
        {file.name: list(file.dependency) for file in described},
        symbols,
        frozenset(messages),
    )


def _symbols(file: Any) -> Iterator[tuple[str, bool]]:
    """Full names of all that a file declares, and whether each is a message."""
    prefix = f"{file.package}." if file.package else ""

    def enum(one: Any, scope: str) -> Iterator[tuple[str, bool]]:
        yield scope + one.name, False
        # In C++'s manner, values are in the scope of their enum's parent.
        yield from ((scope + value.name, False) for value in one.value)

    def message(one: Any, scope: str) -> Iterator[tuple[str, bool]]:
        name = scope + one.name
        yield name, True
        for member in (*one.field, *one.oneof_decl):
            yield f"{name}.{member.name}", False
        for inner in one.nested_type:
            yield from message(inner, f"{name}.")
        for inner in one.enum_type:
            yield from enum(inner, f"{name}.")

    for one in file.message_type:
        yield from message(one, prefix)
    for one in file.enum_type:
        yield from enum(one, prefix)
    for service in file.service:
        yield prefix + service.name, False
        yield from ((f"{prefix}{service.name}.{method.name}", False) for method in service.method)


def reflect(request: bytes, services: Iterable[str]) -> bytes:
    """The answer to one `ServerReflectionRequest` of a server that offers `services`.

    Raises:
        ServingError: INTERNAL, the request is not such a message.
    """
    try:
        asked = message_class("grpc.reflection.v1.ServerReflectionRequest").FromString(request)
    except DecodeError as error:
        raise ServingError(
            Code.INTERNAL, "The request is not a valid ServerReflectionRequest"
        ) from error
    answer = message_class("grpc.reflection.v1.ServerReflectionResponse")()
    answer.valid_host = asked.host
    answer.original_request.CopyFrom(asked)
    try:
        _fill(answer, asked, services)
    except ServingError as error:
        answer.error_response.error_code = error.code
        answer.error_response.error_message = error.message
    return bytes(answer.SerializeToString())


def _fill(answer: Any, asked: Any, services: Iterable[str]) -> None:
    kind = asked.WhichOneof("message_request")
    if kind == "list_services":
        for name in services:
            answer.list_services_response.service.add(name=name)
    elif kind == "file_by_filename":
        _add_files(answer, asked.file_by_filename)
    elif kind == "file_containing_symbol":
        symbol = asked.file_containing_symbol
        _add_files(answer, _described().symbols.get(symbol, ""), symbol)
    elif kind == "all_extension_numbers_of_type":
        name = asked.all_extension_numbers_of_type
        if name not in _described().messages:
            raise _unknown(name)
        # The files declare no extensions.
        answer.all_extension_numbers_response.base_type_name = name
    elif kind == "file_containing_extension":
        extension = asked.file_containing_extension
        raise _unknown(f"extension {extension.extension_number} of {extension.containing_type}")
    else:
        raise ServingError(Code.INVALID_ARGUMENT, "The request asks for nothing")


def _add_files(answer: Any, name: str, symbol: str = "") -> None:
    """A file and all that it imports, directly or not."""
    described = _described()
    if name not in described.files:
        raise _unknown(symbol or name)
    wanted = [name]
    for each in wanted:
        wanted += [other for other in described.imports[each] if other not in wanted]
    answer.file_descriptor_response.file_descriptor_proto.extend(
        described.files[each] for each in wanted
    )


def _unknown(what: str) -> ServingError:
    return ServingError(Code.NOT_FOUND, f"No file of this server describes {what}")
