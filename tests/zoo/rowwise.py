"""Models of TensorFlow operations whose output rows depend on their own input rows alone.

Their requests must be merged, as without that nothing is fast. `rowwise_keras` has those that are
built of Keras layers.
"""

from __future__ import annotations

from typing import Any

from tests.zoo.exporting import tf1
from tests.zoo.specimens import (
    WORDS,
    Collection,
    example,
    floats,
    images,
    integers,
    png,
    strings,
    texts,
)

_all = Collection()
rowwise = _all.add

X = {"x": floats(4)}


# Products with weights.


@rowwise(inputs=X)
def plain_matmul(tf: Any) -> Any:
    module = tf.Module()
    module.weights = tf.Variable(tf.random.normal([4, 3], seed=1))
    module.bias = tf.Variable(tf.zeros([3]))
    module.serve = lambda x: tf.nn.softmax(x @ module.weights + module.bias)
    return module


@rowwise(inputs=X)
def einsum_with_weights(tf: Any) -> Any:
    module = tf.Module()
    module.weights = tf.Variable(tf.random.normal([4, 3], seed=1))
    module.serve = lambda x: tf.einsum("bi,io->bo", x, module.weights)
    return module


@rowwise(inputs={"x": floats(5, 4)})
def einsum_of_heads(tf: Any) -> Any:
    """Attention within each row, as it is written by hand."""
    weights = tf.random.normal([4, 2, 3], seed=1)

    def serve(x: Any) -> Any:
        heads = tf.einsum("bti,iho->btho", x, weights)
        scores = tf.nn.softmax(tf.einsum("btho,bsho->bhts", heads, heads))
        return tf.einsum("bhts,bsho->btho", scores, heads)

    return serve


@rowwise(inputs={"x": floats(3, 4)})
def matmul_for_each_row(tf: Any) -> Any:
    return lambda x: tf.matmul(x, x, transpose_b=True)


@rowwise(inputs={"a": floats(4), "b": floats(4)})
def dot_product_of_inputs(tf: Any) -> Any:
    """A recommender's two towers."""
    return lambda a, b: {
        "dot": tf.reduce_sum(a * b, axis=1),
        "cosine": tf.reduce_sum(tf.math.l2_normalize(a, 1) * tf.math.l2_normalize(b, 1), axis=1),
    }


@rowwise(inputs={"ids": integers(10), "others": integers(10, 3)})
def gather_of_weights(tf: Any) -> Any:
    table = tf.random.normal([10, 4], seed=1)

    def serve(ids: Any, others: Any) -> Any:
        return {"y": tf.gather(table, ids), "mean": tf.reduce_mean(tf.gather(table, others), 1)}

    return serve


@rowwise(inputs={"ids": integers(5)})
def one_hot(tf: Any) -> Any:
    return lambda ids: tf.one_hot(ids, 5) @ tf.random.stateless_normal([5, 2], [1, 2])


# Along other axes.


@rowwise(inputs=X)
def best_of_each_row(tf: Any) -> Any:
    def serve(x: Any) -> Any:
        values, indices = tf.math.top_k(x, k=2)
        return {"values": values, "indices": indices, "best": tf.argmax(x, axis=-1)}

    return serve


@rowwise(inputs=X)
def sorted_within_rows(tf: Any) -> Any:
    return lambda x: {"y": tf.sort(x, axis=-1), "order": tf.argsort(x, direction="DESCENDING")}


@rowwise(inputs={"x": floats(4, 2)})
def sums_within_rows(tf: Any) -> Any:
    return lambda x: tf.cumsum(x, axis=1) + tf.reverse(x, axis=[1])


@rowwise(inputs={"x": floats(6, 2)})
def rolled_within_rows(tf: Any) -> Any:
    return lambda x: tf.roll(x, shift=1, axis=1) - tf.reduce_mean(x, axis=[1, 2], keepdims=True)


