"""Tries unusual models, one after the other, on real servers.

    python -m docs.stranger_models

writes the answer of each into `docs/stranger-models.md`.
"""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import shutil
import signal
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pandas as pd
import tensorflow as tf

import workbench as wb
from workbench.core.status import ServingError

PAGE = Path(__file__).with_name("stranger-models.md")
_BEGIN, _END = "<!-- measured -->", "<!-- end -->"
TRIED: list[tuple[str, str, Callable[[Path], str]]] = []


def tried(what: str, was: str) -> Callable[[Callable[[Path], str]], Callable[[Path], str]]:
    """Registers a row of the table: the case `what`, and its old result `was`. The function tries
    the case in an empty folder and returns the new result as text."""

    def register(function: Callable[[Path], str]) -> Callable[[Path], str]:
        TRIED.append((what, was, function))
        return function

    return register


@contextlib.contextmanager
def _served(model: Any, name: str, **settings: Any) -> Iterator[wb.Server]:
    server = wb.serve(model, name, **settings)
    try:
        yield server
    finally:
        server.stop()


def _dense(units: int, width: int, **settings: Any) -> keras.Model:
    return keras.Sequential([keras.Input((width,)), keras.layers.Dense(units, **settings)])


def _answers_of(server: wb.Server, requests: list[Any], callers: int) -> list[np.ndarray]:
    with ThreadPoolExecutor(callers) as pool:
        return [np.asarray(answer) for answer in pool.map(server.predict, requests)]


def _wrong(answers: list[np.ndarray], right: list[np.ndarray]) -> str:
    count = sum(
        not np.allclose(a, b, rtol=1e-3, atol=1e-5) for a, b in zip(answers, right, strict=True)
    )
    return f"{count} of {len(answers)} answers wrong"


def _one_line(error: BaseException) -> str:
    return str(error).strip().replace("\n", " ").replace("|", "\\|")


@tried(
    "`Dense(1)` then `Softmax(axis=0)`, 16 threads that each send one row",
    "981 of 1600 answers wrong",
)
def _softmax(_: Path) -> str:
    model = keras.Sequential(
        [keras.Input((4,)), keras.layers.Dense(1), keras.layers.Softmax(axis=0)]
    )
    with _served(model, "softmax") as server:
        rows = list(np.random.default_rng(0).normal(size=(1600, 1, 4)).astype(np.float32))
        right = [np.ones((1, 1))] * len(rows)
        found = _wrong(_answers_of(server, rows, 16), right)
        (note,) = (each for each in server.versions[1].notes if "serving_default" in each)
        return f"{found}; note of the version: *{note}*"


@tried(
    "a Keras text classifier whose `TextVectorization` pads to the longest text, 32 callers",
    "three in four answers wrong",
)
def _padded_text(_: Path) -> str:
    layers = keras.layers
    vectorize = layers.TextVectorization(vocabulary=["good", "bad", "the", "a", "film"])
    text = keras.Input((1,), dtype="string")
    x = layers.GlobalAveragePooling1D()(layers.Embedding(10, 8)(vectorize(text)))
    model = keras.Model(text, layers.Dense(2, activation="softmax")(x))
    words = ["good", "bad", "the", "a", "film", "other"]
    rng = np.random.default_rng(1)
    texts = [
        np.array([[" ".join(rng.choice(words, rng.integers(1, 12)))]], object) for _ in range(640)
    ]
    with _served(model, "texts") as server:
        right = [np.asarray(server.predict(each)) for each in texts]
        return _wrong(_answers_of(server, texts, 32), right)


@tried(
    "`tf.Module` that holds a Keras 3 model in an attribute, published over a good version",
    "version 2 AVAILABLE, version 1 unloaded, every request fails",
)
def _module_with_keras(_: Path) -> str:
    class Holder(tf.Module):
        def __init__(self) -> None:
            super().__init__()
            self.model = _dense(1, 2, kernel_initializer="ones")

        @tf.function(input_signature=[tf.TensorSpec([None, 2], tf.float32, "x")])
        def __call__(self, x: Any) -> Any:
            return self.model(x)

    x = np.array([[1.0, 2.0]], np.float32)
    with _served(Holder(), "holder") as server:
        server.publish(Holder())
        return f"version {server.versions.available[0]} serves and answers {server.predict(x)[0]}"


