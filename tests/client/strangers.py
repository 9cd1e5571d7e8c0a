"""Models as people bring them; each function builds one. Only the trainer's process calls them."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any

_kept: list[Any] = []
"""What notebooks keep in variables of their own, and models only use."""


def build(kind: str) -> Any:
    with warnings.catch_warnings():
        # What Keras thinks of these models is not what is tried.
        warnings.simplefilter("ignore")
        return MODELS[kind]()


def _keep(value: Any) -> Any:
    _kept.append(value)
    return value


def _ones(keras: Any, **settings: Any) -> Any:
    return keras.layers.Dense(1, kernel_initializer="ones", **settings)


# Keras 3.


def keras_subclassed() -> Any:
    model = _subclass()
    import numpy as np

    model(np.zeros((1, 2), np.float32))
    return model


def _subclass() -> Any:
    import keras

    class Sub(keras.Model):
        def __init__(self) -> None:
            super().__init__(name="sub")
            self.dense = _ones(keras)

        def call(self, values: Any) -> Any:
            return self.dense(values)

    return Sub()


def keras_called() -> Any:
    """Without an Input: it knows its shape from a call with a single row."""
    import keras
    import numpy as np

    model = keras.Sequential([_ones(keras)])
    model(np.zeros((1, 2), np.float32))
    return model


def keras_plain() -> Any:
    import keras

    return keras.Sequential([keras.Input((2,), name="x"), _ones(keras)])


def keras_bfloat16() -> Any:
    import keras

    return keras.Sequential([keras.Input((2,), name="x"), _ones(keras, dtype="bfloat16")])


def keras_text() -> Any:
    import keras

    text = keras.Input((), dtype="string", name="text")
    layer = keras.layers.TextVectorization(vocabulary=["a", "b"], output_sequence_length=3)
    return keras.Model(text, layer(text))


def keras_lambda_table() -> Any:
    import keras
    import tensorflow as tf

    content = tf.lookup.KeyValueTensorInitializer(["a", "b"], [3.0, 4.0])
    table = _keep(tf.lookup.StaticHashTable(content, -1.0))
    text = keras.Input((1,), dtype="string", name="text")
    look = keras.layers.Lambda(lambda x: table.lookup(x), output_shape=(1,), name="prices")
    return keras.Model(text, look(text))


def keras_lambda_mutable_table() -> Any:
    import keras
    import tensorflow as tf

    table = _keep(tf.lookup.experimental.MutableHashTable(tf.int64, tf.float32, -1.0))
    table.insert([1, 2], [3.0, 4.0])
    number = keras.Input((1,), dtype="int64", name="number")
    look = keras.layers.Lambda(lambda x: table.lookup(x), output_shape=(1,))
    return keras.Model(number, look(number))


def keras_lambda_variable() -> Any:
    import keras
    import tensorflow as tf

    factor = _keep(tf.Variable([2.0, 3.0]))
    x = keras.Input((2,), name="x")
    return keras.Model(x, keras.layers.Lambda(lambda x: x * factor)(x))


def keras_python() -> Any:
    import keras
    import tensorflow as tf

    x = keras.Input((2,), name="x")
    call = keras.layers.Lambda(
        lambda x: tf.py_function(lambda y: y, [x], tf.float32), output_shape=(2,), name="clean"
    )
    return keras.Model(x, call(x), name="shop")


def keras_columns() -> Any:
    """The columns of a CSV file."""
    import keras

    names = ("sepal length (cm)", "1st", "class", "größe")
    inputs = {name: keras.Input((1,), name=name) for name in names}
    doubled = [keras.ops.multiply(each, 10.0**i) for i, each in enumerate(inputs.values())]
    return keras.Model(inputs, {"sum (all)": keras.layers.Add()(doubled)})


def keras_unnamed_inputs() -> Any:
    import keras

    a, b = keras.Input((1,)), keras.Input((1,))
    return keras.Model([a, b], keras.layers.Subtract()([a, b]))


def keras_unbuilt_subclass() -> Any:
    return _subclass()


def keras_layer() -> Any:
    import keras

    return keras.layers.Dense(1)


# Keras 2.


def keras2() -> Any:
    import tf_keras

    return tf_keras.Sequential(
        [tf_keras.Input((2,), name="x"), tf_keras.layers.Dropout(0.5), _ones(tf_keras)]
    )


def keras2_subclassed() -> Any:
    import numpy as np
    import tf_keras

    class Sub(tf_keras.Model):
        def __init__(self) -> None:
            super().__init__()
            self.dense = _ones(tf_keras)

        def call(self, values: Any, training: Any = None) -> Any:
            return self.dense(values) if not training else -self.dense(values)

    model = Sub()
    model(np.zeros((1, 2), np.float32))
    return model


def keras2_columns() -> Any:
    import tf_keras

    a, b = (tf_keras.Input((1,), name=name) for name in ("petal width (cm)", "b"))
    total = tf_keras.layers.Subtract()([a, b])
    return tf_keras.Model({"petal width (cm)": a, "b": b}, total)


def keras2_unbuilt() -> Any:
    import tf_keras

    return tf_keras.Sequential([tf_keras.layers.Dense(1)], name="two")


# Modules.


def _module(compute: Any, spec: Any = None, **attributes: Any) -> Any:
    import tensorflow as tf

    class Holder(tf.Module):
        def __init__(self) -> None:
            super().__init__()
            for name, value in attributes.items():
                setattr(self, name, value)

        @tf.function(input_signature=[spec or tf.TensorSpec([None, 2], tf.float32, "x")])
        def __call__(self, x: Any) -> Any:
            return {"y": compute(x)}

    return Holder()


def module_with_keras() -> Any:
    import keras

    model = keras.Sequential([keras.Input((2,)), _ones(keras)])
    return _module(model, model=model)


def module_with_global_keras() -> Any:
    import keras

    return _module(_keep(keras.Sequential([keras.Input((2,)), _ones(keras)])))


def module_with_keras2() -> Any:
    model = keras2()
    return _module(lambda x: model(x, training=False), model=model)


def module_float8() -> Any:
    import tensorflow as tf

    weights = tf.Variable(tf.cast([2.0, 3.0], tf.dtypes.experimental.float8_e4m3fn))
    return _module(lambda x: x * tf.cast(weights, tf.float32), weights=weights)


def module_empty_variables() -> Any:
    import tensorflow as tf

    empty, words = tf.Variable(tf.zeros([0, 3])), tf.Variable(["a", "b"])
    return _module(lambda x: x + tf.reduce_sum(empty), empty=empty, words=words)


def module_untracked_variable() -> Any:
    import tensorflow as tf

    factor = _keep(tf.Variable([2.0, 3.0]))
    return _module(lambda x: x * factor)


def module_unnamed() -> Any:
    import tensorflow as tf

    class Unnamed(tf.Module):
        @tf.function(input_signature=[tf.TensorSpec([None]), tf.TensorSpec([None])])
        def __call__(self, *arguments: Any) -> Any:
            return arguments[0] - arguments[1]

    return Unnamed()


def module_nested() -> Any:
    import tensorflow as tf

    one = tf.TensorSpec([None])

    class Nested(tf.Module):
        @tf.function(input_signature=[{"a b": one, "A_B": one}, [one, one]])
        def __call__(self, columns: Any, pair: Any) -> Any:
            return {"sums": [columns["a b"] + pair[0], {"last": columns["A_B"] + pair[1]}]}

    return Nested()


def module_case() -> Any:
    """Two names that TensorFlow takes for one."""
    import tensorflow as tf

    class Case(tf.Module):
        @tf.function(input_signature=[tf.TensorSpec([None]), tf.TensorSpec([None])])
        def __call__(self, a: Any, A: Any) -> Any:
            return a - A

    return Case()


def loaded() -> Any:
    """What `tf.saved_model.load` gives."""
    import tempfile

    import tensorflow as tf

    with tempfile.TemporaryDirectory() as folder:
        tf.saved_model.save(module_unnamed(), folder)
        return _keep(tf.saved_model.load(folder))


def module_raises() -> Any:
    def fail(x: Any) -> Any:
        raise ValueError("the scaler was never fitted")

    return _module(fail)


def module_bare_resource() -> Any:
    import tensorflow as tf

    table = tf.raw_ops.HashTableV2(key_dtype=tf.string, value_dtype=tf.float32)
    return _module(
        lambda x: tf.raw_ops.LookupTableFindV2(table_handle=table, keys=x, default_value=0.0),
        tf.TensorSpec([None], tf.string, "x"),
    )


def module_empty_answer() -> Any:
    import tensorflow as tf

    class Silent(tf.Module):
        @tf.function(input_signature=[tf.TensorSpec([None], tf.float32)])
        def __call__(self, x: Any) -> None:
            tf.print(x)

    return Silent()


def text_splitter() -> Any:
    """Its operation is of a package that TensorFlow has not."""
    import tensorflow as tf
    import tensorflow_text

    tokenizer = tensorflow_text.WhitespaceTokenizer()
    return _module(
        lambda x: tokenizer.tokenize(x).to_tensor(b""), tf.TensorSpec([None], tf.string, "x")
    )


# No models.


def function() -> Any:
    return lambda x: x


def scikit() -> Any:
    from sklearn.linear_model import LinearRegression

    return LinearRegression()


MODELS: dict[str, Callable[[], Any]] = {
    name: made
    for name, made in list(globals().items())
    if callable(made) and not name.startswith("_") and name not in ("build", "Callable", "Path")
}


def save_as(kind: str, path: str) -> str:
    """Write a Keras model into a file of its own."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        build(kind).save(path)
    return path
