"""gRPC reflection: what a generic client needs before it can send its first request."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import grpc
import grpc.aio
import pytest
from google.protobuf import descriptor_pb2, descriptor_pool, message_factory
from grpc_reflection.v1alpha import reflection_pb2
from grpc_reflection.v1alpha.proto_reflection_descriptor_database import (
    ProtoReflectionDescriptorDatabase,
)

from tests.server.front.grpc.grpc_descriptor_files import PATH, gather
from tests.server.front.grpc.test_grpc_server import refused, with_server
from workbench.server.front.grpc.grpc_server import NEEDS_TOKEN, GrpcServer
from workbench.server.front.grpc.reflection import REFLECTION_METHODS

SERVICES = [
    "grpc.health.v1.Health",
    "grpc.reflection.v1.ServerReflection",
    "grpc.reflection.v1alpha.ServerReflection",
    "tensorflow.serving.ModelService",
    "tensorflow.serving.PredictionService",
]


async def _echo(request: bytes, seconds: float | None) -> bytes:
    return request


METHODS = {
    "/tensorflow.serving.PredictionService/Predict": _echo,
    "/tensorflow.serving.ModelService/GetModelStatus": _echo,
}


def test_the_files_are_the_originals() -> None:
    described = descriptor_pb2.FileDescriptorSet.FromString(PATH.read_bytes()).file
    assert {file.name: file for file in described} == gather()


def test_a_generic_client_learns_everything(tmp_path: Path) -> None:
    def learn() -> Any:
        with grpc.insecure_channel(f"unix:{tmp_path}/s") as channel:
            database = ProtoReflectionDescriptorDatabase(channel)
            assert sorted(database.get_services()) == SERVICES
            pool = descriptor_pool.DescriptorPool(database)
            for name in SERVICES:
                assert pool.FindServiceByName(name).methods
            predict = pool.FindServiceByName("tensorflow.serving.PredictionService").methods_by_name
            assert sorted(predict) == [
                "Classify",
                "GetModelMetadata",
                "MultiInference",
                "Predict",
                "Regress",
            ]
            kind = message_factory.GetMessageClass(predict["Predict"].input_type)
            request = kind()
            request.model_spec.version.value = 2**63 - 1
            request.inputs["x"].float_val.append(1.5)
            call = channel.unary_unary("/tensorflow.serving.PredictionService/Predict")
            assert kind.FromString(call(request.SerializeToString(), timeout=30)) == request
            signature = pool.FindMessageTypeByName("tensorflow.serving.SignatureDefMap")
            assert signature.file.name == "tensorflow_serving/apis/get_model_metadata.proto"
            with pytest.raises(KeyError):
                database.FindFileByName("no.proto")
            with pytest.raises(KeyError):
                database.FindFileContainingSymbol("tensorflow.serving.Nothing")
            assert database.FindFileContainingExtension("tensorflow.TensorProto", 5) is None
            assert list(database.FindAllExtensionNumbers("tensorflow.TensorProto")) == []
            with pytest.raises(KeyError):
                database.FindAllExtensionNumbers("tensorflow.serving.Nothing")

    async def work(server: GrpcServer, channel: grpc.aio.Channel) -> None:
        await asyncio.to_thread(learn)

    with_server(work, tmp_path, methods=METHODS)


def ask(channel: grpc.aio.Channel, method: str, **metadata: Any) -> Any:
    return channel.stream_stream(
        method,
        request_serializer=reflection_pb2.ServerReflectionRequest.SerializeToString,
        response_deserializer=reflection_pb2.ServerReflectionResponse.FromString,
    )(**metadata)


@pytest.mark.parametrize("method", REFLECTION_METHODS)
def test_both_versions_answer_one_request_after_the_other(method: str, tmp_path: Path) -> None:
    request = reflection_pb2.ServerReflectionRequest

    async def work(server: GrpcServer, channel: grpc.aio.Channel) -> None:
        call = ask(channel, method)
        await call.write(request(list_services="*", host="h"))
        answer = await call.read()
        assert [one.name for one in answer.list_services_response.service] == SERVICES
        assert (answer.valid_host, answer.original_request.list_services) == ("h", "*")
        for symbol in (
            "tensorflow.serving.PredictRequest",
            "tensorflow.serving.PredictRequest.inputs",
            "tensorflow.serving.PredictionService.Predict",
            "tensorflow.DataType",
            "tensorflow.DT_FLOAT",
            "tensorflow.serving.ModelVersionStatus.State",
        ):
            await call.write(request(file_containing_symbol=symbol))
            files = (await call.read()).file_descriptor_response.file_descriptor_proto
            assert files, symbol
            names = [descriptor_pb2.FileDescriptorProto.FromString(file).name for file in files]
            assert len(set(names)) == len(names)
        await call.write(request(file_by_filename="no.proto"))
        error = (await call.read()).error_response
        assert (error.error_code, error.error_message) == (
            5,
            "No file of this server describes no.proto",
        )
        await call.write(request())
        error = (await call.read()).error_response
        assert (error.error_code, error.error_message) == (3, "The request asks for nothing")
        await call.done_writing()
        assert await call.read() is grpc.aio.EOF

    with_server(work, tmp_path, methods=METHODS)


def test_what_is_no_request(tmp_path: Path) -> None:
    async def work(server: GrpcServer, channel: grpc.aio.Channel) -> None:
        call = channel.stream_stream(REFLECTION_METHODS[0])()
        await call.write(b"\xff")
        assert await refused(call.read()) == (
            "INTERNAL",
            "The request is not a valid ServerReflectionRequest",
        )

    with_server(work, tmp_path, methods=METHODS)


@pytest.mark.parametrize("method", REFLECTION_METHODS)
def test_the_token_is_asked_for(method: str, tmp_path: Path) -> None:
    request = reflection_pb2.ServerReflectionRequest(list_services="")

    async def work(server: GrpcServer, channel: grpc.aio.Channel) -> None:
        for metadata in ((), (("authorization", "Bearer no"),), (("x-workbench-token", "no"),)):
            call = ask(channel, method, metadata=metadata)
            assert await refused(call.read()) == ("UNAUTHENTICATED", NEEDS_TOKEN)
        for metadata in (
            (("authorization", "Bearer secret"),),
            (("x-workbench-token", "secret"),),
        ):
            call = ask(channel, method, metadata=metadata)
            await call.write(request)
            assert len((await call.read()).list_services_response.service) == len(SERVICES)
            call.cancel()

    with_server(work, tmp_path, token="secret", methods=METHODS)