@tried(
    "version 2 calls a Python function (`tf.py_function`), published over a good version",
    "version 2 AVAILABLE, every request fails",
)
def _lost_function(folder: Path) -> str:
    class Calls(tf.Module):
        @tf.function(input_signature=[tf.TensorSpec([None, 2], tf.float32, "x")])
        def __call__(self, x: Any) -> Any:
            y = tf.py_function(lambda x: x * 2, [x], tf.float32)
            return tf.ensure_shape(y, [None, 2])

    calls = Calls()
    tf.saved_model.save(calls, str(folder / "calls"), signatures=calls.__call__)
    x = np.array([[1.0, 2.0]], np.float32)
    with _served(_dense(1, 2, kernel_initializer="ones"), "calls") as server:
        try:
            server.publish(folder / "calls")
        except ServingError as error:
            said = _one_line(error)
        else:
            said = "published"
        return f"*{said}*; version 1 keeps serving and answers {server.predict(x)[0]}"


@tried(
    'a layer with `dtype="bfloat16"`: `wb.serve`, then `publish`',
    "`ValueError: cannot include dtype 'E' in a buffer`, but the version was live",
)
def _bfloat16(_: Path) -> str:
    def model() -> keras.Model:
        return _dense(1, 2, dtype="bfloat16", kernel_initializer="ones")

    with _served(model(), "bfloat") as server:
        server.publish(model())
        return f"both served; {server.predict(np.ones((1, 2), np.float32))[0]}"


@tried(
    "an input named `sepal length (cm)`, called with a data frame",
    "raw ValueError about argument names, after the server was started",
)
def _csv_columns(_: Path) -> str:
    names = ["sepal length (cm)", "sepal width (cm)"]
    inputs = {name: keras.Input((1,), name=name) for name in names}
    model = keras.Model(inputs, keras.layers.Add()(list(inputs.values())))
    frame = pd.DataFrame({names[1]: [3.5], names[0]: [5.1], "species": ["setosa"]})
    with _served(model, "iris") as server:
        return f"answers {server.predict(frame).tolist()}"


@tried("two inputs of shape (None, 1) and `predict(DataFrame)`", "`In[0] is not a matrix`")
def _two_columns(_: Path) -> str:
    a, b = keras.Input((1,), name="a"), keras.Input((1,), name="b")
    both = keras.layers.Concatenate()([a, b])
    model = keras.Model([a, b], keras.layers.Dense(1, kernel_initializer="ones")(both))
    with _served(model, "pair") as server:
        frame = pd.DataFrame({"a": [1.0, 2.0], "b": [3.0, 4.0]})
        return f"answers {server.predict(frame).tolist()}"


@tried(
    '`wb.serve("current")`, a link that is later swapped to another release folder',
    "the new release is never seen",
)
def _swapped_link(folder: Path) -> str:
    for number in (1, 2):
        made = _dense(1, 1, kernel_initializer=keras.initializers.Constant(number))
        made.export(str(folder / f"release-{number}" / "1"), verbose=False)
    current = folder / "current"
    current.symlink_to("release-1")
    x = np.ones((1, 1), np.float32)
    with _served(current, "current") as server:
        before = float(np.asarray(server.predict(x))[0, 0])
        (folder / "next").symlink_to("release-2")
        (folder / "next").rename(current)
        began = time.monotonic()
        while float(np.asarray(server.predict(x))[0, 0]) == before:
            assert time.monotonic() - began < 60
            time.sleep(0.02)
        return f"answered by the new release after {time.monotonic() - began:.1f} s"


@tried(
    "`jit_compile=True`, 16 callers with single rows",
    "p99 of 733 ms in the first two seconds: a compilation for each new batch size",
)
def _compiled(_: Path) -> str:
    class Compiled(tf.Module):
        def __init__(self) -> None:
            super().__init__()
            self.weights = tf.Variable(tf.random.stateless_normal([64, 64], [1, 2]))

        @tf.function(input_signature=[tf.TensorSpec([None, 64], tf.float32, "x")], jit_compile=True)
        def __call__(self, x: Any) -> Any:
            return tf.nn.softmax(x @ self.weights)

    with _served(Compiled(), "compiled") as server:
        x = np.ones((1, 64), np.float32)
        took: list[float] = []
        end = time.monotonic() + 2

        def ask(_: int) -> None:
            while time.monotonic() < end:
                began = time.monotonic()
                server.predict(x)
                took.append(time.monotonic() - began)

        with ThreadPoolExecutor(16) as pool:
            list(pool.map(ask, range(16)))
        probe = server.status()["models"][0]["versions"][0]["probe"]
        return (
            f"p99 of {np.percentile(took, 99) * 1e3:.0f} ms of {len(took)} requests in the first "
            f"two seconds (16 Python threads); compiled beforehand, in "
            f"{probe['compiled_seconds']:.2f} s"
        )


