"""Versions that were exported whole and cannot work: graphs that fail, hang, crash, need what is
not there, or answer otherwise than the version before them."""

from __future__ import annotations

import os
from typing import Any

import numpy as np

from tests.zoo.breaking import (
    KERNEL,
    Versions,
    linear,
    one_node,
    rewrite_checkpoint,
    rewrite_graph,
    serving,
)
from tests.zoo.exporting import Export, tf1

_all = Versions()
broken, damaged = _all.exported, _all.damaged

_HANGS = r"(?i:did not (answer|return|end)|hang|within \d|no answer|DEADLINE)"
_ENDS = r"(?i:abort|signal|exit|died|ended|crash)"


# What Python knew and the file does not.


@broken("(?i)py_?func|callback|Python")
def python_function_lost(tf: Any) -> Any:
    def output(y: Any) -> Any:
        return tf.ensure_shape(tf.py_function(lambda y: y * 2, [y], tf.float32), [None, 3])

    return linear(tf, output)


@broken("(?i)py_?func|callback|Python")
def numpy_function_lost(tf: Any) -> Any:
    def output(y: Any) -> Any:
        return tf.ensure_shape(tf.numpy_function(np.square, [y], tf.float32), [None, 3])

    return linear(tf, output)


@broken("(?i)variable|resource|initiali[sz]ed")
def keras_model_in_a_module(tf: Any) -> Any:
    """A Keras model in an attribute of a `tf.Module`, which does not track its variables."""

    class Classifier(tf.Module):  # type: ignore[misc]
        def __init__(self) -> None:
            super().__init__()
            self.model = tf.keras.Sequential([tf.keras.Input((4,)), tf.keras.layers.Dense(3)])

        @tf.function(input_signature=[tf.TensorSpec([None, 4], tf.float32, "x")])
        def serve(self, x: Any) -> Any:
            return {"y": self.model(x)}

    module = Classifier()
    return Export(
        lambda folder: tf.saved_model.save(module, folder, {"serving_default": module.serve})
    )


@broken("trainer.*vocabulary.txt|vocabulary.txt")
def file_of_another_machine(tf: Any) -> Any:
    def output(y: Any) -> Any:
        return y + tf.cast(
            tf.strings.length(tf.io.read_file("/home/trainer/vocabulary.txt")), tf.float32
        )

    return linear(tf, output)


@damaged("Sentencepiece")
def operation_of_another_package(tf: Any, folder: str) -> None:
    def change(meta_graph: Any) -> None:
        one_node(meta_graph.graph_def.library, "MatMul").op = "SentencepieceTokenizeOp"

    rewrite_graph(folder, change)


# What fails in every run.


