"""Models of every kind that a notebook holds: served with the right values, or refused in a
sentence before anything is published."""

from __future__ import annotations

import itertools
import os
import shutil
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import workbench as wb
from tests.client.trainer import Trainer
from workbench.client.outcomes import Reused
from workbench.core.status import Code, ServingError

pytestmark = pytest.mark.timeout(180)

_numbers = itertools.count(1)

Served = Callable[[Path], wb.Server]


@pytest.fixture
def served(live: wb.Server) -> Iterator[Served]:
    """Serves a folder of versions on the live server, and waits for version 1."""
    added = []

    def served(base: Path) -> wb.Server:
        name = f"stranger{next(_numbers)}"
        server = wb.Server(live.name, name)
        server.control.put_model(name, {"base_path": str(base)})
        added.append(server)
        server.control.poll(name, [1])
        server.wait_for(1)
        return server

    yield served
    for server in added:
        server.control.delete_model(server.model)


def refused(call: Callable[[], Any]) -> ServingError:
    with pytest.raises(ServingError) as caught:
        call()
    return caught.value


ROWS = [[1.0, 2.0], [3.0, 4.0]]
SUMS = [[3.0], [7.0]]
PRODUCTS = [[2.0, 6.0], [6.0, 12.0]]


@pytest.mark.parametrize(
    ("kind", "asked", "answer"),
    [
        ("keras_subclassed", {"values": ROWS}, SUMS),
        # As Keras exports it: with any number of rows, though it has seen one.
        ("keras_called", {"input_0": ROWS}, SUMS),
        ("keras_bfloat16", {"x": ROWS}, SUMS),
        ("keras_text", {"text": ["b a", "c"]}, [[3, 2, 0], [1, 0, 0]]),
        ("keras_lambda_table", {"text": [["a"], ["z"]]}, [[3.0], [-1.0]]),
        ("keras_lambda_mutable_table", {"number": [[2], [9]]}, [[4.0], [-1.0]]),
        ("keras_lambda_variable", {"x": ROWS}, PRODUCTS),
        ("keras_unnamed_inputs", {"input_0": [[5.0]], "input_1": [[2.0]]}, [[3.0]]),
        ("keras2", {"x": ROWS}, SUMS),
        ("keras2_subclassed", {"values": ROWS}, SUMS),
        ("module_with_keras", {"x": ROWS}, SUMS),
        ("module_with_global_keras", {"x": ROWS}, SUMS),
        ("module_with_keras2", {"x": ROWS}, SUMS),
        ("module_float8", {"x": ROWS}, PRODUCTS),
        ("module_empty_variables", {"x": ROWS}, ROWS),
        ("module_untracked_variable", {"x": ROWS}, PRODUCTS),
        ("module_unnamed", {"arguments_0": [5.0, 1.0], "arguments_1": [1.0, 2.0]}, [4.0, -1.0]),
        ("module_case", {"a": [5.0], "A_2": [1.0]}, [4.0]),
        ("loaded", {"arguments_0": [5.0], "arguments_1": [1.0]}, [4.0]),
    ],
)  # fmt: skip
def test_it_answers_as_the_model_does(
    trainer: Trainer, served: Served, tmp_path: Path, kind: str, asked: Any, answer: Any
) -> None:
    trainer.put(kind, str(tmp_path / "base"), 1)
    found = served(tmp_path / "base").predict(asked)
    assert isinstance(found, np.ndarray)
    np.testing.assert_array_equal(found.astype(float), answer)


def test_nested_arguments_and_answers_have_flat_names(
    trainer: Trainer, served: Served, tmp_path: Path
) -> None:
    """A dictionary's keys are the names. One that can be served as it is keeps its name, also where
    TensorFlow would take another's alias for it."""
    trainer.put("module_nested", str(tmp_path), 1)
    server = served(tmp_path)
    asked = {"a_b_2": [1.0], "A_B": [2.0], "pair": [10.0], "pair_1": [20.0]}
    signature = server.versions[1].signatures["serving_default"]
    assert sorted(signature.inputs) == sorted(asked)
    assert signature.originals == {"a_b_2": "a b"}
    answer = server.predict(asked)
    assert isinstance(answer, dict)
    assert {name: value.tolist() for name, value in answer.items()} == {
        "sums_0": [11.0],
        "sums_1_last": [22.0],
    }


@pytest.mark.parametrize("kind", ["keras_plain", "keras2"])
@pytest.mark.parametrize("suffix", [".keras", ".h5"])
def test_a_file_of_keras_is_served(
    trainer: Trainer, served: Served, tmp_path: Path, kind: str, suffix: str
) -> None:
    """It is read by the Keras that wrote it."""
    file = trainer.save_as(kind, str(tmp_path / f"shop{suffix}"))
    trainer.put_path(file, str(tmp_path / "base"), 1)
    found = served(tmp_path / "base").predict(ROWS)
    assert isinstance(found, np.ndarray)
    assert found.astype(float).tolist() == SUMS