@tried("a `tf_keras` model", "error: decorate `__call__`")
def _keras2(_: Path) -> str:
    import tf_keras

    model = tf_keras.Sequential(
        [tf_keras.Input((2,)), tf_keras.layers.Dense(1, kernel_initializer="ones")]
    )
    with _served(model, "keras2") as server:
        return f"answers {server.predict(np.ones((1, 2), np.float32)).tolist()}"


@tried("a `.keras` file", "is neither a SavedModel ...")
def _keras_file(folder: Path) -> str:
    _dense(1, 2, kernel_initializer="ones").save(folder / "model.keras")
    with _served(folder / "model.keras", "file") as server:
        return f"answers {server.predict(np.ones((1, 2), np.float32)).tolist()}"


@tried("a Lambda layer over an untracked lookup table", "20 lines of AssertionError")
def _untracked_table(_: Path) -> str:
    content = tf.lookup.KeyValueTensorInitializer(["a", "b"], [3.0, 4.0])
    table = tf.lookup.StaticHashTable(content, -1.0)
    text = keras.Input((1,), dtype="string")
    look = keras.layers.Lambda(lambda x: table.lookup(x), output_shape=(1,), name="prices")
    with _served(keras.Model(text, look(text)), "prices") as server:
        return f"answers {server.predict([['b']]).tolist()}"


@tried("RaggedTensor input", "`must be numbers, not object`")
def _ragged(_: Path) -> str:
    class Sums(tf.Module):
        @tf.function(input_signature=[tf.RaggedTensorSpec([None, None], tf.float32)])
        def __call__(self, x: Any) -> Any:
            return tf.reduce_sum(x, 1)

    with _served(Sums(), "ragged") as server:
        return f"answers {server.predict(tf.ragged.constant([[1.0, 2.0], [3.0]])).tolist()}"


@tried(
    "`MultiInference` on a TensorFlow 2 SavedModel",
    '"Input tensor must be the same for all Signatures."',
)
def _multi_inference(_: Path) -> str:
    import grpc
    from tensorflow_serving.apis import inference_pb2, prediction_service_pb2_grpc

    class Heads(tf.Module):
        def _x(self, examples: Any) -> Any:
            feature = tf.io.FixedLenFeature([], tf.float32)
            return tf.io.parse_example(examples, {"x": feature})["x"]

        @tf.function(input_signature=[tf.TensorSpec([None], tf.string, "inputs")])
        def classify(self, inputs: Any) -> Any:
            x = self._x(inputs)
            return {"scores": tf.stack([x, 2.0 * x], 1)}

        @tf.function(input_signature=[tf.TensorSpec([None], tf.string, "inputs")])
        def regress(self, inputs: Any) -> Any:
            return {"outputs": self._x(inputs) + 1.0}

    with tempfile.TemporaryDirectory() as folder:
        heads, path = Heads(), f"{folder}/1"
        tf.saved_model.save(
            heads, path, signatures={"classify": heads.classify, "regress": heads.regress}
        )
        _name_methods(path)
        with _served(folder, "heads") as server, grpc.insecure_channel(server.grpc_address) as to:
            request = inference_pb2.MultiInferenceRequest()
            for name in ("classify", "regress"):
                task = request.tasks.add(method_name=f"tensorflow/serving/{name}")
                task.model_spec.name, task.model_spec.signature_name = "heads", name
            example = request.input.example_list.examples.add()
            example.features.feature["x"].float_list.value.append(3.0)
            stub = prediction_service_pb2_grpc.PredictionServiceStub(to)
            metadata = [("authorization", f"Bearer {server.token}")]
            answer = stub.MultiInference(request, timeout=30, metadata=metadata)
            scores = [
                c.score for c in answer.results[0].classification_result.classifications[0].classes
            ]
            value = answer.results[1].regression_result.regressions[0].value
            return f"answers: scores {scores}, value {value}"


def _name_methods(path: str) -> None:
    """Set the method name of each signature, as an exporter for Serving does."""
    from tensorflow.core.protobuf import saved_model_pb2

    file = Path(path, "saved_model.pb")
    message = saved_model_pb2.SavedModel.FromString(file.read_bytes())
    for name, definition in message.meta_graphs[0].signature_def.items():
        if name in ("classify", "regress"):
            definition.method_name = f"tensorflow/serving/{name}"
    file.write_bytes(message.SerializeToString())


