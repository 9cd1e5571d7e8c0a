"""Models as people have them: nothing named, several inputs, text, odd shapes and types.

Built in the trainer's process, which has TensorFlow; `build` makes another one at each call, as a
training loop does.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any


def build(kind: str) -> Any:
    """A new model of that kind."""
    return _KINDS[kind]()


def _ones(units: int) -> Any:
    import keras

    return keras.layers.Dense(units, use_bias=False, kernel_initializer="ones")


def _unnamed() -> Any:
    """Keras numbers the input: ``keras_tensor``, ``keras_tensor_2`` ..."""
    import keras

    return keras.Sequential([keras.Input((2,)), _ones(1)])


def _wider() -> Any:
    import keras

    return keras.Sequential([keras.Input((3,)), _ones(1)])


def _whole_numbers() -> Any:
    import keras

    return keras.Sequential(
        [keras.Input((2,), dtype="int32"), keras.layers.Lambda(lambda x: x[:, :1] + x[:, 1:])]
    )


def _columns() -> Any:
    """Two inputs of shape (None, 1), as from the columns of a table."""
    import keras

    a, b = keras.Input((1,), name="a"), keras.Input((1,), name="b")
    return keras.Model([a, b], _ones(1)(keras.layers.Concatenate()([a, b])))


def _unnamed_pair() -> Any:
    import keras

    a, b = keras.Input((1,)), keras.Input((1,))
    return keras.Model([a, b], keras.layers.Add()([a, b]))


def _list_subclass() -> Any:
    """A subclass of `keras.Model` that takes a list of two arrays."""
    import keras
    import numpy as np

    class Total(keras.Model):
        def call(self, inputs: Any) -> Any:
            return inputs[0] - inputs[1]

    total = Total()
    total([np.ones((1, 1), np.float32), np.ones((1, 1), np.float32)])
    return total


def _keras2_pair() -> Any:
    """Keras 2 numbers its inputs too: ``input_1``, ``input_2``, and from 3 on the next time."""
    import tf_keras

    a, b = tf_keras.Input((1,)), tf_keras.Input((1,))
    return tf_keras.Model([a, b], tf_keras.layers.Subtract()([a, b]))


def _images() -> Any:
    """A convolution, which aborts on tensors of another rank."""
    import keras

    layer = keras.layers.Conv2D(1, 2, use_bias=False, kernel_initializer="ones")
    return keras.Sequential([keras.Input((2, 2, 1), name="image"), layer, keras.layers.Flatten()])


def _text() -> Any:
    import keras

    words = keras.layers.TextVectorization(vocabulary=["good", "bad"], output_sequence_length=2)
    return keras.Sequential([keras.Input((1,), dtype="string", name="review"), words])


def _shop() -> Any:
    """A functional model with a dictionary of inputs and one of outputs."""
    import keras

    x = {name: keras.Input((1,), name=name) for name in ("price", "count")}
    total = keras.layers.Multiply()([x["price"], x["count"]])
    return keras.Model(x, {"total": total, "price": keras.layers.Identity()(x["price"])})


def _subclass() -> Any:
    """A subclass of `keras.Model`, the names of whose inputs Keras does not keep."""
    import keras
    import numpy as np

    class Shop(keras.Model):
        def call(self, x: Any) -> Any:
            return x["price"] - x["count"]

    shop = Shop()
    shop({"price": np.ones((1, 1), np.float32), "count": np.ones((1, 1), np.float32)})
    return shop


def _module() -> Any:
    """Everything that a `tf.Module` may take: no rank, no dimension, several signatures."""
    import tensorflow as tf

    class Module(tf.Module):
        @tf.function(input_signature=[tf.TensorSpec(None, tf.float32, "x")])
        def __call__(self, x: Any) -> Any:
            return {"y": x * 2, "rank": tf.rank(x)}

        @tf.function(input_signature=[tf.TensorSpec([], tf.float32, "rate")])
        def scalar(self, rate: Any) -> Any:
            return {"y": rate * 2}

        @tf.function(input_signature=[tf.TensorSpec([2, None], tf.string, "words")])
        def two(self, words: Any) -> Any:
            return {"y": tf.strings.length(words)}

    return Module()


_KINDS: dict[str, Callable[[], Any]] = {
    "unnamed": _unnamed,
    "wider": _wider,
    "whole numbers": _whole_numbers,
    "columns": _columns,
    "unnamed pair": _unnamed_pair,
    "list subclass": _list_subclass,
    "keras 2 pair": _keras2_pair,
    "images": _images,
    "text": _text,
    "shop": _shop,
    "subclass": _subclass,
    "stranger's module": _module,
}
