"""Models whose rows mix in ways that are easy to miss when a graph is followed, and their
counterparts whose rows do not: `python -m tests.server.worker.row_loopholes FOLDER` writes what the
graph
says of each as JSON.
"""

from __future__ import annotations

import json
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

Models = dict[str, Callable[[], tuple[Any, Any]]]


def facts(module: Any, function: Any) -> bool:
    """Whether the rows of a function are proven to stay apart."""
    import tensorflow as tf
    from tensorflow.core.protobuf import saved_model_pb2

    from workbench.server.worker.pruning import for_serving
    from workbench.server.worker.rows import signature_facts

    with tempfile.TemporaryDirectory() as folder:
        tf.saved_model.save(module, folder, {"serving_default": function})
        message = saved_model_pb2.SavedModel.FromString(Path(folder, "saved_model.pb").read_bytes())
    graph = for_serving(message.meta_graphs[0])
    return signature_facts(graph, dict(graph.signature_def))["serving_default"].rows_apart


def models() -> tuple[dict[str, Any], dict[str, Any]]:
    """What mixes, and what does not, each as a function of x (float [None, 3])."""
    import tensorflow as tf

    r = tf.raw_ops

    def rows(x: Any) -> Any:
        return tf.shape(x)[0]

    def number(value: Any) -> Any:
        return tf.cast(value, tf.float32)

    def written(x: Any) -> Any:
        return tf.TensorArray(tf.float32, rows(x), element_shape=[3])

    def accumulated(x: Any) -> Any:
        _, factor = tf.while_loop(
            lambda i, a: i < rows(x), lambda i, a: (i + 1, a * 2.0), [0, tf.constant(1.0)]
        )
        return x * factor

    def accumulated_inside(x: Any) -> Any:
        _, found, _ = tf.while_loop(
            lambda i, ta, a: i < rows(x),
            lambda i, ta, a: (i + 1, ta.write(i, tf.gather(x, i) * a), a * 2.0),
            [0, written(x), tf.constant(1.0)],
        )
        return found.stack()

    def all_rows_carried(x: Any) -> Any:
        return tf.while_loop(lambda i, y: i < rows(x), lambda i, y: (i + 1, y * 2.0), [0, x])[1]

    def by_its_number(x: Any) -> Any:
        _, found = tf.while_loop(
            lambda i, ta: i < rows(x),
            lambda i, ta: (i + 1, ta.write(i, tf.where(i < 1, tf.gather(x, i), 0.0))),
            [0, written(x)],
        )
        return found.stack()

    def growing(x: Any) -> Any:
        def turn(k: Any, z: Any, y: Any) -> Any:
            a = tf.reshape(z, [-1, 3])
            return k + 1, tf.concat([z, z + 1.0], 1), y + a[: rows(x)]

        unknown = tf.TensorShape([None, None])
        return tf.while_loop(
            lambda k, *_: k < 2,
            turn,
            [0, x, x],
            shape_invariants=[tf.TensorShape([]), unknown, tf.TensorShape([None, 3])],
        )[2]

    def longer_list(x: Any) -> Any:
        found = tf.TensorArray(tf.float32, 2 * rows(x), element_shape=[3])
        _, found = tf.while_loop(
            lambda i, ta: i < rows(x),
            lambda i, ta: (i + 1, ta.write(i, tf.gather(x, i))),
            [0, found],
        )
        return tf.reduce_sum(tf.reshape(found.stack(), [-1, 2, 3]), 1)

    def v1_condition(x: Any) -> Any:
        control = tf.compat.v1
        control.disable_control_flow_v2()
        try:
            return x * control.cond(tf.reduce_sum(x) > 6.5, lambda: 2.0, lambda: 1.0)
        finally:
            control.enable_control_flow_v2()

    five = tf.constant([0.0, 1.0, 2.0, 3.0, 4.0])
    mixing = {
        "loop accumulates a constant": accumulated,
        "loop accumulates beside its list": accumulated_inside,
        "loop carries all rows": all_rows_carried,
        "loop knows the number of its row": by_its_number,
        "loop over what grows": growing,
        "list of another length": longer_list,
        "condition of TensorFlow 1": v1_condition,
        "range of the batch": lambda x: tf.quantization.quantize_and_dequantize_v2(
            x, -1.0, 1.0, num_bits=4
        ),
        "contrast of the batch as an image": lambda x: tf.image.adjust_contrast(x[:, :, None], 2.0)[
            :, :, 0
        ],
        "element by the number of rows": lambda x: x * five[rows(x)],
        "slice by the number of rows": lambda x: x * tf.slice(five, [rows(x)], [1]),
        "part by the number of rows": lambda x: (
            x
            * tf.reduce_sum(
                r.SplitV(
                    value=five[:4],
                    size_splits=tf.stack([rows(x), 4 - rows(x)]),
                    axis=0,
                    num_split=2,
                )[0]
            )
        ),
        "size of what counts rows": lambda x: (
            x * number(tf.shape(r.LinSpace(start=0.0, stop=1.0, num=rows(x)))[0])
        ),
        "ones like what is picked": lambda x: (
            x * number(tf.reduce_sum(r.OnesLike(x=tf.where(x > 2.0))))
        ),
        "padding by the number of rows": lambda x: tf.reduce_mean(
            tf.pad(x, tf.reshape(tf.stack([0, 0, 0, rows(x)]), [2, 2])), 1, keepdims=True
        ),
        "column by the number of rows": lambda x: tf.slice(x, tf.stack([0, rows(x) - 1]), [-1, 1]),
        "rolled by the number of rows": lambda x: tf.roll(x, rows(x), 1),
        "not below a mixed number": lambda x: (
            x * number(tf.minimum(3, tf.maximum(3, tf.cast(tf.reduce_max(x), tf.int32)) - 2))
        ),
        "truth as a number": lambda x: (
            x + tf.gather(x, tf.range(tf.cast(tf.cast(rows(x), tf.bool), tf.int32)))
        ),
        "gather from more rows": lambda x: tf.gather(tf.reshape(x, [-1, 1]), tf.range(rows(x))),
    }
    apart = {
        "map_fn": lambda x: tf.map_fn(lambda row: tf.nn.softmax(row) * tf.reduce_max(row), x),
        "vectorized_map": lambda x: tf.vectorized_map(lambda row: tf.nn.softmax(row), x),
        "loop over time": lambda x: tf.while_loop(
            lambda i, y: i < 3, lambda i, y: (i + 1, tf.tanh(y) + x), [0, x]
        )[1],
        "as many zeros": lambda x: x + tf.zeros([rows(x), 3]),
        "one more axis and back": lambda x: tf.reshape(tf.reshape(x, [rows(x), 3, 1]), [-1, 3]),
        "all but the first column": lambda x: x[:, 1:],
        "padded columns": lambda x: tf.pad(x, [[0, 0], [1, 1]]),
        "contrast of each image": lambda x: tf.reshape(
            tf.image.adjust_contrast(tf.reshape(x, [-1, 1, 3, 1]), 2.0), [-1, 3]
        ),
    }
    return mixing, apart


def main(folder: str) -> None:
    import tensorflow as tf

    found = {}
    for kind, each in zip(("mixing", "apart"), models(), strict=True):
        found[kind] = {}
        for name, compute in each.items():
            module = tf.Module()
            module.function = tf.function(
                compute, input_signature=[tf.TensorSpec([None, 3], tf.float32, "x")]
            )
            found[kind][name] = facts(module, module.function)
    Path(folder, "facts.json").write_text(json.dumps(found))


if __name__ == "__main__":
    main(sys.argv[1])