@tried(
    "SIGKILL of a worker three times within a minute, one version only",
    "404 for 10 s, then 20 s ...",
)
def _killed(_: Path) -> str:
    with _served(_dense(1, 2), "killed") as server:
        url = f"{server.url}:predict"
        codes: Counter[int] = Counter()
        ended = threading.Event()

        def ask() -> None:
            host = server.address.removeprefix("http://")
            body = json.dumps({"instances": [[1.0, 2.0]]})
            headers = {"Authorization": f"Bearer {server.token}"}
            while not ended.is_set():
                connection = http.client.HTTPConnection(host, timeout=40)
                connection.request("POST", url.partition(host)[2], body, headers)
                codes[connection.getresponse().status] += 1
                connection.close()
                time.sleep(0.01)

        asking = threading.Thread(target=ask)
        asking.start()
        for _ in range(3):
            time.sleep(1.0)
            pid = None
            while pid is None:
                pid = server.status()["models"][0]["versions"][0]["pid"]
                time.sleep(0.01)
            os.kill(pid, signal.SIGKILL)
        began = time.monotonic()
        time.sleep(0.5)
        while server.status()["models"][0]["versions"][0]["state"] != "AVAILABLE":
            time.sleep(0.05)
            assert time.monotonic() - began < 60
        away = time.monotonic() - began
        time.sleep(0.5)
        ended.set()
        asking.join()
        codes_text = ", ".join(f"{count} times {code}" for code, count in sorted(codes.items()))
        return f"{codes_text}; available again {away:.1f} s after the third"


@tried(
    "the newest version's folder removed, then `publish`",
    "the number is reused, and the *old* contents keep answering",
)
def _removed_folder(_: Path) -> str:
    def constant(value: float) -> keras.Model:
        return _dense(1, 1, kernel_initializer=keras.initializers.Constant(value))

    with _served(constant(1), "removed") as server:
        server.publish(constant(2))
        shutil.rmtree(server.base_path / "2")
        number = server.publish(constant(3))
        answer = float(np.asarray(server.predict(np.ones((1, 1), np.float32)))[0, 0])
        return f"published as version {number}, which answers {answer}"


@tried("a checkpoint without one variable", '"No variables to save", which hides the cause')
def _missing_variable(folder: Path) -> str:
    class Two(tf.Module):
        def __init__(self) -> None:
            super().__init__()
            self.scale, self.shift = tf.Variable(2.0, name="scale"), tf.Variable(1.0, name="shift")

        @tf.function(input_signature=[tf.TensorSpec([None], tf.float32, "x")])
        def __call__(self, x: Any) -> Any:
            return self.scale * x + self.shift

    two = Two()
    tf.saved_model.save(two, str(folder / "1"), signatures=two.__call__)
    shutil.rmtree(folder / "1" / "variables")
    one = tf.train.Checkpoint(scale=two.scale)
    one.write(str(folder / "1" / "variables" / "variables"))
    try:
        with _served(folder, "missing"):
            return "served"
    except ServingError as error:
        return f"*{_one_line(error)}*"


@tried(
    'a 71 MB body `{"0":1,"1":1, ...}` from one client, and other bodies above 64 KiB',
    "all other large bodies wait 25 s",
)
def _many_keys(_: Path) -> str:
    body = ("{" + ",".join(f'"{n}":1' for n in range(6_200_000)) + "}").encode()
    small = json.dumps({"instances": np.zeros((40, 784)).round(2).tolist()}).encode()
    with _served(_dense(1, 784), "bodies") as server:
        host = server.address.removeprefix("http://")
        path = server.url.partition(host)[2] + ":predict"
        headers = {"Authorization": f"Bearer {server.token}"}

        def post(data: bytes) -> tuple[int, float]:
            connection = http.client.HTTPConnection(host, timeout=120)
            began = time.monotonic()
            connection.request("POST", path, data, headers)
            code = connection.getresponse().status
            connection.close()
            return code, time.monotonic() - began

        post(small)
        with ThreadPoolExecutor(1) as pool:
            large = pool.submit(post, body)
            waits = []
            while not large.done():
                code, took = post(small)
                assert code == 200
                waits.append(took)
            code, took = large.result()
        return (
            f"{len(body) / 1e6:.0f} MB answered {code} after {took:.1f} s; meanwhile a body of "
            f"{len(small) >> 10} KiB took {max(waits):.2f} s at most"
        )


def main() -> None:
    """Try all models, and write the table into the page."""
    lines = ["| tried | before | now |", "| --- | --- | --- |"]
    for what, was, function in TRIED:
        with tempfile.TemporaryDirectory() as folder:
            now = function(Path(folder)).replace(folder, "FOLDER")
            lines.append(f"| {what} | {was} | {now} |")
        print(lines[-1], flush=True)
    page = PAGE.read_text()
    before, _, rest = page.partition(_BEGIN)
    after = rest.partition(_END)[2]
    table = "\n".join(lines)
    PAGE.write_text(f"{before}{_BEGIN}\n{table}\n{_END}{after}")


if __name__ == "__main__":
    main()
