"""Loading and running real SavedModels, in one process of their own."""

from __future__ import annotations

import errno
import itertools
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.models import DTYPES
from tests.server.worker.conftest import Ask
from tests.servers import floats
from workbench.core.status import Code, ServingError
from workbench.formats.dtypes import number_kind, numpy_dtype


def strings(*values: bytes) -> np.ndarray:
    array = np.empty(len(values), object)
    array[:] = values
    return array


def lists(outputs: dict[str, np.ndarray]) -> dict[str, Any]:
    return {name: array.tolist() for name, array in outputs.items()}


def test_describes_its_signatures_as_tensorflow_serving_does(ask: Ask) -> None:
    signatures, metadata, seconds, progress = ask("describe", "half_plus_two")
    assert signatures == {
        "serving_default": "(x: float[?]) -> (y: float[?])",
        "classify_x_to_y": "(inputs: string[?]) -> (scores: float[?, 1])",
        "regress_x_to_y": "(inputs: string[?]) -> (outputs: float[?, 1])",
    }
    assert metadata["signature_def"]["serving_default"] == {
        "inputs": {
            "x": {
                "dtype": "DT_FLOAT",
                "tensor_shape": {"dim": [{"size": "-1", "name": ""}], "unknown_rank": False},
                "name": "x:0",
            }
        },
        "outputs": {
            "y": {
                "dtype": "DT_FLOAT",
                "tensor_shape": {"dim": [{"size": "-1", "name": ""}], "unknown_rank": False},
                "name": "y:0",
            }
        },
        "method_name": "tensorflow/serving/predict",
        "defaults": {},
    }
    assert seconds == ["facts", "graph", "init", "restore"]
    assert progress == ["reading_saved_model", "reading_meta_graph", "loaded_saved_model"]


def test_restores_its_variables(ask: Ask) -> None:
    assert lists(ask("run", "half_plus_two", "serving_default", {"x": floats(1, 2)})) == {
        "y": [2.5, 3.0]
    }
    assert lists(ask("run", "half_plus_three", "serving_default", {"x": floats(1, 2)})) == {
        "y": [3.5, 4.0]
    }


@pytest.mark.parametrize(
    ("signature", "output"), [("classify_x_to_y", "scores"), ("regress_x_to_y", "outputs")]
)
def test_parses_examples(ask: Ask, signature: str, output: str) -> None:
    outputs = ask("run", "half_plus_two", signature, {"inputs": strings(_example(2.0), b"")})
    assert lists(outputs) == {output: [[3.0], [2.0]]}


def _example(value: float) -> bytes:
    """A serialised tf.Example with the one feature `x`."""

    def field(number: int, content: bytes) -> bytes:
        return bytes([number << 3 | 2, len(content)]) + content

    float_list = field(1, np.float32(value).tobytes())
    entry = field(1, b"x") + field(2, field(2, float_list))
    return field(1, field(1, entry))


def test_keeps_state_between_calls_and_takes_no_inputs(ask: Ask) -> None:
    def call(signature: str, **inputs: Any) -> float:
        return float(ask("run", "counter", signature, inputs)["output"])

    call("reset_counter")
    assert [
        call("incr_counter"),
        call("incr_counter"),
        call("incr_counter_by", delta=np.float32(3)),
        call("get_counter"),
        call("reset_counter"),
        call("get_counter"),
    ] == [1.0, 2.0, 5.0, 5.0, 0.0, 0.0]


def test_strings_go_in_and_out(ask: Ask) -> None:
    outputs = ask("run", "text", "serving_default", {"x": strings(b"ab", b"\xff\0c", b"")})
    assert lists(outputs) == {"upper": [b"AB", b"\xff\0C", b""], "length": [2, 3, 0]}


def test_strings_without_dimensions(ask: Ask) -> None:
    outputs = ask("run", "tables", "string", {"default": np.array(b"one", object)})
    assert (outputs["y_bytes"].shape, outputs["y_bytes"][()]) == ((), b"one")


def test_several_inputs_and_outputs(ask: Ask) -> None:
    inputs = {"a": np.array([[1, 2], [3, 4]], np.float32), "b": np.array([10, 20], np.int32)}
    outputs = ask("run", "multi", "serving_default", inputs)
    assert lists(outputs) == {"sum": [[11.0, 12.0], [23.0, 24.0]], "product": [10.0, 60.0]}
    assert lists(ask("run", "multi", "serving_default", inputs, ("product",))) == {
        "product": [10.0, 60.0]
    }