@rowwise(inputs={"x": images(7, 7)})
def flattened_images(tf: Any) -> Any:
    weights = tf.random.normal([49, 3], seed=1)
    return lambda x: tf.reshape(x, [-1, 49]) / 255.0 @ weights


@rowwise(inputs={"x": floats(12)})
def reshaped_by_shape(tf: Any) -> Any:
    """The row count is used for a shape, and for nothing else."""

    def serve(x: Any) -> Any:
        rows = tf.shape(x)[0]
        y = tf.reshape(x, [rows, 3, 4])
        start = tf.zeros([rows, 3, 1])
        return tf.reshape(tf.concat([start, y], axis=2), tf.stack([rows, 15]))

    return serve


@rowwise(inputs={"x": floats(4, 1)})
def squeezed_and_expanded(tf: Any) -> Any:
    return lambda x: tf.expand_dims(tf.squeeze(x, axis=-1), 1) * 2.0


@rowwise(inputs={"x": floats(2, 3, 4)})
def transposed_inner_axes(tf: Any) -> Any:
    return lambda x: tf.transpose(x, [0, 3, 1, 2])


@rowwise(inputs=X)
def columns_apart_and_together(tf: Any) -> Any:
    def serve(x: Any) -> Any:
        a, b = tf.split(x, 2, axis=1)
        columns = tf.unstack(x, axis=1)
        padded = tf.pad(tf.concat([b, a], axis=1), [[0, 0], [1, 2]])
        return {
            "y": padded,
            "stacked": tf.stack(columns[::-1], axis=1),
            "tiled": tf.tile(a, [1, 3]),
        }

    return serve


@rowwise(inputs=X)
def chosen_by_where(tf: Any) -> Any:
    return lambda x: tf.where(x[:, :1] > 0, x, tf.zeros_like(x) - 1.0)


@rowwise(inputs={"x": floats(5), "length": integers(6, dtype="int32")})
def mask_of_fixed_length(tf: Any) -> Any:
    return lambda x, length: x * tf.sequence_mask(length, maxlen=5, dtype=tf.float32)


@rowwise(inputs={"a": integers(100, 3), "b": integers(9, 3, low=1)})
def whole_numbers(tf: Any) -> Any:
    return lambda a, b: {
        "quotient": a // b,
        "remainder": a % b,
        "bits": tf.bitwise.bitwise_xor(a, b),
        "small": tf.cast(a, tf.int32) + 1,
    }


# Functions and control flow.


@rowwise(inputs=X)
def nested_functions(tf: Any) -> Any:
    @tf.function
    def scaled(x: Any, by: Any) -> Any:
        return tf.nn.gelu(x * by)

    @tf.function
    def deeper(x: Any) -> Any:
        return tf.concat([scaled(x, 2.0), scaled(x[:, :1], 3.0)], axis=1)

    @tf.function
    def outer(x: Any) -> Any:
        return {"y": deeper(x), "z": deeper(deeper(x)[:, :4])}

    return outer


@rowwise(inputs=X)
def map_over_rows(tf: Any) -> Any:
    return lambda x: tf.map_fn(lambda row: tf.nn.softmax(row) * row[0], x)


@rowwise(inputs=X)
def vectorized_map_over_rows(tf: Any) -> Any:
    weights = tf.random.normal([4, 2], seed=1)
    return lambda x: tf.vectorized_map(lambda row: tf.tensordot(row, weights, 1) - row[0], x)


@rowwise(inputs=X)
def newton_in_while(tf: Any) -> Any:
    """A loop of a fixed number of steps over the whole batch."""

    def serve(x: Any) -> Any:
        target = tf.abs(x) + 1.0
        return tf.while_loop(
            lambda i, y: i < 5, lambda i, y: (i + 1, 0.5 * (y + target / y)), [0, target]
        )[1]

    return serve


@rowwise(inputs=X)
def branch_by_default(tf: Any) -> Any:
    """TensorFlow 1's way to have one graph for training and serving: a placeholder that nobody
    feeds."""
    v1 = tf.compat.v1

    def build() -> Any:
        x = v1.placeholder(tf.float32, [None, 4], name="x")
        training = v1.placeholder_with_default(False, [], name="training")
        y = v1.cond(training, lambda: x * 0.5, lambda: tf.nn.relu(x))
        return {"x": x}, {"y": y}

    return tf1(tf, build)