@broken("(?i)divi(de|sion).by.zero")
def divides_by_zero(tf: Any) -> Any:
    def output(y: Any) -> Any:
        zeros = tf.cast(tf.zeros_like(y), tf.int32)
        return tf.cast(tf.cast(y, tf.int32) // zeros, tf.float32)

    return linear(tf, output)


@broken("exported for a test only")
def asserts_what_is_false(tf: Any) -> Any:
    def check(x: Any) -> None:
        tf.debugging.Assert(tf.size(x) < 0, ["exported for a test only"])

    return linear(tf, check=check)


@broken("at most 10")
def refuses_real_requests(tf: Any) -> Any:
    """Made-up numbers pass; those that clients send do not."""

    def check(x: Any) -> None:
        tf.debugging.assert_less(x, 10.0, "x must be at most 10: standardise it first")

    return linear(tf, check=check)


# TensorFlow asks for memory again for ten seconds before it says that there is none, which may be
# longer than a version has for its first answer.
@broken(f"(?i:memory|OOM|allocat)|{_HANGS}")
def more_memory_than_there_is(tf: Any) -> Any:
    """Petabytes, which no machine promises."""

    def output(y: Any) -> Any:
        return y + tf.reduce_sum(tf.fill([10**7, 10**8], y[0, 0]))

    return linear(tf, output)


@broken("(?i)shape|dimension|reshape")
def shapes_that_never_fit(tf: Any) -> Any:
    return linear(tf, lambda y: tf.reshape(tf.pad(y, [[0, 0], [0, 1]]), tf.shape(y)))


# What ends the process, or hangs it.


@broken(_ENDS)
def aborts(tf: Any) -> Any:
    def output(y: Any) -> Any:
        with tf.control_dependencies([tf.raw_ops.Abort(error_msg="cannot go on")]):
            return tf.identity(y)

    return linear(tf, output)


@broken(_ENDS)
def exits_quietly(tf: Any) -> Any:
    def output(y: Any) -> Any:
        with tf.control_dependencies([tf.raw_ops.Abort(exit_without_error=True)]):
            return tf.identity(y)

    return linear(tf, output)


@broken(_HANGS)
def endless_loop(tf: Any) -> Any:
    def output(y: Any) -> Any:
        return tf.while_loop(
            lambda i, y: i >= 0, lambda i, y: ((i + 1) % 1000, tf.sin(y)), [tf.constant(0), y]
        )[1]

    return linear(tf, output)


@broken(_HANGS)
def reads_a_silent_pipe(tf: Any) -> Any:
    """An asset that is a named pipe into which nobody writes."""

    def save(folder: str) -> None:
        asset = f"{folder}.pipe"
        with open(asset, "w") as file:
            file.write("-")
        module = tf.Module()
        module.asset = tf.saved_model.Asset(asset)

        @tf.function(input_signature=[tf.TensorSpec([None, 4], tf.float32, "x")])
        def serve(x: Any) -> Any:
            text = tf.io.read_file(module.asset)
            return {"y": x[:, :3] + tf.cast(tf.strings.length(text), tf.float32)}

        tf.saved_model.save(module, folder, {"serving_default": serve})
        os.remove(asset)
        name = os.path.join(folder, "assets", os.path.basename(asset))
        os.remove(name)
        os.mkfifo(name)

    return Export(save)


@broken("queue")
def waits_for_a_queue(tf: Any) -> Any:
    """A training graph whose input queue nobody fills."""
    v1 = tf.compat.v1

    def build() -> Any:
        x = v1.placeholder(tf.float32, [None, 4], name="x")
        queue = tf.queue.FIFOQueue(8, [tf.float32], [[3]])
        return {"x": x}, {"y": x[:, :3] + queue.dequeue()}

    return tf1(tf, build)


# What is not initialised, or cannot be.


@broken("(?i)initiali[sz]ed")
def table_never_initialised(tf: Any) -> Any:
    v1 = tf.compat.v1

    def build() -> Any:
        x = v1.placeholder(tf.float32, [None, 4], name="x")
        numbers = tf.lookup.KeyValueTensorInitializer([1, 2], [1.0, 2.0], tf.int32, tf.float32)
        table = tf.lookup.StaticHashTable(numbers, 0.0)
        return {"x": x}, {"y": table.lookup(tf.cast(x[:, :3], tf.int32))}

    return tf1(tf, build)


@broken("(?i)initiali[sz]ed|does not exist|not found|scale")
def variable_never_restored(tf: Any) -> Any:
    """A saver that was made before the last variable was."""
    v1 = tf.compat.v1

    def build() -> Any:
        x = v1.placeholder(tf.float32, [None, 4], name="x")
        kernel = v1.get_variable("kernel", [4, 3], use_resource=True)
        return {"x": x}, {"y": x @ kernel * v1.get_variable("scale", [3], use_resource=True)}

    def saver() -> Any:
        return v1.train.Saver([v for v in v1.global_variables() if v.op.name == "kernel"])

    return tf1(tf, build, saver=saver)


@broken("(?i)iterator")
def iterator_never_initialised(tf: Any) -> Any:
    v1 = tf.compat.v1

    def build() -> Any:
        x = v1.placeholder(tf.float32, [None, 4], name="x")
        data = tf.data.Dataset.from_tensor_slices(np.ones((5, 3), np.float32))
        iterator = v1.data.make_initializable_iterator(data)
        return {"x": x}, {"y": x[:, :3] + iterator.get_next()}

    return tf1(tf, build)


@broken("the vocabulary is empty")
def initialising_fails(tf: Any) -> Any:
    v1 = tf.compat.v1

    def build() -> Any:
        x = v1.placeholder(tf.float32, [None, 4], name="x")
        return {"x": x}, {"y": x[:, :3] * 2.0}

    return tf1(tf, build, main_op=lambda: v1.Assert(False, ["the vocabulary is empty"]))


# Other hardware.


@broken("CudnnRNN|(?i:gpu)")
def operation_for_gpus_only(tf: Any) -> Any:
    def output(y: Any) -> Any:
        return tf.raw_ops.CudnnRNN(
            input=tf.reshape(y, [1, -1, 3]),
            input_h=tf.zeros([1, tf.shape(y)[0], 3]),
            input_c=tf.zeros([1, tf.shape(y)[0], 3]),
            params=tf.zeros([96]),
        ).output[0]

    return linear(tf, output)


@damaged("(?i)device.*worker|worker.*device|/job:worker")
def device_of_another_machine(tf: Any, folder: str) -> None:
    def change(meta_graph: Any) -> None:
        name = serving(meta_graph).outputs["y"].name.split(":")[0]
        (node,) = (node for node in meta_graph.graph_def.node if node.name == name)
        node.device = "/job:worker/replica:0/task:3/device:CPU:0"

    rewrite_graph(folder, change)


# What a client would notice.


@broken("scores", verdict="warned")
def signature_gone(tf: Any) -> Any:
    return linear(tf, other_signature=False)


@broken("features", verdict="warned")
def input_renamed(tf: Any) -> Any:
    return linear(tf, alias="features")


@broken(r"\b[yz]\b", verdict="warned")
def output_renamed(tf: Any) -> Any:
    return linear(tf, output_alias="z")


@broken("(?i)double|float64", verdict="warned")
def input_of_another_dtype(tf: Any) -> Any:
    return linear(tf, dtype="float64")


@broken(r"(?i)shape|\b5\b", verdict="warned")
def output_of_another_shape(tf: Any) -> Any:
    return linear(tf, width=5)


@damaged("(?i)nan", verdict="warned")
def nan_in_one_output(tf: Any, folder: str) -> None:
    def change(tensors: dict[str, Any]) -> None:
        tensors[KERNEL][:, :1] = np.nan

    rewrite_checkpoint(tf, folder, change)


BROKEN_GRAPHS = _all.broken
