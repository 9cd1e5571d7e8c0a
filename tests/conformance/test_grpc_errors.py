"""What the gRPC services refuse, over a real server's sockets with the original's own stubs."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.conformance.conftest import Call
from tests.conformance.model_server import ModelServer, entry
from tests.conformance.test_grpc import floats, reload, spec, task
from tests.conformance.test_rest_errors import Rest

_SPEC = "model_spec {{ name: '{}' signature_name: '{}' }}"
_EXAMPLE = "examples { features { feature { key: 'x' value { float_list { value: %s } } } } } "
_TWO = f"input {{ example_list {{ {_EXAMPLE % 1} {_EXAMPLE % 4} }} }}"
_CLASSIFY, _REGRESS = "tensorflow/serving/classify", "tensorflow/serving/regress"
_PREDICT = "tensorflow/serving/predict"


# Which version.


@pytest.mark.parametrize("method", ["Predict", "Classify", "Regress", "GetModelMetadata"])
@pytest.mark.parametrize(
    ("chosen", "refusal"),
    [
        ("", ["INVALID_ARGUMENT", "Missing ModelSpec"]),
        ("model_spec { }", ["INVALID_ARGUMENT", "ModelSpec has no name specified."]),
        (
            "model_spec { name: 'none' }",
            ["NOT_FOUND", "Servable not found for request: Latest(none)"],
        ),
        (
            "model_spec { name: 'half' version { value: 5 } }",
            ["NOT_FOUND", "Servable not found for request: Specific(half, 5)"],
        ),
        (
            "model_spec { name: 'half' version_label: 'no' }",
            ["INVALID_ARGUMENT", "Unrecognized servable version label: no"],
        ),
        (
            "model_spec { name: 'none' version_label: 'stable' }",
            ["INVALID_ARGUMENT", "Unrecognized servable version label: stable"],
        ),
    ],
)
def test_versions_that_are_not_there(
    call: Call, method: str, chosen: str, refusal: list[str]
) -> None:
    rest = {
        "Predict": floats("x", 1),
        "GetModelMetadata": "metadata_field: 'signature_def'",
    }.get(method, _TWO)
    assert call(method, chosen + rest) == refusal


# Classify and Regress.


@pytest.mark.parametrize(
    ("method", "model", "signature", "refusal"),
    [
        ("Classify", "half", "no", "No signature was found with the name: no"),
        ("Regress", "half", "no", "No signature was found with the name: no"),
        ("Classify", "counter", "get_counter", "Expected one input Tensor."),
        ("Classify", "shapes", "two_inputs", "Expected one input Tensor."),
        ("Regress", "shapes", "two_inputs", "Expected one input Tensor."),
        ("Regress", "shapes", "labelled", "Expected one output Tensor."),
        ("Classify", "shapes", "three", "Expected one or two output Tensors, found 3"),
        ("Regress", "shapes", "numeric", "Expects arg[0] to be float but string is provided"),
        (
            "Classify",
            "shapes",
            "scores_rank_1",
            "Expected Tensor shape: [batch_size num_classes] but got [2]",
        ),
        (
            "Classify",
            "shapes",
            "scores_rank_3",
            "Expected Tensor shape: [batch_size num_classes] but got [2,2,1]",
        ),
        (
            "Classify",
            "shapes",
            "classes_rank_1",
            "Expected Tensor shape: [batch_size num_classes] but got [2]",
        ),
        (
            "Classify",
            "shapes",
            "classes_of_int32",
            "Expected classes Tensor of DT_STRING. Got: DT_INT32",
        ),
        (
            "Classify",
            "shapes",
            "scores_of_double",
            "Expected scores Tensor of DT_FLOAT. Got: DT_DOUBLE",
        ),
        (
            "Classify",
            "shapes",
            "scores_of_1",
            "Expected scores output batch size of 2. Got: 1",
        ),
        (
            "Classify",
            "shapes",
            "classes_of_1",
            "Expected classes output batch size of 2. Got: 1",
        ),
        (
            "Classify",
            "shapes",
            "widths",
            "Tensors class and score should match in dim_size(1). Got 3 vs. 2",
        ),
        (
            "Regress",
            "shapes",
            "regress_rank_3",
            "Expected output Tensor shape to be either [batch_size] or [batch_size, 1] but got "
            "[2,1,1]",
        ),
        (
            "Regress",
            "shapes",
            "regress_width_2",
            "Expected output Tensor shape to be either [batch_size] or [batch_size, 1] but got "
            "[2,2]",
        ),
        (
            "Regress",
            "shapes",
            "regress_of_1",
            "Input batch size did not match output batch size: 2 vs. 1",
        ),
        (
            "Regress",
            "shapes",
            "regress_of_double",
            "Expected output Tensor of DT_FLOAT.  Got: DT_DOUBLE",
        ),
    ],
)
def test_signatures_that_do_not_fit(
    call: Call, method: str, model: str, signature: str, refusal: str
) -> None:
    request = _SPEC.format(model, signature) + _TWO
    assert call(method, request) == ["INVALID_ARGUMENT", refusal]


@pytest.mark.parametrize(
    ("method", "signature", "beginning"),
    [
        ("Classify", "other_alias", "No classification inputs found in SignatureDef: "),
        ("Regress", "other_alias", "No regression inputs found in SignatureDef: "),
        ("Regress", "regress_other_output", "No regression outputs found in SignatureDef: "),
        (
            "Classify",
            "other_outputs",
            'Expected classification signature outputs to contain at least one of "classes" or '
            '"scores". Signature was: ',
        ),
    ],
)
def test_signatures_that_are_shown(call: Call, method: str, signature: str, beginning: str) -> None:
    code, text = call(method, _SPEC.format("shapes", signature) + _TWO)
    assert (code, text[: len(beginning)]) == ("INVALID_ARGUMENT", beginning)
    assert len(text) > len(beginning)


@pytest.mark.parametrize(
    "given",
    [
        "",
        "input { }",
        "input { example_list { } }",
        "input { example_list_with_context { context { } } }",
    ],
)
@pytest.mark.parametrize("method", ["Classify", "Regress"])
def test_no_examples(call: Call, method: str, given: str) -> None:
    signature = "classify_x_to_y" if method == "Classify" else "regress_x_to_y"
    request = _SPEC.format("half", signature) + given
    assert call(method, request) == ["INVALID_ARGUMENT", "Input is empty."]


_CLASSES = [
    {"label": "car", "score": 0.2},
    {"label": "bike", "score": 0.7},
    {"label": "bus", "score": 0.1},
]


def row(*told: str) -> Any:
    """An example's classes, of which these fields are told."""
    return {"classes": [{field: one[field] for field in told} for one in _CLASSES]}