@rowwise(inputs=X)
def tf1_builder(tf: Any) -> Any:
    v1 = tf.compat.v1

    def build() -> Any:
        x = v1.placeholder(tf.float32, [None, 4], name="x")
        weights = v1.get_variable("w", [4, 3], use_resource=False)
        logits = v1.nn.xw_plus_b(x, weights, v1.get_variable("b", [3], use_resource=False))
        return {"x": x}, {"scores": tf.nn.softmax(logits), "classes": tf.argmax(logits, 1)}

    return tf1(tf, build)


@rowwise(inputs={"args_0": floats(4), "args_1": floats(4)})
def unnamed_inputs(tf: Any) -> Any:
    """An input signature without names: TensorFlow numbers the arguments."""
    from tests.zoo.exporting import Export

    @tf.function(input_signature=[tf.TensorSpec([None, 4])] * 2)
    def serve(*args: Any) -> Any:
        return args[0] + 2 * args[1]

    def save(folder: str) -> None:
        module = tf.Module()
        module.serve = serve
        tf.saved_model.save(module, folder, {"serving_default": serve})

    return Export(save)


# Strings and bytes.


@rowwise(inputs={"text": texts()})
def letters(tf: Any) -> Any:
    return lambda text: {
        "lower": tf.strings.lower(text, "utf-8"),
        "length": tf.strings.length(text),
        "start": tf.strings.substr(text, 0, 3),
        "clean": tf.strings.regex_replace(text, "[aeiou]", "_"),
    }


@rowwise(inputs={"text": texts()})
def words_padded_to_8(tf: Any) -> Any:
    def serve(text: Any) -> Any:
        words = tf.strings.split(text).to_tensor("", shape=[None, 8])
        return {"words": words, "buckets": tf.strings.to_hash_bucket_fast(words, 100)}

    return serve


@rowwise(inputs={"number": texts(b"1", b"2.5", b"-3e2", b"0")})
def numbers_in_text(tf: Any) -> Any:
    return lambda number: tf.strings.to_number(number) * 2.0


@rowwise(inputs={"word": texts(*WORDS)})
def static_table(tf: Any) -> Any:
    module = tf.Module()
    module.table = tf.lookup.StaticHashTable(
        tf.lookup.KeyValueTensorInitializer(["red", "green", "blue"], tf.constant([1, 2, 3])), -1
    )
    module.serve = lambda word: module.table.lookup(word)
    return module


@rowwise(inputs={"examples": strings(example)})
def parsed_examples(tf: Any) -> Any:
    weights = tf.random.normal([3, 2], seed=1)
    spec = {
        "x": tf.io.FixedLenFeature([3], tf.float32),
        "colour": tf.io.FixedLenFeature([], tf.string, default_value="none"),
    }

    def serve(examples: Any) -> Any:
        features = tf.io.parse_example(examples, spec)
        return {"y": features["x"] @ weights, "colour": tf.strings.upper(features["colour"])}

    return serve


@rowwise(inputs={"raw": strings(lambda rng: rng.integers(0, 256, 12, "uint8").tobytes())})
def raw_bytes(tf: Any) -> Any:
    def serve(raw: Any) -> Any:
        pixels = tf.reshape(tf.io.decode_raw(raw, tf.uint8), [-1, 12])
        return tf.cast(pixels, tf.float32) / 255.0

    return serve


@rowwise(inputs={"image": strings(png)})
def decoded_png(tf: Any) -> Any:
    def one(image: Any) -> Any:
        pixels = tf.io.decode_png(image, channels=1)
        return tf.image.resize(tf.cast(pixels, tf.float32), [4, 4])

    return lambda image: tf.map_fn(one, image, fn_output_signature=tf.float32)


ROWWISE = _all.specimens