def test_an_input_left_out_takes_its_default(ask: Ask) -> None:
    signatures, *_ = ask("describe", "defaults")
    assert signatures["serving_default"] == (
        "(a: float[?, 2], b: int32[?]) -> (product: double[?], sum: float[?, 2])"
    )
    inputs = {"a": np.array([[1, 2]], np.float32)}
    assert lists(ask("run", "defaults", "serving_default", inputs)) == {
        "sum": [[8.0, 9.0]],
        "product": [7.0],
    }


def test_tables_are_initialised_from_assets(ask: Ask) -> None:
    outputs = ask("run", "lookup", "serving_default", {"words": strings(b"workbench", b"no")})
    assert lists(outputs) == {"ids": [1, -1]}


@pytest.mark.parametrize("name", DTYPES)
def test_every_dtype_goes_through_unchanged(ask: Ask, name: str) -> None:
    dtype = numpy_dtype(name)
    if name == "string":
        array = strings(b"a", b"")
    elif number_kind(dtype) == "f" and dtype.itemsize < 4:
        array = np.array([1.5, -2], dtype)
    else:
        array = np.array([0, 1, 100], np.uint8).astype(dtype)
    (output,) = ask("run", "identity", name, {"x": array}).values()
    assert (output.dtype, output.tolist()) == (array.dtype, array.tolist())


@pytest.mark.parametrize("shape", [(), (0,), (2, 3), (1, 1, 1)])
def test_shapes_are_the_graphs_business(ask: Ask, shape: tuple[int, ...]) -> None:
    array = np.zeros(shape, np.float32)
    # Also against the signature's shape [?], which TensorFlow Serving does not check.
    for signature, key in (("anything", "x"), ("float", "x")):
        assert ask("run", "identity", signature, {key: array})["y"].shape == shape


def test_an_output_may_be_an_input(ask: Ask) -> None:
    """TensorFlow refuses to fetch what it is fed."""
    both = ask("run", "identity", "passed", {"x": floats(1, 2)})
    assert lists(both) == {"twice": [2.0, 4.0], "same": [1.0, 2.0]}
    assert lists(ask("run", "identity", "only_passed", {"x": floats(1)})) == {"same": [1.0]}
    assert lists(ask("run", "identity", "passed", {"x": floats(1)}, ("same",))) == {"same": [1.0]}


def test_however_outputs_are_chosen_few_calls_are_kept(ask: Ask) -> None:
    names = [f"part{i}" for i in range(6)]
    chosen = [c for n in (1, 2, 3, 4) for c in itertools.permutations(names, n)]
    for some in chosen:
        answer = ask("run", "identity", "parts", {"x": floats(1)}, some)
        assert list(answer) == list(some)
        assert lists(answer) == {name: [1.0 + float(name[-1])] for name in some}
    assert ask("calls", "identity") <= 40


def test_what_xla_adds_for_its_developers_is_left_out(ask: Ask) -> None:
    with pytest.raises(ServingError) as raised:
        ask("run", "compiled_product", "serving_default", {"x": np.zeros((1, 3), np.float32)})
    message = raised.value.message
    assert message.startswith("Matrix size-incompatible: In[0]: [1,3], In[1]: [4,2]")
    assert "dummy" not in message
    assert "TF_DUMP" not in message


def test_a_kept_input_is_copied(ask: Ask) -> None:
    assert ask("copies", "keeper", "keep") is True
    ask("overwrite_what_was_fed", "keeper", "keep", "x", 5)
    assert lists(ask("run", "keeper", "recall", {})) == {"y": [0.0, 1.0, 2.0, 3.0, 4.0]}


@pytest.mark.parametrize(
    ("name", "signature"),
    [
        ("half_plus_two", "serving_default"),
        ("half_plus_two", "classify_x_to_y"),
        ("digits", "serving_default"),
        ("lookup", "serving_default"),
        ("slow", "serving_default"),
    ],
)
def test_what_changes_nothing_is_not_copied(ask: Ask, name: str, signature: str) -> None:
    assert ask("copies", name, signature) is False


