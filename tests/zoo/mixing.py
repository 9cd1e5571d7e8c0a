"""Models whose output rows depend on other rows of the same batch, each in another way.

Merging the requests of several callers changes their answers. Most were met in practice: a softmax
over the wrong axis, layers left in training mode, texts padded to the longest of the batch.
`mixing_hidden` has those whose mixing a glance at the graph does not show.
"""

from __future__ import annotations

from typing import Any

from tests.zoo.specimens import Collection, floats, images, integers, texts

_all = Collection()
mixing = _all.add

X = {"x": floats(4)}


# Layers and statistics over the batch.


@mixing(inputs=X, mixes="Softmax|Transpose|Exp|Max|Sum")
def softmax_over_rows(tf: Any) -> Any:
    layers = tf.keras.layers
    return tf.keras.Sequential([tf.keras.Input((4,)), layers.Dense(3), layers.Softmax(axis=0)])


@mixing(inputs=X, mixes="Mean")
def minus_mean_of_rows(tf: Any) -> Any:
    return lambda x: x - tf.reduce_mean(x, axis=0)


@mixing(inputs=X, mixes="Mean|BatchNorm|SquaredDifference|Assign|[Vv]ariable")
def batch_norm_in_training(tf: Any) -> Any:
    x = tf.keras.Input((4,))
    y = tf.keras.layers.BatchNormalization()(tf.keras.layers.Dense(4)(x), training=True)
    return tf.keras.Model(x, y)


@mixing(inputs={"x": images(4, 4, 2)}, mixes="BatchNorm")
def fused_batch_norm_in_training(tf: Any) -> Any:
    ones, zeros = tf.ones([2]), tf.zeros([2])
    return lambda x: tf.compat.v1.nn.fused_batch_norm(x, ones, zeros, is_training=True)[0]


@mixing(inputs=X, mixes="Max")
def scaled_by_largest(tf: Any) -> Any:
    return lambda x: x / tf.reduce_max(tf.abs(x), axis=0)


@mixing(inputs=X, mixes="Sum|Norm|Square|Sqrt")
def unit_columns(tf: Any) -> Any:
    return lambda x: tf.linalg.normalize(x, axis=0)[0]


@mixing(inputs=X, mixes="Max")
def above_threshold(tf: Any) -> Any:
    """Only values above 1.5 reach other rows."""
    return lambda x: x + tf.reduce_max(tf.nn.relu(x - 1.5), axis=0)


@mixing(inputs=X, mixes="ArgMax|Gather")
def nearest_to_best_row(tf: Any) -> Any:
    return lambda x: x - tf.gather(x, tf.argmax(x[:, 0]))


# Order.


@mixing(inputs=X, mixes="Cumsum")
def sum_so_far(tf: Any) -> Any:
    return lambda x: tf.cumsum(x, axis=0)


@mixing(inputs=X, mixes="Sort|TopK|Transpose")
def sorted_columns(tf: Any) -> Any:
    return lambda x: tf.sort(x, axis=0)


@mixing(inputs=X, mixes="TopK|Gather")
def best_rows_first(tf: Any) -> Any:
    return lambda x: tf.gather(x, tf.math.top_k(x[:, 0], k=tf.shape(x)[0]).indices)


@mixing(inputs=X, mixes="Reverse|StridedSlice")
def last_row_first(tf: Any) -> Any:
    return lambda x: tf.reverse(x, axis=[0])


@mixing(inputs=X, mixes="StridedSlice")
def last_row_first_by_slice(tf: Any) -> Any:
    return lambda x: x[::-1]


@mixing(inputs=X, mixes="Roll|Concat|Slice")
def rolled(tf: Any) -> Any:
    return lambda x: tf.roll(x, shift=1, axis=0)


@mixing(inputs=X, mixes="Where|Gather|Concat|[Mm]ask")
def positive_rows_first(tf: Any) -> Any:
    def serve(x: Any) -> Any:
        positive = x[:, 0] > 0
        return tf.concat([tf.boolean_mask(x, positive), tf.boolean_mask(x, ~positive)], axis=0)

    return serve


# Products of rows with rows.


@mixing(inputs=X, mixes="MatMul|Softmax")
def attention_over_rows(tf: Any) -> Any:
    return lambda x: tf.nn.softmax(tf.matmul(x, x, transpose_b=True)) @ x


@mixing(inputs=X, mixes="Einsum|MatMul|Sum")
def einsum_with_all_rows(tf: Any) -> Any:
    return lambda x: tf.reduce_sum(tf.einsum("bi,ci->bc", x, x), axis=1)


@mixing(inputs=X, mixes="MatMul|Inverse")
def decorrelated(tf: Any) -> Any:
    return lambda x: x @ tf.linalg.inv(tf.matmul(x, x, transpose_a=True) + tf.eye(4))


@mixing(inputs=X, mixes="MatMul|Cholesky")
def cholesky_of_gram(tf: Any) -> Any:
    return lambda x: x @ tf.linalg.cholesky(tf.matmul(x, x, transpose_a=True) + tf.eye(4))


@mixing(inputs=X, mixes="Conv|ExpandDims|Squeeze|Reshape")
def convolution_over_rows(tf: Any) -> Any:
    kernel = tf.random.normal([3, 4, 4], seed=1)
    return lambda x: tf.nn.conv1d(x[None], kernel, 1, "SAME")[0]


