"""Models of Keras layers, exported by `model.export`, whose output rows depend on their own input
rows alone: their requests must be merged."""

from __future__ import annotations

from typing import Any

from tests.zoo.specimens import WORDS, Collection, floats, images, integers, texts

_all = Collection()
rowwise = _all.add

SEQUENCE = {"x": floats(5, 3)}


def _stack(tf: Any, inputs: Any, *layers: Any) -> Any:
    """A Keras model of layers, one after the other."""
    x = inputs
    for layer in layers:
        x = layer(x)
    return tf.keras.Model(inputs, x)


@rowwise(inputs={"x": floats(8)})
def mlp(tf: Any) -> Any:
    layers = tf.keras.layers
    return _stack(
        tf,
        tf.keras.Input((8,)),
        layers.Dense(16, activation="relu"),
        layers.Dropout(0.5),
        layers.Dense(3, activation="softmax"),
    )


@rowwise(inputs={"x": images(8, 8)})
def convnet(tf: Any) -> Any:
    layers = tf.keras.layers
    return _stack(
        tf,
        tf.keras.Input((8, 8, 1)),
        layers.Rescaling(1 / 255),
        layers.Conv2D(4, 3, activation="relu", padding="same"),
        layers.BatchNormalization(),
        layers.MaxPooling2D(),
        layers.Conv2D(4, 3),
        layers.AveragePooling2D(2),
        layers.Flatten(),
        layers.Dense(3),
    )


@rowwise(inputs={"x": images(8, 8, 3)})
def separable_convolutions(tf: Any) -> Any:
    layers = tf.keras.layers
    return _stack(
        tf,
        tf.keras.Input((8, 8, 3)),
        layers.SeparableConv2D(4, 3, activation="relu6"),
        layers.DepthwiseConv2D(3, padding="same"),
        layers.ZeroPadding2D(1),
        layers.GlobalMaxPooling2D(),
    )


@rowwise(inputs={"x": images(12, 12)})
def dilated_and_transposed(tf: Any) -> Any:
    """A segmentation net: some of these pass through a form with other numbers of rows."""
    layers = tf.keras.layers
    return _stack(
        tf,
        tf.keras.Input((12, 12, 1)),
        layers.Conv2D(2, 3, dilation_rate=2, padding="same"),
        layers.DepthwiseConv2D(3, dilation_rate=2, padding="same"),
        layers.Conv2DTranspose(2, 3, strides=2),
        layers.UpSampling2D(2),
    )


@rowwise(inputs={"x": images(10, 9, 3)})
def resized_images(tf: Any) -> Any:
    layers = tf.keras.layers
    return _stack(
        tf,
        tf.keras.Input((10, 9, 3)),
        layers.Resizing(6, 6),
        layers.CenterCrop(4, 4),
        layers.Conv2D(2, 3),
        layers.GlobalAveragePooling2D(),
    )


@rowwise(inputs={"x": floats(6)})
def layer_norm(tf: Any) -> Any:
    layers = tf.keras.layers
    return _stack(
        tf,
        tf.keras.Input((6,)),
        layers.LayerNormalization(),
        layers.Dense(4, activation="gelu"),
        layers.UnitNormalization(),
    )


@rowwise(inputs=SEQUENCE)
def lstm(tf: Any) -> Any:
    return _stack(tf, tf.keras.Input((5, 3)), tf.keras.layers.LSTM(4))


@rowwise(inputs=SEQUENCE)
def gru(tf: Any) -> Any:
    return _stack(tf, tf.keras.Input((5, 3)), tf.keras.layers.GRU(4, return_sequences=True))


@rowwise(inputs=SEQUENCE)
def bidirectional_lstm(tf: Any) -> Any:
    layers = tf.keras.layers
    return _stack(tf, tf.keras.Input((5, 3)), layers.Bidirectional(layers.LSTM(3)))


@rowwise(inputs=SEQUENCE)
def simple_rnn(tf: Any) -> Any:
    return _stack(tf, tf.keras.Input((5, 3)), tf.keras.layers.SimpleRNN(3, unroll=True))


@rowwise(inputs={"ids": integers(9, 6)})
def masked_lstm(tf: Any) -> Any:
    """Steps with the id 0 are left out."""
    layers = tf.keras.layers
    return _stack(
        tf,
        tf.keras.Input((6,), dtype="int64"),
        layers.Embedding(9, 3, mask_zero=True),
        layers.LSTM(3),
    )


@rowwise(inputs=SEQUENCE)
def causal_convolution(tf: Any) -> Any:
    layers = tf.keras.layers
    return _stack(
        tf,
        tf.keras.Input((5, 3)),
        layers.Conv1D(4, 2, padding="causal"),
        layers.MaxPooling1D(2),
        layers.GlobalAveragePooling1D(),
    )


@rowwise(inputs=SEQUENCE)
def time_distributed(tf: Any) -> Any:
    layers = tf.keras.layers
    return _stack(tf, tf.keras.Input((5, 3)), layers.TimeDistributed(layers.Dense(2)))


@rowwise(inputs=SEQUENCE)
def transformer_block(tf: Any) -> Any:
    layers = tf.keras.layers
    x = tf.keras.Input((5, 3))
    attended = layers.LayerNormalization()(
        x + layers.MultiHeadAttention(2, 4, dropout=0.1)(x, x, use_causal_mask=True)
    )
    hidden = layers.Dense(3)(layers.Dense(6, activation="gelu")(attended))
    return tf.keras.Model(x, layers.LayerNormalization()(attended + hidden))


