"""TensorFlow Serving's messages, declared at run time, so that nothing here needs TensorFlow.

The wire format is the original's: a client's generated stubs understand it. The descriptors
live in a pool of our own under file names of our own, so that a process may import
TensorFlow's or TensorFlow Serving's generated modules beside them.

Where the server only hands a message on (an example, a signature), its field is declared as
`bytes`, which is the same on the wire.
"""

from __future__ import annotations

import re
from typing import Any

from google.protobuf import descriptor_pb2, descriptor_pool, message_factory

_SCHEMA = """
package google.protobuf
message Int64Value: int64 value = 1
message BoolValue: bool value = 1
message StringValue: string value = 1
message Any: string type_url = 1; bytes value = 2

package tensorflow.serving
message ModelSpec:
  string name = 1; oneof version_choice { .google.protobuf.Int64Value version = 2;
  string version_label = 4 } string signature_name = 3

message ExampleList: repeated bytes examples = 1
message ExampleListWithContext: repeated bytes examples = 1; bytes context = 2
message Input: oneof kind { ExampleList example_list = 1;
  ExampleListWithContext example_list_with_context = 2 }

message Class: string label = 1; float score = 2
message Classifications: repeated Class classes = 1
message ClassificationResult: repeated Classifications classifications = 1
message ClassificationRequest: ModelSpec model_spec = 1; Input input = 2
message ClassificationResponse: ClassificationResult result = 1; ModelSpec model_spec = 2
message Regression: float value = 1
message RegressionResult: repeated Regression regressions = 1
message RegressionRequest: ModelSpec model_spec = 1; Input input = 2
message RegressionResponse: RegressionResult result = 1; ModelSpec model_spec = 2
message InferenceTask: ModelSpec model_spec = 1; string method_name = 2
message InferenceResult: ModelSpec model_spec = 1; oneof result {
  ClassificationResult classification_result = 2; RegressionResult regression_result = 3 }
message MultiInferenceRequest: repeated InferenceTask tasks = 1; Input input = 2
message MultiInferenceResponse: repeated InferenceResult results = 1

message GetModelMetadataRequest: ModelSpec model_spec = 1; repeated string metadata_field = 2
message GetModelMetadataResponse:
  ModelSpec model_spec = 1; map string .google.protobuf.Any metadata = 2

message StatusProto: int32 error_code = 1; string error_message = 2
message GetModelStatusRequest: ModelSpec model_spec = 1
message ModelVersionStatus: int64 version = 1; int32 state = 2; StatusProto status = 3
message GetModelStatusResponse: repeated ModelVersionStatus model_version_status = 1

enum ModelType: MODEL_TYPE_UNSPECIFIED = 0; TENSORFLOW = 1; OTHER = 2
message Latest: uint32 num_versions = 1
message All:
message Specific: repeated int64 versions = 1
message ServableVersionPolicy:
  oneof policy_choice { Latest latest = 100; All all = 101; Specific specific = 102 }
message SamplingConfig: double sampling_rate = 1
message LogCollectorConfig: string type = 1; string filename_prefix = 2
message LoggingConfig: LogCollectorConfig log_collector_config = 1;
  SamplingConfig sampling_config = 2
message ModelConfig:
  string name = 1; string base_path = 2; enum ModelType model_type = 3;
  string model_platform = 4; ServableVersionPolicy model_version_policy = 7;
  map string int64 version_labels = 8; LoggingConfig logging_config = 6
message ModelConfigList: repeated ModelConfig config = 1
message ModelServerConfig: oneof config { ModelConfigList model_config_list = 1;
  .google.protobuf.Any custom_model_config = 2 }
message ReloadConfigRequest: ModelServerConfig config = 1; repeated string metric_names = 2
message Metric: string name = 1; oneof value_increase { int64 int64_value_increase = 2 }
message ReloadConfigResponse: StatusProto status = 1; repeated Metric metric = 2

message BatchingParameters:
  .google.protobuf.Int64Value max_batch_size = 1;
  .google.protobuf.Int64Value batch_timeout_micros = 2;
  .google.protobuf.Int64Value max_enqueued_batches = 3;
  .google.protobuf.Int64Value num_batch_threads = 4;
  .google.protobuf.StringValue thread_pool_name = 5; repeated int64 allowed_batch_sizes = 6;
  bool pad_variable_length_inputs = 7;
  .google.protobuf.BoolValue enable_large_batch_splitting = 8;
  .google.protobuf.Int64Value max_execution_batch_size = 9
message PrometheusConfig: bool enable = 1; string path = 2
message MonitoringConfig: PrometheusConfig prometheus_config = 1
message SSLConfig: string server_key = 1; string server_cert = 2; string custom_ca = 3;
  bool client_verify = 4

package grpc.health.v1
message HealthCheckRequest: string service = 1
message HealthCheckResponse: int32 status = 1

package grpc.reflection.v1
message ExtensionRequest: string containing_type = 1; int32 extension_number = 2
message ServerReflectionRequest: string host = 1; oneof message_request {
  string file_by_filename = 3; string file_containing_symbol = 4;
  ExtensionRequest file_containing_extension = 5; string all_extension_numbers_of_type = 6;
  string list_services = 7 }
message FileDescriptorResponse: repeated bytes file_descriptor_proto = 1
message ExtensionNumberResponse: string base_type_name = 1; repeated int32 extension_number = 2
message ServiceResponse: string name = 1
message ListServiceResponse: repeated ServiceResponse service = 1
message ErrorResponse: int32 error_code = 1; string error_message = 2
message ServerReflectionResponse: string valid_host = 1;
  ServerReflectionRequest original_request = 2; oneof message_response {
  FileDescriptorResponse file_descriptor_response = 4;
  ExtensionNumberResponse all_extension_numbers_response = 5;
  ListServiceResponse list_services_response = 6; ErrorResponse error_response = 7 }
"""
_DECLARATION = re.compile(r"^(message|enum) (\w+):(.*?)(?=^(?:message|enum) |\Z)", re.M | re.S)
_FIELD = re.compile(
    r"(oneof) (\w+) \{|(\})|(?:(map) (\w+) |(repeated|enum) )?([\w.]+) (\w+) = (\d+)"
)
_VALUE = re.compile(r"(\w+) = (\d+)")
_F = descriptor_pb2.FieldDescriptorProto
_SCALARS = dict(_F.Type.items())