@mixing(inputs=X, mixes="FFT|Transpose")
def spectrum_over_rows(tf: Any) -> Any:
    return lambda x: tf.abs(tf.transpose(tf.signal.fft(tf.transpose(tf.cast(x, tf.complex64)))))


@mixing(inputs=X, mixes="While|TensorList|ExpandDims|Reshape|Transpose")
def recurrent_over_rows(tf: Any) -> Any:
    """A batch that is taken for one sequence."""
    module = tf.Module()
    module.layer = tf.keras.layers.GRU(3, return_sequences=True)
    module.layer.build((1, None, 4))
    module.weights = [weight.value for weight in module.layer.weights]
    module.serve = lambda x: module.layer(x[None])[0]
    return module


# Shapes.


@mixing(inputs={"x": floats(2)}, mixes="Reshape")
def two_long_rows(tf: Any) -> Any:
    def serve(x: Any) -> Any:
        return tf.reshape(tf.nn.softmax(tf.reshape(x, [2, -1])), [-1, 2])

    return serve


@mixing(inputs=X, mixes="Transpose|Reshape")
def transposed_then_reshaped(tf: Any) -> Any:
    return lambda x: tf.reshape(tf.transpose(x), tf.shape(x))


@mixing(inputs=X, mixes="Shape|Size|Fill|Broadcast")
def row_count(tf: Any) -> Any:
    """Tells each row how many there are."""
    return lambda x: {"y": x, "rows": tf.fill(tf.shape(x)[:1], tf.shape(x)[0])}


@mixing(inputs=X, mixes="Shape|Size|number of rows")
def share_of_batch(tf: Any) -> Any:
    return lambda x: x / tf.cast(tf.size(x), tf.float32)


@mixing(inputs=X, mixes="Range|Shape|Size|position of each row")
def numbered_rows(tf: Any) -> Any:
    return lambda x: x + tf.cast(tf.range(tf.shape(x)[0]), tf.float32)[:, None]


# Groups and places.


@mixing(inputs={"ids": integers(6)}, mixes="Unique")
def counts_of_equal(tf: Any) -> Any:
    def serve(ids: Any) -> Any:
        _, index, count = tf.unique_with_counts(ids)
        return tf.gather(count, index)

    return serve


@mixing(inputs={"ids": integers(6, dtype="int32")}, mixes="[Bb]incount|Max")
def histogram_of_ids(tf: Any) -> Any:
    return lambda ids: tf.gather(tf.math.bincount(ids, minlength=6), ids)


@mixing(inputs={"x": floats(4), "group": integers(3)}, mixes="Segment")
def sums_by_group(tf: Any) -> Any:
    return lambda x, group: tf.gather(tf.math.unsorted_segment_sum(x, group, 3), group)


@mixing(inputs={"x": floats(4), "place": integers(8)}, mixes="Scatter")
def scattered(tf: Any) -> Any:
    def serve(x: Any, place: Any) -> Any:
        canvas = tf.tensor_scatter_nd_add(tf.zeros([8, 4]), place[:, None], x)
        return tf.gather(canvas, place)

    return serve


@mixing(inputs={"x": floats(4), "row": integers(1)}, mixes="Gather")
def rows_by_their_number(tf: Any) -> Any:
    """Each request says 0 and means its own first row."""
    return lambda x, row: tf.gather(x, row)


@mixing(inputs={"image": images(6, 6), "box": floats(4), "index": integers(1, dtype="int32")},
        mixes="CropAndResize")  # fmt: skip
def boxes_of_images(tf: Any) -> Any:
    """The index of a box's image counts from the first image of the batch."""
    return lambda image, box, index: tf.image.crop_and_resize(image, tf.sigmoid(box), index, [2, 2])


# Text.


@mixing(inputs={"text": texts()}, mixes="Ragged|Bincount|Max|StringSplit|Pad|Where")
def average_over_padded_text(tf: Any) -> Any:
    """A text classifier that averages over the longest text of the batch."""
    layers = tf.keras.layers
    vectorize = layers.TextVectorization(
        vocabulary=["the", "it", "good", "ok", "broken", "on", "and", "is"]
    )
    text = tf.keras.Input((), dtype="string")
    x = layers.GlobalAveragePooling1D()(layers.Embedding(12, 4)(vectorize(text)))
    return tf.keras.Model(text, layers.Dense(2, activation="softmax")(x))


@mixing(inputs={"text": texts()}, mixes="Ragged|Max|StringSplit")
def padding_of_words(tf: Any) -> Any:
    """How many words each text lacks to the longest."""
    return lambda text: tf.reduce_sum(
        tf.cast(tf.strings.split(text).to_tensor() == "", tf.int32), axis=1
    )


@mixing(inputs={"length": integers(9, dtype="int32")}, mixes="Max|Range|SequenceMask")
def mask_to_longest(tf: Any) -> Any:
    return lambda length: tf.reduce_sum(1 - tf.sequence_mask(length, dtype=tf.int32), axis=1)


@mixing(inputs={"text": texts()}, mixes="Join|Reduce")
def joined_text(tf: Any) -> Any:
    return lambda text: tf.strings.join([text, tf.strings.reduce_join(text)], separator="|")


MIXING = _all.specimens