@pytest.mark.parametrize(
    ("method", "signature", "result"),
    [
        ("Classify", "labelled", {"classifications": [row("label", "score")] * 2}),
        (
            "Classify",
            "labels",
            {"classifications": [row("label")] * 2},
        ),
        ("Regress", "column", {"regressions": [{"value": 1.0}, {"value": 4.0}]}),
        # As TensorFlow 2 exports them; the method's name is not looked at.
        (
            "Classify",
            "as_predict_scores",
            {"classifications": [row("score")] * 2},
        ),
        ("Regress", "as_predict_outputs", {"regressions": [{"value": 1.0}, {"value": 4.0}]}),
    ],
)  # fmt: skip
def test_results(call: Call, method: str, signature: str, result: Any) -> None:
    assert call(method, _SPEC.format("shapes", signature) + _TWO) == {
        "result": result,
        "model_spec": spec("shapes", 1, signature),
    }


# MultiInference.


@pytest.mark.parametrize(
    ("request_text", "refusal"),
    [
        # The model is the first task's, and where there is none it is one without a name.
        (_TWO, ["INVALID_ARGUMENT", "ModelSpec has no name specified."]),
        (
            f"tasks {{ method_name: '{_REGRESS}' }}" + _TWO,
            ["INVALID_ARGUMENT", "ModelSpec has no name specified."],
        ),
        (
            task("regress_x_to_y", _REGRESS, "none") + _TWO,
            ["NOT_FOUND", "Servable not found for request: Latest(none)"],
        ),
        (
            task("regress_x_to_y", _REGRESS) + task("classify_x_to_y", _CLASSIFY, "shapes") + _TWO,
            [
                "INVALID_ARGUMENT",
                "All ModelSpecs in a MultiInferenceRequest must access the same model name.",
            ],
        ),
        (
            task("regress_x_to_y", _REGRESS) + task("regress_x_to_y", _CLASSIFY) + _TWO,
            ["INVALID_ARGUMENT", "Duplicate evaluation of signature: regress_x_to_y"],
        ),
        (
            task("no", _CLASSIFY) + _TWO,
            ["INVALID_ARGUMENT", "Requested signature not found in model graph: no"],
        ),
        (
            task("classify_x_to_y", _PREDICT) + _TWO,
            ["UNIMPLEMENTED", f"Unsupported signature method_name: {_PREDICT}"],
        ),
        (
            task("labelled", _REGRESS, "shapes") + _TWO,
            ["INVALID_ARGUMENT", "Expected one output Tensor."],
        ),
        (task("regress_x_to_y", _REGRESS), ["INVALID_ARGUMENT", "Input is empty."]),
    ],
)
def test_multi_inference(call: Call, request_text: str, refusal: list[str]) -> None:
    assert call("MultiInference", request_text) == refusal