def _declare(pool: descriptor_pool.DescriptorPool) -> None:
    """Add the schema above to a pool, one file for each package."""
    files: list[str] = []
    for section in _SCHEMA.split("\npackage ")[1:]:
        package, _, body = section.partition("\n")
        file = descriptor_pb2.FileDescriptorProto(
            name=f"workbench/{package}.proto", package=package, syntax="proto3", dependency=files
        )
        for kind, name, text in _DECLARATION.findall(body):
            if kind == "enum":
                enum = file.enum_type.add(name=name)
                for value, number in _VALUE.findall(text):
                    enum.value.add(name=value, number=int(number))
            else:
                _add_fields(file.message_type.add(name=name), text, package)
        pool.Add(file)
        files.append(file.name)


def _add_fields(message: descriptor_pb2.DescriptorProto, text: str, package: str) -> None:
    inside_oneof = False
    for oneof, oneof_name, closed, mapped, key, how, type_name, name, number in _FIELD.findall(
        text
    ):
        if oneof:
            message.oneof_decl.add(name=oneof_name)
        if oneof or closed:
            inside_oneof = bool(oneof)
            continue
        if mapped:
            entry = message.nested_type.add(name=name.title().replace("_", "") + "Entry")
            entry.options.map_entry = True
            _set_type(entry.field.add(name="key", number=1, label=_F.LABEL_OPTIONAL), key, package)
            value = entry.field.add(name="value", number=2, label=_F.LABEL_OPTIONAL)
            _set_type(value, type_name, package)
            type_name = f".{package}.{message.name}.{entry.name}"
        field = message.field.add(name=name, number=int(number))
        _set_type(field, type_name, package, is_enum=how == "enum")
        field.label = _F.LABEL_REPEATED if mapped or how == "repeated" else _F.LABEL_OPTIONAL
        if inside_oneof:
            field.oneof_index = len(message.oneof_decl) - 1


def _set_type(
    field: descriptor_pb2.FieldDescriptorProto, name: str, package: str, is_enum: bool = False
) -> None:
    scalar = _SCALARS.get(f"TYPE_{name.upper()}")
    if scalar is not None:
        field.type = scalar
        return
    field.type = _F.TYPE_ENUM if is_enum else _F.TYPE_MESSAGE
    field.type_name = name if name.startswith(".") else f".{package}.{name}"


_POOL = descriptor_pool.DescriptorPool()
_declare(_POOL)


def message_class(name: str) -> Any:
    """The class of a message by its name, `tensorflow.serving.` left out.

    Raises:
        KeyError: there is no such message.
    """
    full = name if "." in name else f"tensorflow.serving.{name}"
    return message_factory.GetMessageClass(_POOL.FindMessageTypeByName(full))