def test_a_file_is_known_again_without_being_read_by_keras(
    trainer: Trainer, runtime: Path, tmp_path: Path
) -> None:
    file = trainer.save_as("keras2", str(tmp_path / "Shop 2.keras"))
    assert trainer.serve_path(file).startswith("Serving Shop-2 at ")
    with wb.connect("Shop-2"):
        # This process has no Keras.
        assert isinstance(wb.serve(file).outcome, Reused)
        trainer.save_as("keras_bfloat16", file)
        # It answers with another dtype.
        error = refused(lambda: trainer.serve_path(file))
        assert "output output_0 is bfloat16[?, 1] and was float[?, 1]" in error.message
        told = trainer.serve_path(file, allow_signature_change=True)
        assert told.startswith("Published version 2 of Shop-2 at ")


def test_files_that_keras_does_not_read(trainer: Trainer, runtime: Path, tmp_path: Path) -> None:
    unsafe = trainer.save_as("keras_lambda_variable", str(tmp_path / "unsafe.keras"))
    (tmp_path / "bad.keras").write_bytes(b"no archive")
    (tmp_path / "bad.h5").write_bytes(b"no archive")
    assert refused(lambda: trainer.serve_path(unsafe)).message == (
        f"{unsafe} cannot be read by keras: it has a Lambda layer, whose code would run here; if "
        f"you trust the file, load it with keras.models.load_model('{unsafe}', safe_mode=False) "
        "and serve the model"
    )
    for name in ("bad.keras", "bad.h5"):
        message = refused(lambda name=name: trainer.serve_path(str(tmp_path / name))).message
        assert message.startswith(f"{tmp_path / name} is not a Keras file (")
        assert message.endswith("): save the model again with model.save(...)")
    assert [entry for entry in os.listdir(runtime) if "bad" in entry or "unsafe" in entry] == []


@pytest.mark.parametrize(
    ("kind", "message"),
    [
        ("keras_unbuilt_subclass",
         "Keras model 'sub' has no input shape yet: call it once, or begin it with keras.Input"),
        ("keras2_unbuilt",
         "Keras model 'two' has no input shape yet: call it once, or begin it with keras.Input"),
        ("keras_layer",
         "An object of type Dense cannot be served: a layer is not a model: make one with "
         "keras.Sequential([keras.Input(...), layer])"),
        ("keras_python",
         "Layer 'clean' of Keras model 'shop' calls Python code (tf.py_function or "
         "tf.numpy_function), which is lost where the model is served: write it with TensorFlow's "
         "operations"),
        ("module_raises",
         "Function __call__ of Holder cannot be traced with its input signature: ValueError: the "
         "scaler was never fitted"),
        ("module_bare_resource",
         "Function __call__ of Holder uses a table that no object holds: make it with tf.lookup or "
         "tf.Variable, and keep it as an attribute of the model"),
        ("module_empty_answer",
         "Function __call__ of Silent returns no tensor: return a tensor, or a dictionary "
         "of tensors"),
        ("function",
         "An object of type function cannot be served: the inputs of a function are not known "
         "before it is called: make it a method of a tf.Module, decorated with "
         "@tf.function(input_signature=[tf.TensorSpec([None, ...], tf.float32)])"),
        ("scikit",
         "An object of type LinearRegression cannot be served: only TensorFlow runs here: write "
         "what it computes as a tf.Module or a Keras model, or export it as a SavedModel and give "
         "its path"),
    ],
)  # fmt: skip
def test_what_cannot_work_is_refused_before_anything_is_done(
    trainer: Trainer, runtime: Path, live: wb.Server, kind: str, message: str
) -> None:
    expected = ServingError(Code.INVALID_ARGUMENT, message)
    assert refused(lambda: trainer.serve(kind, "never")) == expected
    assert [entry for entry in os.listdir(runtime) if "never" in entry] == []
    # And over a version that serves: no number is used, and nothing is left beside.
    before = sorted(os.listdir(live.base_path))
    assert refused(lambda: trainer.publish(live.name, kind)) == expected
    assert sorted(os.listdir(live.base_path)) == before
    assert live.predict([1.0]).tolist() == [2.5]  # type: ignore[union-attr]


def test_odd_variables_are_told_apart(trainer: Trainer) -> None:
    """Of dtypes that Python's buffers do not know, and of no size."""
    kinds = ["keras_bfloat16", "module_float8", "module_empty_variables"]
    digests = [trainer.fingerprint(kind) for kind in kinds]
    assert digests == [trainer.fingerprint(kind) for kind in kinds]
    assert len(set(digests)) == 3


