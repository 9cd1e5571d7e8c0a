"""The files that describe the gRPC services, gathered from the packages that they come with.

`python -m tests.server.front.grpc.grpc_descriptor_files` writes `grpc_descriptors.binpb` anew,
which lies in `workbench/server/front/grpc`.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from google.protobuf import descriptor_pb2, text_format

import workbench.server.front.grpc

PATH = Path(workbench.server.front.grpc.__path__[0]) / "grpc_descriptors.binpb"

_HEALTH = """
name: "grpc/health/v1/health.proto" package: "grpc.health.v1" syntax: "proto3"
message_type {
  name: "HealthCheckRequest"
  field { name: "service" number: 1 label: LABEL_OPTIONAL type: TYPE_STRING json_name: "service" }
}
message_type {
  name: "HealthCheckResponse"
  field {
    name: "status" number: 1 label: LABEL_OPTIONAL type: TYPE_ENUM json_name: "status"
    type_name: ".grpc.health.v1.HealthCheckResponse.ServingStatus"
  }
  enum_type {
    name: "ServingStatus"
    value { name: "UNKNOWN" number: 0 } value { name: "SERVING" number: 1 }
    value { name: "NOT_SERVING" number: 2 } value { name: "SERVICE_UNKNOWN" number: 3 }
  }
}
service {
  name: "Health"
  method {
    name: "Check" input_type: ".grpc.health.v1.HealthCheckRequest"
    output_type: ".grpc.health.v1.HealthCheckResponse"
  }
  method {
    name: "Watch" input_type: ".grpc.health.v1.HealthCheckRequest"
    output_type: ".grpc.health.v1.HealthCheckResponse" server_streaming: true
  }
}
"""


def gather() -> dict[str, Any]:
    """`FileDescriptorProto`s by file name, each after those that it imports."""
    from grpc_reflection.v1alpha import reflection_pb2
    from tensorflow_serving.apis import model_service_pb2, prediction_service_pb2

    files: dict[str, Any] = {}

    def add(file: Any) -> None:
        if file.name in files:
            return
        for imported in file.dependencies:
            add(imported)
        files[file.name] = proto = descriptor_pb2.FileDescriptorProto()
        file.CopyToProto(proto)

    add(prediction_service_pb2.DESCRIPTOR)
    add(model_service_pb2.DESCRIPTOR)
    health = text_format.Parse(_HEALTH, descriptor_pb2.FileDescriptorProto())
    files[health.name] = health
    proto = descriptor_pb2.FileDescriptorProto()
    reflection_pb2.DESCRIPTOR.CopyToProto(proto)
    for version in ("v1alpha", "v1"):
        text = text_format.MessageToString(proto)
        text = text.replace("grpc.reflection.v1alpha", f"grpc.reflection.{version}")
        one = text_format.Parse(text, descriptor_pb2.FileDescriptorProto())
        one.name = f"grpc/reflection/{version}/reflection.proto"
        files[one.name] = one
    return files


if __name__ == "__main__":
    gathered = descriptor_pb2.FileDescriptorSet(file=gather().values())
    PATH.write_bytes(gathered.SerializeToString(deterministic=True))
