"""gRPC messages from a number: right ones, right ones in the wrong place, and damaged ones."""

from __future__ import annotations

import random

import numpy as np

from tests.fuzz.mutate import EDGES, mutate, splice
from tests.fuzz.target import MODELS
from workbench.formats.wire.messages import message_class
from workbench.formats.wire.protobuf import field
from workbench.formats.wire.tensor_proto import encode_tensors

PREDICTION = "/tensorflow.serving.PredictionService/"
MODEL = "/tensorflow.serving.ModelService/"
_METHODS = (
    PREDICTION + "Classify", PREDICTION + "Regress", PREDICTION + "MultiInference",
    PREDICTION + "GetModelMetadata", MODEL + "GetModelStatus", MODEL + "HandleReloadConfigRequest",
)  # fmt: skip
_SIGNATURES = ("serving_default", "classify_x_to_y", "regress_x_to_y", "float", "string", "", "no")
_EXAMPLE = b"\x0a\x0c\x0a\x0a\n\x01x\x12\x05\x12\x03\n\x01\x00"
_TOKENS = (
    b"\x08\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01", b"\x0a\xff\xff\xff\xff\x0f", b"\x00", b"\x0b",
    b"\x12\x00", b"\xff" * 10, b"\x1a\x80\x80\x80\x80\x08", b"\x0c", b"\xc3\x28",
)  # fmt: skip


def call(seed: int) -> tuple[str, bytes]:
    """A method and the bytes of its request; seed 0 is one that any server would answer."""
    rng = random.Random(seed)
    if seed == 0:
        return PREDICTION + "Predict", _spec("half_plus_two", rng, 0.0) + encode_tensors(
            2, {"x": np.ones(1, np.float32)}
        )
    if rng.random() < 0.6:
        method, message = PREDICTION + "Predict", _predict(rng)
    else:
        method = rng.choice(_METHODS)
        message = _other(method.rpartition("/")[2], rng)
    kind = rng.random()
    if kind < 0.45:
        return method, message
    if kind < 0.85:
        return method, mutate(message, rng)
    if kind < 0.92:
        return method, splice(message, _TOKENS, rng)
    if kind < 0.97:
        return rng.choice((*_METHODS, PREDICTION + "Predict")), message
    return method, rng.randbytes(rng.randrange(100))


def _spec(name: str, rng: random.Random, odd: float) -> bytes:
    spec = message_class("ModelSpec")(name=name)
    if odd > 0.6:
        spec.signature_name = rng.choice(_SIGNATURES)
    if odd > 0.8:
        spec.version.value = rng.choice([1, *(e for e in EDGES if abs(e) < 2**63)])
    elif odd > 0.75:
        spec.version_label = rng.choice(("stable", "", "\u00e9"))
    data: bytes = spec.SerializeToString()
    return field(1, data)


def _name(rng: random.Random) -> str:
    return (
        rng.choice(MODELS) if rng.random() < 0.9 else rng.choice(("", "nothing", "a/b", "\u2028"))
    )


def _predict(rng: random.Random) -> bytes:
    if rng.random() < 0.4:
        rows = rng.randrange(1, 5)
        name, inputs = rng.choice(
            (
                ("half_plus_two", {"x": np.ones(rows, np.float32)}),
                ("text", {"x": _strings(rows)}),
                ("multi", {"a": np.ones((rows, 2), np.float32), "b": np.ones(rows, np.int32)}),
                ("lookup", {"words": _strings(rows)}),
            )
        )
        return _spec(name, rng, 0.0) + encode_tensors(2, inputs)
    inputs = {
        rng.choice(("x", "a", "b", "delta", "")): _array(rng) for _ in range(rng.randrange(3))
    }
    request = _spec(_name(rng), rng, rng.random()) + encode_tensors(2, inputs)
    if rng.random() < 0.2:
        request += field(3, rng.choice((b"y", b"none", b"\xff", b"")))
    return request


def _strings(rows: int) -> np.ndarray:
    array = np.empty(rows, object)
    array.fill(b"serving")
    return array


def _array(rng: random.Random) -> np.ndarray:
    shape = tuple(rng.randrange(4) for _ in range(rng.randrange(4)))
    kind = rng.choice(("f4", "f8", "f2", "i4", "i8", "u1", "?", "c8", "O"))
    array = np.empty(shape, kind)
    array.fill(b"bytes" if kind == "O" else 1)
    return array


def _other(method: str, rng: random.Random) -> bytes:
    name, odd = _name(rng), rng.random()
    spec = message_class("ModelSpec").FromString(_spec(name, rng, odd)[2:])
    example = rng.choice((b"", b"\x0a\x00", mutate(_EXAMPLE, rng)))
    given = message_class("Input")()
    if rng.random() < 0.7:
        given.example_list.examples.extend([example] * rng.randrange(3))
    else:
        given.example_list_with_context.examples.extend([example] * rng.randrange(3))
        given.example_list_with_context.context = rng.randbytes(rng.randrange(5))
    if method == "Classify":
        spec.name, spec.signature_name = "half_plus_two", "classify_x_to_y"
        message = message_class("ClassificationRequest")(model_spec=spec, input=given)
    elif method == "Regress":
        spec.name, spec.signature_name = "half_plus_two", "regress_x_to_y"
        message = message_class("RegressionRequest")(model_spec=spec, input=given)
    elif method == "MultiInference":
        message = message_class("MultiInferenceRequest")(input=given)
        for _ in range(rng.randrange(3)):
            kind = rng.choice(("classify", "regress", "predict", ""))
            task = message.tasks.add(method_name=f"tensorflow/serving/{kind}")
            task.model_spec.name = name if rng.random() < 0.3 else "half_plus_two"
            task.model_spec.signature_name = rng.choice((f"{kind}_x_to_y", *_SIGNATURES))
    elif method == "GetModelMetadata":
        fields = rng.choice((["signature_def"], [], ["signature_def", "other"]))
        message = message_class("GetModelMetadataRequest")(model_spec=spec, metadata_field=fields)
    elif method == "GetModelStatus":
        message = message_class("GetModelStatusRequest")(model_spec=spec)
    else:
        message = message_class("ReloadConfigRequest")()
        for _ in range(rng.randrange(3)):
            model = message.config.model_config_list.config.add(name=name)
            model.base_path = rng.choice(("/nowhere/at/all", "relative", "", "/proc/self/nowhere"))
            model.model_platform = rng.choice(("tensorflow", "", "other"))
    data: bytes = message.SerializeToString()
    return data