# About models, and reloading.


def test_status_needs_a_model(call: Call) -> None:
    assert call("GetModelStatus", "") == ["INVALID_ARGUMENT", "Missing ModelSpec"]


_TYPE = "ModelServerConfig::model_type (deprecated)"


@pytest.mark.parametrize(
    ("config", "refusal"),
    [
        (
            "config { model_config_list { config { name: 'm' base_path: '/m' "
            "model_platform: 'tensorflow' model_type: TENSORFLOW } } }",
            f"Illegal setting both {_TYPE} and ModelServerConfig::model_platform, model name is m",
        ),
        (
            "config { model_config_list { config { name: 'm' base_path: '/m' } } }",
            f"Illegal setting neither {_TYPE} nor ModelServerConfig::model_platform, "
            "model name is m",
        ),
        (
            "config { model_config_list { config { name: 'm' base_path: '/m' "
            "model_platform: 'tensorflow_lite' } } }",
            "Model m requests unsupported platform tensorflow_lite",
        ),
        (
            reload(entry("m", Path("/m"), "logging_config { sampling_config { } }")),
            "No request-logger-creator provided.",
        ),
        (
            reload(entry("m", Path("rel"))),
            "Expected model m to have an absolute path or URI; got base_path()=rel",
        ),
        (
            reload(entry("m", Path("/m")), entry("m", Path("/m"))),
            "Illegal to list model m multiple times in config list",
        ),
        (
            "config { custom_model_config { } }",
            "ServerModelConfig type not supported by HandleReloadConfigRequest. Only "
            "ModelConfigList is currently supported",
        ),
        (
            "config { }",
            "ServerModelConfig type not supported by HandleReloadConfigRequest. Only "
            "ModelConfigList is currently supported",
        ),
    ],
)
def test_reloads_that_are_refused(
    call: Call, all_models: tuple[ModelServer, Path], config: str, refusal: str
) -> None:
    """None of them leaves a trace: everything that was served still is."""
    rest = Rest(all_models[0].rest_port)
    before = rest.ask("GET", "/v1/models").json
    assert call("HandleReloadConfigRequest", config) == ["INVALID_ARGUMENT", refusal]
    assert rest.ask("GET", "/v1/models").json == before
    answer = call("Predict", _SPEC.format("half", "") + floats("x", 2))
    assert answer["model_spec"] == spec("half", 2)
