"""TensorFlow Serving's gRPC interface, called with the stubs of its own client package."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.conformance.conftest import Call
from tests.conformance.grpc_client import GrpcClient
from tests.conformance.model_server import ModelServer, config_text, entry, put

_SPEC = "model_spec {{ name: '{}' signature_name: '{}' }}"


def floats(name: str, *values: float, shape: str | None = None) -> str:
    dims = f"dim {{ size: {len(values)} }}" if shape is None else shape
    return (
        f"inputs {{ key: '{name}' value {{ dtype: DT_FLOAT tensor_shape {{ {dims} }} "
        f"float_val: {list(values)} }} }}"
    )


def spec(model: str, version: int, signature: str = "serving_default") -> dict[str, Any]:
    return {"name": model, "version": str(version), "signature_name": signature}


def vector(dtype: str, field: str, values: list[Any]) -> dict[str, Any]:
    size = len(values) // (2 if "COMPLEX" in dtype else 1)
    return {"dtype": dtype, "tensor_shape": {"dim": [{"size": str(size)}]}, field: values}


# Models.


def test_two_versions_and_a_label(call: Call) -> None:
    for chosen, version, answer in (
        ("", 2, [3.5, 4.0]),
        ("version { value: 1 }", 1, [2.5, 3.0]),
        ("version_label: 'stable'", 1, [2.5, 3.0]),
    ):
        request = f"model_spec {{ name: 'half' {chosen} }}" + floats("x", 1, 2)
        assert call("Predict", request) == {
            "outputs": {"y": vector("DT_FLOAT", "float_val", answer)},
            "model_spec": spec("half", version),
        }


def test_counter_keeps_its_state_and_takes_no_inputs(call: Call) -> None:
    def ask(signature: str, inputs: str = "") -> Any:
        answer = call("Predict", _SPEC.format("counter", signature) + inputs)
        assert answer["model_spec"] == spec("counter", 1, signature)
        return answer["outputs"]["output"]

    scalar = {"dtype": "DT_FLOAT", "tensor_shape": {}}
    assert ask("reset_counter") == {**scalar, "float_val": [0.0]}
    assert ask("incr_counter") == {**scalar, "float_val": [1.0]}
    assert ask("incr_counter_by", floats("delta", 4, shape="")) == {**scalar, "float_val": [5.0]}
    assert ask("get_counter") == {**scalar, "float_val": [5.0]}


def test_strings_in_and_out(call: Call) -> None:
    request = _SPEC.format("text", "") + (
        "inputs { key: 'x' value { dtype: DT_STRING tensor_shape { dim { size: 2 } } "
        "string_val: 'ab' string_val: 'c' } }"
    )
    assert call("Predict", request)["outputs"] == {
        "upper": vector("DT_STRING", "string_val", ["QUI=", "Qw=="]),
        "length": vector("DT_INT32", "int_val", [2, 1]),
    }


def test_several_inputs_and_outputs_and_a_filter(call: Call) -> None:
    inputs = floats("a", 1, 2, shape="dim { size: 1 } dim { size: 2 }") + (
        "inputs { key: 'b' value { dtype: DT_INT32 tensor_shape { dim { size: 1 } } int_val: -3 } }"
    )
    total = {
        "dtype": "DT_FLOAT",
        "tensor_shape": {"dim": [{"size": "1"}, {"size": "2"}]},
        "float_val": [-2.0, -1.0],
    }
    request = _SPEC.format("multi", "") + inputs
    assert call("Predict", request)["outputs"] == {
        "sum": total,
        "product": vector("DT_DOUBLE", "double_val", [-3.0]),
    }
    assert call("Predict", request + "output_filter: 'sum'")["outputs"] == {"sum": total}


def test_a_lookup_table_with_an_asset(call: Call) -> None:
    request = _SPEC.format("lookup", "") + (
        "inputs { key: 'words' value { dtype: DT_STRING tensor_shape { dim { size: 2 } } "
        "string_val: 'workbench' string_val: 'nothing' } }"
    )
    assert call("Predict", request)["outputs"] == {
        "ids": vector("DT_INT64", "int64_val", ["1", "-1"])
    }


def test_an_input_with_a_default_may_be_left_out(call: Call) -> None:
    request = _SPEC.format("defaults", "") + floats(
        "a", 1, 2, shape="dim { size: 1 } dim { size: 2 }"
    )
    assert call("Predict", request)["outputs"]["sum"]["float_val"] == [8.0, 9.0]


_VALUES: dict[str, tuple[str, str, list[Any]]] = {
    "float": ("float_val", "float_val: [1.5, -2]", [1.5, -2.0]),
    "double": ("double_val", "double_val: [1e300, -2]", [1e300, -2.0]),
    "half": ("half_val", "half_val: [15360, 49152]", [15360, 49152]),
    "bfloat16": ("half_val", "half_val: [16256, 49152]", [16256, 49152]),
    "int8": ("int_val", "int_val: [-128, 127]", [-128, 127]),
    "int16": ("int_val", "int_val: [-32768, 300]", [-32768, 300]),
    "int32": ("int_val", "int_val: [-2147483648, 7]", [-2147483648, 7]),
    "int64": (
        "int64_val",
        "int64_val: [-9223372036854775808, 9]",
        ["-9223372036854775808", "9"],
    ),
    "uint8": ("int_val", "int_val: [255, 300]", [255, 44]),
    "uint16": ("int_val", "int_val: [65535, 1]", [65535, 1]),
    "uint32": ("uint32_val", "uint32_val: [4294967295, 1]", [4294967295, 1]),
    "uint64": (
        "uint64_val",
        "uint64_val: [18446744073709551615, 1]",
        ["18446744073709551615", "1"],
    ),
    "int4": ("int_val", "int_val: [-8, 7]", [-8, 7]),
    "uint4": ("int_val", "int_val: [15, 1]", [15, 1]),
    "bool": ("bool_val", "bool_val: [true, false]", [True, False]),
    "complex64": ("scomplex_val", "scomplex_val: [1, 2, 3, -4]", [1.0, 2.0, 3.0, -4.0]),
    "complex128": ("dcomplex_val", "dcomplex_val: [1, 2, 3, -4]", [1.0, 2.0, 3.0, -4.0]),
    "string": ("string_val", "string_val: '\\377' string_val: ''", ["/w==", ""]),
}


@pytest.mark.parametrize("dtype", _VALUES)
def test_every_dtype_comes_back_in_its_typed_field(call: Call, dtype: str) -> None:
    field, given, expected = _VALUES[dtype]
    request = _SPEC.format("identity", dtype) + (
        f"inputs {{ key: 'x' value {{ dtype: DT_{dtype.upper()} "
        f"tensor_shape {{ dim {{ size: 2 }} }} {given} }} }}"
    )
    assert call("Predict", request)["outputs"] == {
        "y": vector(f"DT_{dtype.upper()}", field, expected)
    }


@pytest.mark.parametrize(
    ("given", "answer"),
    [
        ("tensor_shape { dim { size: 3 } } float_val: 7", [7.0, 7.0, 7.0]),
        ("tensor_shape { dim { size: 3 } } float_val: [1, 2]", [1.0, 2.0, 2.0]),
        ("tensor_shape { dim { size: 2 } } float_val: [1, 2, 3]", [1.0, 2.0]),
        ("tensor_shape { dim { size: 2 } }", [0.0, 0.0]),
        ("tensor_shape { dim { size: 1 } } tensor_content: '\\000\\000\\200\\077'", [1.0]),
    ],
)
def test_how_many_values_a_tensor_has(call: Call, given: str, answer: list[float]) -> None:
    request = _SPEC.format("identity", "float") + (
        f"inputs {{ key: 'x' value {{ dtype: DT_FLOAT {given} }} }}"
    )
    assert call("Predict", request)["outputs"] == {"y": vector("DT_FLOAT", "float_val", answer)}


def test_shapes_are_the_models_business_not_the_signatures(call: Call) -> None:
    request = _SPEC.format("identity", "float") + floats("x", 1, 2, 3, 4,
        shape="dim { size: 2 } dim { size: 2 }")  # fmt: skip
    assert call("Predict", request)["outputs"]["y"]["float_val"] == [1.0, 2.0, 3.0, 4.0]


# Refusals.


@pytest.mark.parametrize(
    ("request_text", "refusal"),
    [
        ("", ["INVALID_ARGUMENT", "Missing ModelSpec"]),
        ("model_spec { }", ["INVALID_ARGUMENT", "ModelSpec has no name specified."]),
        ("model_spec { name: 'none' }",
         ["NOT_FOUND", "Servable not found for request: Latest(none)"]),
        ("model_spec { name: 'half' version { value: 5 } }",
         ["NOT_FOUND", "Servable not found for request: Specific(half, 5)"]),
        ("model_spec { name: 'half' version_label: 'canary' }",
         ["INVALID_ARGUMENT", "Unrecognized servable version label: canary"]),
        (_SPEC.format("half", "no"),
         ["FAILED_PRECONDITION", 'Serving signature key "no" not found.']),
        (_SPEC.format("half", ""),
         ["INVALID_ARGUMENT", "input size does not match signature: 0!=1 len({}) != len({x}). "
          "Sent extra: {}. Missing but required: {x}."]),
        (_SPEC.format("half", "") + floats("x", 1) + floats("z", 1),
         ["INVALID_ARGUMENT", "input size does not match signature: 2!=1 len({x,z}) != len({x}). "
          "Sent extra: {z}. Missing but required: {}."]),
        (_SPEC.format("half", "") + floats("key", 1),
         ["INVALID_ARGUMENT", "Signature input alias: x(feed name: x:0) not found in request and "
          "no default value provided. Inputs expected to be in the request {key}, or default "
          "input alias set: "]),
        (_SPEC.format("defaults", "") + floats("a", 1, 2) + floats("c", 1),
         ["INVALID_ARGUMENT",
          "Inputs contains invalid name. Used request inputs: a, request input: a,c"]),
        (_SPEC.format("half", "") + "inputs { key: 'x' value { } }",
         ["INVALID_ARGUMENT", "tensor parsing error: x"]),
        (_SPEC.format("half", "") + "inputs { key: 'x' value { dtype: DT_FLOAT tensor_shape { "
         "dim { size: 2 } } tensor_content: 'abc' } }",
         ["INVALID_ARGUMENT", "tensor parsing error: x"]),
        (_SPEC.format("half", "") + floats("x", 1) + "output_filter: 'z'",
         ["INVALID_ARGUMENT", "output tensor alias not found in signature: z Outputs expected to "
          "be in the set {y}."]),
        (_SPEC.format("half", "") + floats("x", 1) + "output_filter: 'y' output_filter: 'y'",
         ["INVALID_ARGUMENT", "duplicate output tensor alias: y"]),
        (_SPEC.format("half", "") + "inputs { key: 'x' value { dtype: DT_STRING tensor_shape { "
         "dim { size: 1 } } string_val: 'a' } }",
         ["INVALID_ARGUMENT", "Expects arg[0] to be float but string is provided"]),
    ],
)  # fmt: skip
def test_predict_refusals(call: Call, request_text: str, refusal: list[str]) -> None:
    assert call("Predict", request_text) == refusal


def test_long_error_texts_are_cut(call: Call) -> None:
    name = "n" * 2000
    text = f'Serving signature key "{name}" not found.'
    assert call("Predict", _SPEC.format("half", name)) == [
        "FAILED_PRECONDITION",
        text[:1024] + "...TRUNCATED",
    ]


def test_a_deadline_is_kept(call: Call) -> None:
    slow = (
        _SPEC.format("slow", "")
        + floats("x", 1)
        + (
            "inputs { key: 'steps' value { dtype: DT_INT32 tensor_shape { dim { size: 1 } } "
            "int_val: 1000000 } }"
        )
    )
    code, _ = call("Predict", slow.replace("1000000", "4000"), timeout=0.2)
    assert code == "DEADLINE_EXCEEDED"


# Classify, Regress, MultiInference.

_EXAMPLE = "examples { features { feature { key: 'x' value { float_list { value: %s } } } } } "
_TWO = f"input {{ example_list {{ {_EXAMPLE % 1} {_EXAMPLE % 4} }} }}"


def test_classify(call: Call) -> None:
    assert call("Classify", _SPEC.format("half", "classify_x_to_y") + _TWO) == {
        "result": {
            "classifications": [
                {"classes": [{"score": 3.5}]},
                {"classes": [{"score": 5.0}]},
            ]
        },
        "model_spec": spec("half", 2, "classify_x_to_y"),
    }


def test_regress_with_a_context(call: Call) -> None:
    context = _EXAMPLE.replace("examples", "context") % 6
    request = _SPEC.format("half", "regress_x_to_y") + (
        f"input {{ example_list_with_context {{ {_EXAMPLE % 1} examples {{ }} {context} }} }}"
    )
    assert call("Regress", request) == {
        "result": {"regressions": [{"value": 3.5}, {"value": 6.0}]},
        "model_spec": spec("half", 2, "regress_x_to_y"),
    }


@pytest.mark.parametrize(
    ("method", "request_text", "refusal"),
    [
        ("Classify", _TWO, ["INVALID_ARGUMENT", "Missing ModelSpec"]),
        ("Classify", _SPEC.format("half", "no") + _TWO,
         ["INVALID_ARGUMENT", "No signature was found with the name: no"]),
        ("Regress", _SPEC.format("counter", "get_counter") + _TWO,
         ["INVALID_ARGUMENT", "Expected one input Tensor."]),
        ("Regress", _SPEC.format("text", "") + _TWO,
         ["INVALID_ARGUMENT", "Expected one output Tensor."]),
        ("Classify", _SPEC.format("half", "classify_x_to_y"),
         ["INVALID_ARGUMENT", "Input is empty."]),
    ],
)  # fmt: skip
def test_example_refusals(call: Call, method: str, request_text: str, refusal: Any) -> None:
    assert call(method, request_text) == refusal


def test_classify_of_other_inputs_names_the_signature(call: Call) -> None:
    code, text = call("Classify", _SPEC.format("half", "") + _TWO)
    assert code == "INVALID_ARGUMENT"
    assert text.startswith("No classification inputs found in SignatureDef: ")


def task(signature: str, method: str, model: str = "half") -> str:
    return f"tasks {{ {_SPEC.format(model, signature)} method_name: '{method}' }}"


_CLASSIFY, _REGRESS = "tensorflow/serving/classify", "tensorflow/serving/regress"


def test_multi_inference(call: Call) -> None:
    request = task("regress_x_to_y", _REGRESS) + task("classify_x_to_y", _CLASSIFY) + _TWO
    assert call("MultiInference", request) == {
        "results": [
            {
                "model_spec": spec("half", 2, "regress_x_to_y"),
                "regression_result": {"regressions": [{"value": 3.5}, {"value": 5.0}]},
            },
            {
                "model_spec": spec("half", 2, "classify_x_to_y"),
                "classification_result": {
                    "classifications": [
                        {"classes": [{"score": 3.5}]},
                        {"classes": [{"score": 5.0}]},
                    ]
                },
            },
        ]
    }


@pytest.mark.parametrize(
    ("tasks", "refusal"),
    [
        (task("regress_x_to_y", _REGRESS) + task("regress_x_to_y", _REGRESS, "other"),
         ["INVALID_ARGUMENT", "All ModelSpecs in a MultiInferenceRequest must access the same "
          "model name."]),
        (task("regress_x_to_y", _REGRESS) * 2,
         ["INVALID_ARGUMENT", "Duplicate evaluation of signature: regress_x_to_y"]),
        (task("no", _REGRESS),
         ["INVALID_ARGUMENT", "Requested signature not found in model graph: no"]),
        (task("regress_x_to_y", "tensorflow/serving/predict"),
         ["UNIMPLEMENTED", "Unsupported signature method_name: tensorflow/serving/predict"]),
    ],
)  # fmt: skip
def test_multi_inference_refusals(call: Call, tasks: str, refusal: Any) -> None:
    assert call("MultiInference", tasks + _TWO) == refusal


# About models.


def test_metadata(call: Call) -> None:
    answer = call("GetModelMetadata", "model_spec { name: 'half' } metadata_field: 'signature_def'")
    assert answer["model_spec"] == {"name": "half", "version": "2"}
    assert list(answer["metadata"]) == ["signature_def"]
    packed = answer["metadata"]["signature_def"]
    assert packed["@type"] == "type.googleapis.com/tensorflow.serving.SignatureDefMap"
    assert packed["signature_def"]["serving_default"] == {
        "inputs": {
            "x": {
                "name": "x:0",
                "dtype": "DT_FLOAT",
                "tensor_shape": {"dim": [{"size": "-1"}]},
            }
        },
        "outputs": {
            "y": {
                "name": "y:0",
                "dtype": "DT_FLOAT",
                "tensor_shape": {"dim": [{"size": "-1"}]},
            }
        },
        "method_name": "tensorflow/serving/predict",
    }


def test_metadata_tells_defaults(call: Call) -> None:
    answer = call(
        "GetModelMetadata", "model_spec { name: 'defaults' } metadata_field: 'signature_def'"
    )
    signature = answer["metadata"]["signature_def"]["signature_def"]["serving_default"]
    assert signature["defaults"] == {"b": vector("DT_INT32", "int_val", [7])}


@pytest.mark.parametrize(
    ("request_text", "refusal"),
    [
        ("model_spec { name: 'half' }",
         ["INVALID_ARGUMENT",
          "GetModelMetadataRequest must specify at least one metadata_field"]),
        ("model_spec { name: 'half' } metadata_field: 'x'",
         ["INVALID_ARGUMENT", "Metadata field x is not supported"]),
        ("metadata_field: 'signature_def'", ["INVALID_ARGUMENT", "Missing ModelSpec"]),
        ("model_spec { name: 'none' } metadata_field: 'signature_def'",
         ["NOT_FOUND", "Servable not found for request: Latest(none)"]),
    ],
)  # fmt: skip
def test_metadata_refusals(call: Call, request_text: str, refusal: Any) -> None:
    assert call("GetModelMetadata", request_text) == refusal


def test_status(call: Call) -> None:
    one = {"version": "1", "state": "AVAILABLE", "status": {}}
    both = {"model_version_status": [{**one, "version": "2"}, one]}
    assert call("GetModelStatus", "model_spec { name: 'half' }") == both
    assert call("GetModelStatus", "model_spec { name: 'half' version { value: 1 } }") == {
        "model_version_status": [one]
    }
    assert call("GetModelStatus", "model_spec { name: 'half' version_label: 'no' }") == both
    assert call("GetModelStatus", "model_spec { name: 'half' version { value: 9 } }") == [
        "NOT_FOUND",
        "Could not find version 9 of model half",
    ]
    assert call("GetModelStatus", "model_spec { name: 'none' }") == [
        "NOT_FOUND",
        "Could not find any versions of model none",
    ]


# The server.


def test_a_message_of_any_size(call: Call) -> None:
    count = 3_000_000
    request = _SPEC.format("identity", "float") + (
        f"inputs {{ key: 'x' value {{ dtype: DT_FLOAT tensor_shape {{ dim {{ size: {count} }} }} "
        "float_val: 1 } }"
    )
    answer = call("Predict", request + "output_filter: 'y'")
    assert answer["outputs"]["y"]["tensor_shape"] == {"dim": [{"size": str(count)}]}
    assert answer["outputs"]["y"]["float_val"] == [1.0] * count


def test_a_unix_socket(all_models: tuple[ModelServer, Path], grpc_client: GrpcClient) -> None:
    _, folder = all_models
    answer = grpc_client.call(
        f"unix:{folder}/grpc.sock", "Predict", _SPEC.format("half", "") + floats("x", 2)
    )
    assert answer["outputs"] == {"y": vector("DT_FLOAT", "float_val", [4.0])}


# Reloading.


def reload(*entries: str) -> str:
    return f"config {{ {config_text(*entries)} }}"


def test_reload_replaces_all_models_and_a_refusal_leaves_no_trace(
    models: Path, tmp_path: Path, start: Any, grpc_client: GrpcClient
) -> None:
    a, b = tmp_path / "a", tmp_path / "b"
    put(models / "half_plus_two", a, 1)
    put(models / "half_plus_three", b, 3)
    server = start("--model_name=a", f"--model_base_path={a}")
    server.wait_for("Running gRPC ModelServer")

    def call(method: str, request: str) -> Any:
        return grpc_client.call(server.address, method, request)

    def loaded(model: str) -> Any:
        return call("Predict", _SPEC.format(model, "") + floats("x", 2))

    bad = "config { name: 'c' base_path: '/c' }"
    neither = (
        "Illegal setting neither ModelServerConfig::model_type (deprecated) nor "
        "ModelServerConfig::model_platform, model name is c"
    )
    assert call("HandleReloadConfigRequest", reload(bad)) == ["INVALID_ARGUMENT", neither]
    assert call("HandleReloadConfigRequest", "") == [
        "INVALID_ARGUMENT",
        "ServerModelConfig type not supported by HandleReloadConfigRequest. Only ModelConfigList "
        "is currently supported",
    ]
    assert call("HandleReloadConfigRequest", reload(entry("a", a), entry("a", a))) == [
        "INVALID_ARGUMENT",
        "Illegal to list model a multiple times in config list",
    ]
    assert call("HandleReloadConfigRequest", reload(entry("a", Path("rel")))) == [
        "INVALID_ARGUMENT",
        "Expected model a to have an absolute path or URI; got base_path()=rel",
    ]
    assert call(
        "HandleReloadConfigRequest",
        reload(entry("a", a, "version_labels { key: 'x' value: 9 }")),
    ) == [
        "FAILED_PRECONDITION",
        "Request to assign label to version 9 of model a, which is not currently available for "
        "inference",
    ]
    assert loaded("a")["outputs"]["y"]["float_val"] == [3.0]
    # A label and its version in one go.
    labelled = entry("b", b, "version_labels { key: 'new' value: 3 }")
    assert call("HandleReloadConfigRequest", reload(labelled)) == {"status": {}}
    assert loaded("b")["model_spec"] == spec("b", 3)
    assert loaded("a") == ["NOT_FOUND", "Servable not found for request: Latest(a)"]
    # A folder without versions is told, and holds up nobody.
    empty = tmp_path / "empty"
    empty.mkdir()
    assert call("HandleReloadConfigRequest", reload(labelled, entry("e", empty))) == [
        "UNKNOWN",
        "1 model(s) did not become available: {{{name: e} due to error: NOT_FOUND: No versions of "
        f"servable e found under base path {empty}. Did you forget to name your leaf directory "
        "as a number (eg. '/1/')?}, }",
    ]
    put(models / "half_plus_two", empty, 7)
    server.wait_for("Successfully loaded servable version {name: e version: 7}")
    # A model that cannot be loaded is told with its reason, and the others serve on.
    broken = tmp_path / "broken"
    put(models / "bad_graph", broken, 1)
    code, text = call("HandleReloadConfigRequest", reload(labelled, entry("x", broken)))
    assert code == "UNKNOWN"
    assert text.startswith(
        "1 model(s) did not become available: {{{name: x version: 1} due to error: "
    )
    assert loaded("b")["model_spec"] == spec("b", 3)


def test_a_token_is_asked_for(
    models: Path, tmp_path: Path, start: Any, grpc_client: GrpcClient
) -> None:
    put(models / "half_plus_two", tmp_path / "m", 1)
    server = start("--token=secret", "--model_name=m", f"--model_base_path={tmp_path}/m")
    server.wait_for("Running gRPC ModelServer")
    request = _SPEC.format("m", "") + floats("x", 2)
    refused = [
        "UNAUTHENTICATED",
        "This server needs its bearer token: send the metadata 'authorization: Bearer <token>' or "
        "'x-workbench-token: <token>' (server.token in Python, `workbench status --token NAME` in "
        "a terminal).",
    ]
    assert grpc_client.call(server.address, "Predict", request) == refused
    wrong = [["authorization", "Bearer wrong"]]
    assert grpc_client.call(server.address, "Predict", request, metadata=wrong) == refused
    right = [["authorization", "Bearer secret"]]
    answer = grpc_client.call(server.address, "Predict", request, metadata=right)
    assert answer["model_spec"] == spec("m", 1)
    assert "secret" not in server.output
