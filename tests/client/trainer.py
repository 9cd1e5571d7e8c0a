"""A notebook's stand-in: a process that has TensorFlow, builds models and serves them.

`python -m tests.client.trainer` reads one JSON list `[function, arguments, keywords]` a line and
answers each with ``{"value": ...}`` or ``{"error": [code, message]}``.
"""

from __future__ import annotations

import functools
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

from tests.client import strangers
from workbench.core.status import ServingError

_ENVIRONMENT = {
    "TF_CPP_MIN_LOG_LEVEL": "3",
    "CUDA_VISIBLE_DEVICES": "",
    "KERAS_BACKEND": "tensorflow",
}


class Trainer:
    """The caller's side: `trainer.save("keras", path)` runs `save` over there."""

    def __init__(self) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.client.trainer"],
            env={**os.environ, **_ENVIRONMENT},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        )

    def __getattr__(self, function: str) -> Any:
        def call(*arguments: Any, **keywords: Any) -> Any:
            assert self._process.stdin is not None
            assert self._process.stdout is not None
            print(json.dumps([function, arguments, keywords]), file=self._process.stdin, flush=True)
            answer = json.loads(self._process.stdout.readline())
            if "error" in answer:
                from workbench.core.status import Code

                code, message = answer["error"]
                raise ServingError(Code[code], message)
            return answer["value"]

        return call

    def close(self) -> None:
        with self._process:
            assert self._process.stdin is not None
            self._process.stdin.close()
            self._process.wait(20)


def main() -> None:
    # What the models print is not an answer.
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    for line in sys.stdin:
        function, arguments, keywords = json.loads(line)
        try:
            answer = {"value": _FUNCTIONS[function](*arguments, **keywords)}
        except ServingError as error:
            answer = {"error": [error.code.name, error.message]}
        except Exception as error:
            answer = {"error": ["INTERNAL", repr(error)]}
        print(json.dumps(answer), file=answers, flush=True)


@functools.cache
def _model(kind: str) -> Any:
    """One model of each kind; those with a number multiply by it."""
    if kind in strangers.MODELS:
        return strangers.build(kind)
    import keras
    import tensorflow as tf

    kind, _, number = kind.partition(":")
    factor = float(number or 1)
    if kind == "keras":
        layer = keras.layers.Dense(
            1, use_bias=False, kernel_initializer=keras.initializers.Constant(factor)
        )
        return keras.Sequential([keras.Input((2,), name="x"), layer], name="sum")
    if kind == "keras two inputs":
        a, b = keras.Input((1,), name="a"), keras.Input((1,), name="b")
        return keras.Model([a, b], keras.layers.Add()([a, b]))
    if kind == "unbuilt":
        return keras.Sequential([keras.layers.Dense(1)], name="unbuilt")

    floats = tf.TensorSpec([None], tf.float32, "x")

    class Callable(tf.Module):
        @tf.function(input_signature=[floats])
        def __call__(self, x: Any) -> Any:
            return {"y": x * factor}

        @tf.function(input_signature=[floats])
        def halve(self, x: Any) -> Any:
            return {"y": x / 2.0}

        @tf.function
        def untraced(self, x: Any) -> Any:
            return x

    class Named(tf.Module):
        @tf.function(input_signature=[floats])
        def scale(self, x: Any) -> Any:
            return {"y": x * factor}

    class Bare(tf.Module):
        @tf.function
        def __call__(self, x: Any) -> Any:
            return x

    kinds = {"module": Callable, "named module": Named, "bare module": Bare, "int": lambda: 5}
    return kinds[kind]()


def save(kind: str, path: str) -> None:
    from workbench.client.models.servable import servable

    servable(_model(kind)).write(Path(path))


def put(kind: str, base: str, version: int) -> str:
    from workbench.client.models.servable import servable
    from workbench.client.publishing import saving

    return str(saving.put_version(servable(_model(kind)), Path(base), version))


def fingerprint(kind: str) -> str:
    from workbench.client.models.servable import servable

    return servable(_model(kind)).digest()


def serve(kind: str, name: str, **settings: Any) -> str:
    import workbench as wb

    return str(wb.serve(_model(kind), name, **settings).outcome)


def publish(name: str, kind: str, **settings: Any) -> int:
    import workbench as wb

    return wb.connect(name).publish(_model(kind), **settings)


def put_path(path: str, base: str, version: int) -> str:
    from workbench.client.models.servable import servable
    from workbench.client.publishing import saving

    return str(saving.put_version(servable(path), Path(base), version))


def serve_path(path: str, **settings: Any) -> str:
    import workbench as wb

    return str(wb.serve(path, **settings).outcome)


def put_with_library(library: str, base: str) -> str:
    """A model with an operation of a library that is loaded by its path, as a notebook does."""
    import tensorflow as tf

    from workbench.client.models.servable import servable
    from workbench.client.publishing import saving

    operations = tf.load_op_library(library)

    class Splitter(tf.Module):
        @tf.function(input_signature=[tf.TensorSpec([None], tf.string, "x")])
        def __call__(self, x: Any) -> Any:
            split = operations.TFText_WhitespaceTokenizeWithOffsetsV2
            return {"y": split(input_values=x, input_config=b"")[0]}

    return str(saving.put_version(servable(Splitter()), Path(base), 1))


def save_plainly(kind: str, path: str) -> str:
    """As TensorFlow alone does it."""
    import tensorflow as tf

    model = _model(kind)
    tf.saved_model.save(model, path, signatures=model.__call__)
    return path


def rebuilt_fingerprint(kind: str) -> str:
    """Of a model that is built anew, as by a cell that is run again."""
    from workbench.client.models.servable import servable

    return servable(strangers.build(kind)).digest()


def put_new(kind: str, base: str, version: int) -> str:
    """Put one of the models that strangers ask there, newly built."""
    from tests.client.asked_models import build
    from workbench.client.models.servable import servable
    from workbench.client.publishing import saving

    return str(saving.put_version(servable(build(kind)), Path(base), version))


def publish_new(server: str, model: str, kind: str) -> int:
    """Publish one of those models there, as a notebook does."""
    from tests.client.asked_models import build
    from workbench.client.server import ServerClient

    return ServerClient(server, model).publish(build(kind))


def put_exported(kind: str, base: str, version: int) -> str:
    """The same as Keras itself exports it, with other names of inputs each time."""
    import tempfile

    from tests.client.asked_models import build
    from workbench.client.models.servable import servable
    from workbench.client.publishing import saving

    with tempfile.TemporaryDirectory() as folder:
        build(kind).export(folder, verbose=False)
        return str(saving.put_version(servable(folder), Path(base), version))


_FUNCTIONS = {f.__name__: f for f in (save, put, fingerprint, serve, publish)}
_MORE = (
    put_path,
    put_new,
    publish_new,
    put_exported,
    put_with_library,
    serve_path,
    save_plainly,
    rebuilt_fingerprint,
)
_FUNCTIONS |= {f.__name__: f for f in _MORE}
_FUNCTIONS["save_as"] = strangers.save_as

if __name__ == "__main__":
    main()
