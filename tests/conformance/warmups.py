"""Warm-up records as TensorFlow Serving's `PredictionLog` has them: good ones and bad ones."""

from __future__ import annotations

from tests.servers import floats
from workbench.formats.wire.protobuf import field
from workbench.server.engine.telemetry.warmup_recorder import prediction_log

WARMUP_FILE = "assets.extra/tf_serving_warmup_requests"

# Two examples without features, which take the default of 0.0.
_EXAMPLES = field(2, field(1, field(1, b"") + field(1, b"")))
_WITH_CONTEXT = field(2, field(2, field(1, b"") + field(2, b"")))


def _spec(signature: str) -> bytes:
    return field(1, field(3, signature.encode()))


def _task(signature: str, method: str) -> bytes:
    return field(1, _spec(signature) + field(2, f"tensorflow/serving/{method}".encode()))


def warmup_records() -> dict[str, bytes]:
    """One record of each kind that `half_plus_two` can be asked."""
    both = _task("classify_x_to_y", "classify") + _task("regress_x_to_y", "regress")
    return {
        "predict": prediction_log("another name", "", {"x": floats(1.0, 2.0)}, ()),
        "classify": field(2, field(1, _spec("classify_x_to_y") + _EXAMPLES)),
        "regress": field(3, field(1, _spec("regress_x_to_y") + _WITH_CONTEXT)),
        "multi": field(4, field(1, both + _EXAMPLES)),
        "unset": b"",
    }


def bad_warmups() -> dict[tuple[str, str], list[bytes]]:
    """Records with which `half_plus_two` cannot be loaded, by the code and the text that say so;
    `PATH` in a text is the file."""
    good = warmup_records()["predict"]
    return {
        (
            "INVALID_ARGUMENT",
            "Number of warmup records exceeds the maximum (1000) at PATH",
        ): [good] * 1001,
        (
            "INVALID_ARGUMENT",
            "Failed to parse warmup record: \x0fno message from PATH",
        ): [b"\x0fno message"],
        ("UNIMPLEMENTED", "Unsupported log_type for warmup: 5"): [good, field(5, b"")],
        ("UNIMPLEMENTED", "Unsupported log_type for warmup: 7"): [field(7, b"")],
        (
            "FAILED_PRECONDITION",
            'Serving signature key "q" not found.',
        ): [prediction_log("m", "q", {"x": floats(1.0)}, ())],
        ("INVALID_ARGUMENT", "Input is empty."): [field(2, field(1, _spec("classify_x_to_y")))],
        (
            "UNIMPLEMENTED",
            "Unsupported signature method_name: tensorflow/serving/predict",
        ): [field(4, field(1, _task("q", "predict") + _EXAMPLES))],
    }
