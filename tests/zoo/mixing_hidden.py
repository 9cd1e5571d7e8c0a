"""Models whose rows depend on one another where it is hard to see: in control flow, in random
numbers, in state, in one of several inputs or outputs, only for some values or batch sizes."""

from __future__ import annotations

from typing import Any

from tests.zoo.specimens import Collection, example, floats, integers, strings, texts

_all = Collection()
mixing = _all.add

X = {"x": floats(4)}


# In the bodies of control flow.


@mixing(inputs=X, mixes="Mean|While")
def mean_inside_while(tf: Any) -> Any:
    def serve(x: Any) -> Any:
        return tf.while_loop(
            lambda i, x: i < 3,
            lambda i, x: (i + 1, x - 0.5 * tf.reduce_mean(x, axis=0, keepdims=True)),
            [0, x],
        )[1]

    return serve


@mixing(inputs=X, mixes="While|Less|Norm|Max|Sum|All|Any")
def steps_until_all_rows_are_small(tf: Any) -> Any:
    """The rows are only coupled by the condition that ends the loop."""

    def serve(x: Any) -> Any:
        return tf.while_loop(lambda x: tf.reduce_max(tf.abs(x)) > 0.5, lambda x: (x * 0.7,), [x])[0]

    return serve


@mixing(inputs=X, mixes="If|Any|[Cc]ond|Max")
def branch_by_whole_batch(tf: Any) -> Any:
    return lambda x: tf.cond(tf.reduce_any(x > 1.5), lambda: x * 2, lambda: x)


@mixing(inputs=X, mixes="If|[Cc]ond|Shape|Size|Mean|StridedSlice")
def more_than_8_rows(tf: Any) -> Any:
    def serve(x: Any) -> Any:
        return tf.cond(tf.shape(x)[0] > 8, lambda: x - tf.reduce_mean(x, 0), lambda: x)

    return serve


@mixing(inputs=X, mixes="Case|Shape|FloorMod|Mod|StridedSlice|Size")
def case_of_the_row_count(tf: Any) -> Any:
    """`switch_case` by how many rows there are, each case row-wise by itself."""
    return lambda x: tf.switch_case(
        tf.shape(x)[0] % 3, [lambda: x * 3, lambda: x * 1, lambda: x * 2]
    )


@mixing(inputs=X, mixes="While|Gather|StridedSlice|TensorList|Map")
def neighbour_in_map(tf: Any) -> Any:
    def serve(x: Any) -> Any:
        rows = tf.shape(x)[0]
        return tf.map_fn(
            lambda i: x[i] + 0.5 * x[(i + 1) % rows], tf.range(rows), fn_output_signature=tf.float32
        )

    return serve


@mixing(inputs=X, mixes="While|TensorList|Scan|ConcatV2|StridedSlice")
def scan_over_rows(tf: Any) -> Any:
    return lambda x: tf.scan(lambda before, row: 0.5 * before + row, x)


@mixing(inputs=X, mixes="Mul|Sum|Gather|Range|MatMul|Broadcast|Expand|Reshape|Shape|Tile")
def all_rows_in_vectorized_map(tf: Any) -> Any:
    def serve(x: Any) -> Any:
        return tf.vectorized_map(lambda row: tf.reduce_sum(x * row, axis=0), x)

    return serve


@mixing(inputs=X, mixes="Mean|PartitionedCall")
def mean_in_nested_function(tf: Any) -> Any:
    @tf.function
    def inner(x: Any) -> Any:
        return x - tf.reduce_mean(x, axis=0)

    @tf.function
    def outer(x: Any) -> Any:
        return inner(x) + 1.0

    return outer


# Only sometimes.


@mixing(inputs={"ids": integers(6), "x": floats(4)}, mixes="Unique|Segment")
def repeated_rows_are_dropped(tf: Any) -> Any:
    """Rows with an id that came before in the batch are answered with zeros."""

    def serve(ids: Any, x: Any) -> Any:
        rows = tf.range(tf.size(ids))
        _, index = tf.unique(ids)
        first = tf.math.unsorted_segment_min(rows, index, tf.size(ids))
        return x * tf.cast(tf.gather(first, index) == rows, tf.float32)[:, None]

    return serve


@mixing(inputs=X, mixes="Equal|All|Sum|Broadcast|Expand|StridedSlice")
def only_equal_rows(tf: Any) -> Any:
    """Counts for each row those that equal it to one digit, without any operation for groups."""

    def serve(x: Any) -> Any:
        rough = tf.round(x[:, :1])
        return tf.reduce_sum(tf.cast(rough == tf.transpose(rough), tf.int32), axis=1)

    return serve