@pytest.mark.parametrize(
    ("inputs", "code", "message"),
    [
        (
            {"x": strings(b"a")},
            Code.INVALID_ARGUMENT,
            "Expects arg[0] to be float but string is provided",
        ),
        ({}, Code.NOT_FOUND, "'x'"),
    ],
)
def test_errors_are_tensorflows_own(
    ask: Ask, inputs: dict[str, Any], code: Code, message: str
) -> None:
    with pytest.raises(ServingError) as raised:
        ask("run", "half_plus_two", "serving_default", inputs)
    assert raised.value == ServingError(code, message)


def test_errors_of_operations_keep_their_code(ask: Ask) -> None:
    with pytest.raises(ServingError) as raised:
        ask("run", "rows", "picky", {"x": floats(1, -1)})
    assert raised.value.code is Code.INVALID_ARGUMENT
    assert raised.value.message.startswith("assertion failed: [x has a negative]")


def test_the_public_call_gives_the_same(ask: Ask) -> None:
    outputs = ask("run_through_the_public_call", "multi", "serving_default", _MULTI)
    assert lists(outputs) == lists(ask("run", "multi", "serving_default", _MULTI))
    # It is the public one: only that compares shapes with the signature's.
    with pytest.raises(ServingError, match="Cannot feed value of shape"):
        ask(
            "run_through_the_public_call",
            "half_plus_two",
            "serving_default",
            {"x": floats()[0:0, None]},
        )


_MULTI = {"a": np.ones((2, 2), np.float32), "b": np.array([1, 2], np.int32)}


def test_what_cannot_be_loaded_says_why(ask: Ask, models: Path, tmp_path: Path) -> None:
    def error(path: Path, tags: tuple[str, ...] = ("serve",)) -> tuple[Code, str]:
        with pytest.raises(ServingError) as raised:
            ask("load", str(path), tags)
        return raised.value.code, raised.value.message

    empty = tmp_path / "empty"
    empty.mkdir()
    for path in (empty, tmp_path / "nowhere"):
        assert error(path) == (
            Code.NOT_FOUND,
            "Specified file path does not appear to contain a SavedModel bundle (should have a "
            f"file called `saved_model.pb`)\nSpecified file path: {path}",
        )
    (empty / "export.meta").touch()
    assert error(empty) == (Code.UNIMPLEMENTED, "Session Bundle is deprecated and removed.")
    code, message = error(models / "corrupt")
    assert code is Code.DATA_LOSS
    assert "Checksum does not match" in message
    code, message = error(models / "bad_graph")
    assert code is Code.NOT_FOUND
    assert "NoSuchOperation" in message
    code, message = error(models / "text", ("train",))
    assert code is Code.INVALID_ARGUMENT
    assert "train" in message
    incomplete = shutil.copytree(models / "half_plus_two", tmp_path / "incomplete")
    (incomplete / "variables" / "variables.data-00000-of-00001").unlink()
    assert error(incomplete) == (
        Code.DATA_LOSS,
        f"{incomplete}/variables/variables.data-00000-of-00001 is missing; copy this version here "
        "again, or export it again",
    )


@pytest.mark.parametrize(
    ("error", "code", "message"),
    [
        (MemoryError("big"), Code.RESOURCE_EXHAUSTED, "out of memory: big"),
        (FileNotFoundError("gone"), Code.NOT_FOUND, "gone"),
        (OSError(errno.EIO, "bad disk"), Code.UNAVAILABLE, f"[Errno {errno.EIO}] bad disk"),
        (OSError(errno.ETIMEDOUT, "slow"), Code.UNAVAILABLE, f"[Errno {errno.ETIMEDOUT}] slow"),
        (OSError(errno.EACCES, "locked"), Code.NOT_FOUND, f"[Errno {errno.EACCES}] locked"),
        (ValueError(), Code.INVALID_ARGUMENT, "ValueError"),
        (
            UnicodeDecodeError("utf-8", b"bad \xff", 4, 5, "invalid start byte"),
            Code.INVALID_ARGUMENT,
            "bad \ufffd",
        ),
    ],
)
def test_other_exceptions_have_codes(ask: Ask, error: Exception, code: Code, message: str) -> None:
    assert ask("translate", error) == (code, message)


@pytest.mark.parametrize("fraction", [0.0, 0.25])
def test_a_versions_share_of_a_gpus_memory(ask: Ask, fraction: float) -> None:
    assert ask("gpu_options", "half_plus_two", fraction) == (True, fraction)