@rowwise(inputs={"ids": integers(20, 7)})
def embedding_pooling(tf: Any) -> Any:
    layers = tf.keras.layers
    return _stack(
        tf,
        tf.keras.Input((7,), dtype="int64"),
        layers.Embedding(20, 4),
        layers.GlobalAveragePooling1D(),
        layers.Dense(2, activation="sigmoid"),
    )


@rowwise(inputs={"word": texts(*WORDS, shape=(1,))})
def string_lookup(tf: Any) -> Any:
    layers = tf.keras.layers
    return _stack(
        tf,
        tf.keras.Input((1,), dtype="string"),
        layers.StringLookup(vocabulary=["red", "green", "blue"]),
        layers.Embedding(4, 3),
        layers.Flatten(),
    )


@rowwise(inputs={"code": integers(60, 2)})
def integer_lookup(tf: Any) -> Any:
    layers = tf.keras.layers
    return _stack(
        tf,
        tf.keras.Input((2,), dtype="int64"),
        layers.IntegerLookup(vocabulary=[10, 20, 30, 42], output_mode="multi_hot"),
    )


@rowwise(inputs={"text": texts()})
def text_of_fixed_length(tf: Any) -> Any:
    layers = tf.keras.layers
    return _stack(
        tf,
        tf.keras.Input((), dtype="string"),
        layers.TextVectorization(
            vocabulary=["the", "it", "good", "ok", "broken"], output_sequence_length=8
        ),
        layers.Embedding(8, 4),
        layers.GlobalAveragePooling1D(),
        layers.Dense(2, activation="softmax"),
    )


@rowwise(inputs={"word": texts(*WORDS, shape=(1,))})
def hashing(tf: Any) -> Any:
    layers = tf.keras.layers
    return _stack(
        tf,
        tf.keras.Input((1,), dtype="string"),
        layers.Hashing(16),
        layers.CategoryEncoding(16, output_mode="multi_hot"),
    )


@rowwise(inputs={"kind": integers(5, 1)})
def category_encoding(tf: Any) -> Any:
    layers = tf.keras.layers
    return _stack(
        tf,
        tf.keras.Input((1,), dtype="int64"),
        layers.CategoryEncoding(5, output_mode="one_hot"),
        layers.Dense(2),
    )


@rowwise(inputs={"x": floats(3, scale=40.0)})
def normalization(tf: Any) -> Any:
    layers = tf.keras.layers
    return _stack(
        tf,
        tf.keras.Input((3,)),
        layers.Normalization(mean=[1.0, 2.0, 3.0], variance=[4.0, 5.0, 6.0]),
        layers.Rescaling(2.0, offset=1.0),
        layers.Discretization([-10.0, 0.0, 10.0], output_mode="int"),
    )


@rowwise(inputs={"age": floats(1), "income": floats(1), "city": texts(*WORDS, shape=(1,))})
def three_inputs(tf: Any) -> Any:
    layers = tf.keras.layers
    age = tf.keras.Input((1,), name="age")
    income = tf.keras.Input((1,), name="income")
    city = tf.keras.Input((1,), dtype="string", name="city")
    lookup = layers.StringLookup(vocabulary=["red", "green", "blue"], output_mode="one_hot")
    x = layers.Concatenate()([age, layers.Normalization(mean=1.0, variance=2.0)(income),
                              lookup(city)])  # fmt: skip
    y = layers.Dense(2)(layers.Dense(8, activation="relu")(x))
    return tf.keras.Model({"age": age, "income": income, "city": city}, y)


@rowwise(inputs={"x": floats(4)})
def several_outputs(tf: Any) -> Any:
    layers = tf.keras.layers
    x = tf.keras.Input((4,), name="x")
    hidden = layers.Dense(6, activation="selu")(x)
    return tf.keras.Model(
        x,
        {
            "class": layers.Dense(3, activation="softmax")(hidden),
            "score": layers.Dense(1)(hidden),
            "embedding": layers.Reshape((2, 3))(hidden),
        },
    )


@rowwise(inputs={"x": floats(4)}, tolerance=2e-2)
def bfloat16_layer(tf: Any) -> Any:
    layers = tf.keras.layers
    return _stack(
        tf,
        tf.keras.Input((4,)),
        layers.Dense(8, dtype="bfloat16"),
        layers.Dense(2, dtype="float32"),
    )


@rowwise(inputs={"x": floats(4)}, tolerance=5e-3)
def mixed_float16(tf: Any) -> Any:
    layers = tf.keras.layers
    return _stack(
        tf,
        tf.keras.Input((4,)),
        layers.Dense(8, activation="relu", dtype="mixed_float16"),
        layers.Dense(2, dtype="mixed_float16"),
    )


@rowwise(inputs={"x": images(4, 4)})
def transfer_learning(tf: Any) -> Any:
    """A frozen model inside another, called as a layer."""
    layers = tf.keras.layers
    base = tf.keras.Sequential([
        tf.keras.Input((4, 4, 1)),
        layers.Conv2D(2, 2),
        layers.BatchNormalization(),
        layers.Flatten(),
    ])  # fmt: skip
    base.trainable = False
    x = tf.keras.Input((4, 4, 1))
    return tf.keras.Model(x, layers.Dense(2)(base(x, training=False)))


ROWWISE_KERAS = _all.specimens