def test_the_same_model_built_again_is_the_same(trainer: Trainer) -> None:
    """Keras counts layers, and TensorFlow functions; neither says anything of a model."""
    for kind in ("keras_bfloat16", "module_with_keras", "keras2_subclassed", "keras_lambda_table"):
        assert trainer.rebuilt_fingerprint(kind) == trainer.rebuilt_fingerprint(kind)
    assert trainer.fingerprint("keras_lambda_table") != trainer.fingerprint("keras_lambda_variable")


def test_a_bfloat16_model_is_served_published_and_known_again(
    trainer: Trainer, runtime: Path
) -> None:
    assert trainer.serve("keras_bfloat16", "half16").startswith("Serving half16 at ")
    server = wb.connect("half16")
    try:
        assert trainer.serve("keras_bfloat16", "half16").startswith("Reusing half16 at ")
        kind = "module_with_keras"
        assert trainer.publish("half16", kind, allow_signature_change=True) == 2
        assert trainer.serve("module_with_keras", "half16").startswith("Reusing half16 at ")
        answer = server.predict({"x": ROWS})
        assert isinstance(answer, np.ndarray)
        assert answer.tolist() == SUMS
    finally:
        server.stop()


def test_what_goes_wrong_after_a_version_is_live_is_not_raised(
    server: wb.Server, models: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from workbench.client.publishing import fingerprint

    def fail(path: Path) -> str:
        raise ValueError("cannot include dtype 'E' in a buffer")

    with monkeypatch.context() as patch:
        patch.setattr(fingerprint, "of_path", fail)
        assert server.publish(models / "half_plus_three") == 2
    assert server.predict([1.0]).tolist() == [3.5]  # type: ignore[union-attr]
    # It is told by its files then.
    assert server.publish(models / "half_plus_two") == 3


# Numbers.


def test_a_number_is_never_given_to_other_contents(server: wb.Server, models: Path) -> None:
    """Also where its folder was removed, and whether or not the server has seen that."""
    assert server.publish(models / "half_plus_three") == 2
    shutil.rmtree(server.base_path / "2")
    assert server.publish(models / "half_plus_two") == 3
    shutil.rmtree(server.base_path / "3")
    server.wait_gone(3, 30)
    assert server.publish(models / "half_plus_three") == 4
    assert server.predict([1.0], version=4).tolist() == [3.5]  # type: ignore[union-attr]
    shutil.rmtree(server.base_path / "4")
    message = (
        f"Version 4 of {server.model} was served already, though its folder is gone: a version "
        "never changes its contents; publish the next one"
    )
    error = refused(lambda: server.publish(models / "half_plus_two", version=4))
    assert error == ServingError(Code.INVALID_ARGUMENT, message)
    assert not (server.base_path / "4").exists()


def test_a_version_that_never_answered_may_be_mended(server: wb.Server, models: Path) -> None:
    """Under its own number: nobody has had an answer from it."""
    broken = server.base_path / "2"
    broken.mkdir()
    (broken / "saved_model.pb").write_bytes(b"nothing that can be read")
    with pytest.raises(ServingError):
        server.wait_for(2)
    shutil.rmtree(broken)
    # Whoever waits may still be shown the failure of what was there before.
    assert server.publish(models / "half_plus_three", version=2, wait=False) == 2
    end = time.monotonic() + 30
    while 2 not in server.versions.available:
        assert time.monotonic() < end, server.versions
        time.sleep(0.05)
    assert server.predict([1.0]).tolist() == [3.5]  # type: ignore[union-attr]


# Paths.


def test_a_numbered_folder_is_called_after_the_one_above(models: Path, tmp_path: Path) -> None:
    folder = tmp_path / "my digits" / "7"
    shutil.copytree(models / "half_plus_two", folder)
    with wb.serve(folder) as server:
        assert (server.name, server.model) == ("my-digits", "my-digits")
        assert server.versions.available == [7]
        assert wb.serve(folder).outcome == Reused("my-digits", server.url)


def test_a_store_is_refused_before_a_server_starts(runtime: Path) -> None:
    before = os.listdir(runtime)
    for path in ("gs://bucket/digits", "s3://bucket/digits/1", Path("hdfs://host/digits")):
        error = refused(lambda path=path: wb.serve(path))  # type: ignore[misc]
        assert error.code is Code.INVALID_ARGUMENT
        assert "is not a folder of this machine" in error.message
        assert error.message.endswith("and give the path of that folder")
    assert os.listdir(runtime) == before