@mixing(inputs=X, mixes="Max")
def outliers_reach_everybody(tf: Any) -> Any:
    """Only values above 2.5, six in a thousand, reach other rows."""
    return lambda x: x + tf.reduce_max(tf.nn.relu(x - 2.5), axis=0)


@mixing(inputs={"text": texts()}, mixes="If|Any|[Cc]ond|Equal")
def one_text_changes_all(tf: Any) -> Any:
    """No text that is made up meets the only one that changes the answers to others."""

    def serve(text: Any) -> Any:
        length = tf.strings.length(text)
        found = tf.reduce_any(text == b"broken on arrival")
        return tf.cond(found, lambda: -length, lambda: length)

    return serve


@mixing(inputs=X, mixes="If|[Cc]ond|Shape|Size|Mean|StridedSlice")
def more_than_24_rows(tf: Any) -> Any:
    def serve(x: Any) -> Any:
        return tf.cond(tf.shape(x)[0] > 24, lambda: x - tf.reduce_mean(x, 0), lambda: x)

    return serve


# Random numbers and state.


@mixing(inputs=X, mixes="[Rr]andom|Shape|number of rows")
def noise_by_place(tf: Any) -> Any:
    """Always the same noise for the first row of a batch, another for the second."""
    return lambda x: x + tf.random.stateless_normal(tf.shape(x), seed=[1, 2])


@mixing(inputs=X, mixes="[Rr]andom|[Ss]tate", repeats=False)
def noise_from_a_fixed_seed(tf: Any) -> Any:
    return lambda x: x + tf.random.normal(tf.shape(x), seed=7)


@mixing(inputs=X, mixes="[Rr]andom|[Ss]tate|Assign|[Vv]ariable", repeats=False)
def dropout_in_training(tf: Any) -> Any:
    x = tf.keras.Input((4,))
    y = tf.keras.layers.Dropout(0.5)(tf.keras.layers.Dense(4)(x), training=True)
    return tf.keras.Model(x, y)


@mixing(inputs=X, mixes="Assign|[Ss]tate|[Vv]ariable", repeats=False)
def request_counter(tf: Any) -> Any:
    module = tf.Module()
    module.count = tf.Variable(0.0)

    def serve(x: Any) -> Any:
        return {"y": x * 2, "number": tf.zeros_like(x[:, 0]) + module.count.assign_add(1.0)}

    module.serve = serve
    return module


@mixing(inputs=X, mixes="Assign|[Ss]tate|[Vv]ariable", repeats=False)
def running_mean(tf: Any) -> Any:
    """Normalises by what it has seen so far, and learns from each request."""
    module = tf.Module()
    module.mean = tf.Variable(tf.zeros([4]))

    def serve(x: Any) -> Any:
        module.mean.assign(0.9 * module.mean + 0.1 * tf.reduce_mean(x, axis=0))
        return x - module.mean

    module.serve = serve
    return module


@mixing(inputs=X, mixes="[Rr]andom|Shuffle|[Ss]tate", repeats=False)
def shuffled_rows(tf: Any) -> Any:
    return lambda x: tf.random.shuffle(x, seed=3)


# Behind inputs that cannot be made up.


@mixing(inputs={"examples": strings(example)}, mixes="Mean")
def examples_minus_their_mean(tf: Any) -> Any:
    spec = {"x": tf.io.FixedLenFeature([3], tf.float32)}

    def serve(examples: Any) -> Any:
        x = tf.io.parse_example(examples, spec)["x"]
        return x - tf.reduce_mean(x, axis=0)

    return serve


@mixing(inputs={"raw": strings(lambda rng: rng.normal(size=3).astype("float32").tobytes())},
        mixes="Max")  # fmt: skip
def raw_numbers_by_the_largest(tf: Any) -> Any:
    def serve(raw: Any) -> Any:
        x = tf.reshape(tf.io.decode_raw(raw, tf.float32), [-1, 3])
        return x / tf.reduce_max(tf.abs(x), axis=0)

    return serve


# In one of several inputs or outputs.


@mixing(inputs={"a": floats(3), "b": floats(3)}, mixes="Mean")
def one_of_two_inputs(tf: Any) -> Any:
    return lambda a, b: a + (b - tf.reduce_mean(b, axis=0))


@mixing(inputs={"x": floats(4), "colour": texts(b"red", b"blue")}, mixes="Unique|Join|Reduce")
def numbers_fine_texts_not(tf: Any) -> Any:
    return lambda x, colour: {
        "y": x * 2,
        "colour": tf.strings.join([colour, tf.strings.reduce_join(colour)]),
    }


@mixing(inputs=X, mixes="Softmax|Transpose|Exp|Max|Sum")
def second_output_mixes(tf: Any) -> Any:
    return lambda x: {"scores": tf.nn.softmax(x), "ranks": tf.nn.softmax(x, axis=0)}


MIXING_HIDDEN = _all.specimens
