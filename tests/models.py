"""Small real SavedModels for the tests: `python -m tests.models FOLDER` writes one folder each.

Run once per session in a process of its own, so that the tests never import TensorFlow. Most
are exported the TensorFlow 1 way, which gives exact control over names, shapes and operations;
`digits`, `keeper`, `heads`, `lookup`, `compiled`, `ragged`, `sentences` and `sparse` are
TensorFlow 2 modules.
"""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

BIG_WEIGHTS_BYTES = 96 * 1024 * 1024

# fmt: off
DTYPES = (
    "float", "double", "half", "bfloat16", "int8", "int16", "int32", "int64", "uint8", "uint16",
    "uint32", "uint64", "bool", "complex64", "complex128", "string", "float8_e5m2",
    "float8_e4m3fn", "float8_e4m3fnuz", "float8_e4m3b11fnuz", "float8_e5m2fnuz", "int4", "uint4",
    "int2", "uint2",
)
# fmt: on


def main(folder: str) -> None:
    """Write all models below `folder`."""
    import tensorflow as tf

    v1 = tf.compat.v1
    rng = np.random.default_rng(7)

    def export(
        name: str,
        build: Callable[[], Mapping[str, tuple[dict[str, Any], dict[str, Any], str]]],
        edit: Callable[[Any], None] = lambda definitions: None,
        tags: tuple[str, ...] = ("serve",),
        main_op: Callable[[], Any] = lambda: None,
    ) -> None:
        """Export what `build` makes: for each signature its inputs, outputs and method name.
        `main_op` makes what is run when the model is loaded."""
        with tf.Graph().as_default(), v1.Session() as session:
            definitions = {
                key: v1.saved_model.build_signature_def(
                    {n: v1.saved_model.build_tensor_info(t) for n, t in inputs.items()},
                    {n: v1.saved_model.build_tensor_info(t) for n, t in outputs.items()},
                    method or "tensorflow/serving/predict",
                )
                for key, (inputs, outputs, method) in build().items()
            }
            edit(definitions)
            initialise = main_op()
            session.run(v1.global_variables_initializer())
            builder = v1.saved_model.Builder(os.path.join(folder, name))
            builder.add_meta_graph_and_variables(
                session, list(tags), definitions, main_op=initialise
            )
            builder.save()

    def half_plus(number: float) -> Callable[[], Any]:
        def build() -> Any:
            a = v1.Variable(0.5, name="a", use_resource=True)
            b = v1.Variable(number, name="b", use_resource=True)
            x = v1.placeholder(tf.float32, [None], name="x")
            examples = v1.placeholder(tf.string, [None], name="tf_example")
            features = tf.io.parse_example(
                examples, {"x": tf.io.FixedLenFeature([1], tf.float32, default_value=[0.0])}
            )
            y = tf.add(tf.multiply(a, x), b, name="y")
            from_example = tf.add(tf.multiply(a, features["x"]), b)
            return {
                "serving_default": ({"x": x}, {"y": y}, ""),
                "classify_x_to_y": (
                    {"inputs": examples},
                    {"scores": from_example},
                    "tensorflow/serving/classify",
                ),
                "regress_x_to_y": (
                    {"inputs": examples},
                    {"outputs": from_example},
                    "tensorflow/serving/regress",
                ),
            }

        return build

    def counter() -> Any:
        count = v1.Variable(0.0, name="counter", use_resource=True)
        delta = v1.placeholder(tf.float32, [], name="delta")
        return {
            "get_counter": ({}, {"output": count.read_value()}, ""),
            "incr_counter": ({}, {"output": count.assign_add(1.0, read_value=True).value()}, ""),
            "incr_counter_by": ({"delta": delta}, {"output": count.assign_add(delta).value()}, ""),
            "reset_counter": ({}, {"output": count.assign(0.0).value()}, ""),
        }

    def text() -> Any:
        x = v1.placeholder(tf.string, [None], name="x")
        outputs = {"upper": tf.strings.upper(x), "length": tf.strings.length(x)}
        return {"serving_default": ({"x": x}, outputs, "")}

    def multi() -> Any:
        a = v1.placeholder(tf.float32, [None, 2], name="a")
        b = v1.placeholder(tf.int32, [None], name="b")
        outputs = {
            "sum": a + tf.cast(b, tf.float32)[:, None],
            "product": tf.cast(b, tf.float64) * tf.cast(a[:, 0], tf.float64),
        }
        return {"serving_default": ({"a": a, "b": b}, outputs, "")}

    def b_defaults_to_seven(definitions: Any) -> None:
        default = tf.make_tensor_proto([7], tf.int32)
        definitions["serving_default"].defaults["b"].CopyFrom(default)

    def rows() -> Any:
        """What batching can meet: ragged rows, bad rows, outputs that do not follow the rows."""
        ragged = v1.placeholder(tf.float32, [None, None], name="ragged")
        x = v1.placeholder(tf.float32, [None], name="x")
        with tf.control_dependencies([v1.Assert(tf.reduce_all(x >= 0.0), ["x has a negative"])]):
            checked = tf.identity(x)
        # How many rows the whole batch had, told to each of its rows.
        count = tf.fill(tf.shape(x), tf.size(x))
        return {
            "ragged": ({"x": ragged}, {"y": tf.identity(ragged)}, ""),
            "picky": ({"x": x}, {"y": checked}, ""),
            "count": ({"x": x}, {"y": tf.identity(x), "rows": count}, ""),
            "total": ({"x": x}, {"y": tf.reduce_sum(x)}, ""),
            "twice": (
                {"x": x},
                {"y": v1.placeholder_with_default(tf.concat([x, x], 0), [None])},
                "",
            ),
        }

    def slow() -> Any:
        """Runs for `steps` products of matrices: some 0.1 to 0.5 ms each."""
        x = v1.placeholder(tf.float32, [None], name="x")
        steps = v1.placeholder(tf.int32, [None], name="steps")
        _, _, y = tf.while_loop(
            lambda i, m, y: i < tf.reduce_max(steps),
            lambda i, m, y: (i + 1, tf.math.tanh(tf.matmul(m, m)), y + 0.0 * m[0, 0]),
            [tf.constant(0), tf.ones([192, 192]) / 192.0, x],
        )
        return {"serving_default": ({"x": x, "steps": steps}, {"y": y}, "")}

    def picky_steps() -> Any:
        """Takes what `slow` takes, and refuses every request that is one."""
        x = v1.placeholder(tf.float32, [None], name="x")
        steps = v1.placeholder(tf.int32, [None], name="steps")
        negative = v1.Assert(tf.reduce_all(steps < 0), ["steps must be negative"])
        with tf.control_dependencies([negative]):
            return {"serving_default": ({"x": x, "steps": steps}, {"y": tf.identity(x)}, "")}

    def aborts() -> Any:
        """x / 2 + 2, but where a value is 13 the process ends."""
        x = v1.placeholder(tf.float32, [None], name="x")
        checked = v1.cond(
            tf.reduce_any(tf.equal(x, 13.0)),
            lambda: abort_with(x),
            lambda: tf.identity(x),
        )
        return {"serving_default": ({"x": x}, {"y": tf.identity(0.5 * checked + 2.0)}, "")}

    def abort_with(x: Any) -> Any:
        with tf.control_dependencies([tf.raw_ops.Abort(error_msg="13")]):
            return tf.identity(x)

    def seconds_of_work() -> Any:
        _, m = tf.while_loop(
            lambda i, m: i < 40_000,
            lambda i, m: (i + 1, tf.math.tanh(tf.matmul(m, m))),
            [tf.constant(0), tf.ones([192, 192]) / 192.0],
        )
        return m.op

    def waiting_for_somebody() -> Any:
        """Reads what nobody writes: a load that lasts, on any machine, until its process ends."""
        pipe = os.path.join(folder, "nobody_writes")
        os.mkfifo(pipe)
        return tf.io.read_file(pipe).op

    def identity() -> Any:
        signatures = {}
        for name in DTYPES:
            x = v1.placeholder(tf.as_dtype(name), [None], name=f"{name}_x")
            signatures[name] = ({"x": x}, {"y": tf.identity(x)}, "")
        anything = v1.placeholder(tf.float32, None, name="anything")
        signatures["anything"] = ({"x": anything}, {"y": tf.identity(anything)}, "")
        passed = v1.placeholder(tf.float32, [None], name="passed")
        signatures["passed"] = ({"x": passed}, {"same": passed, "twice": passed * 2}, "")
        signatures["only_passed"] = ({"x": passed}, {"same": passed}, "")
        parts = {f"part{i}": passed + i for i in range(6)}
        signatures["parts"] = ({"x": passed}, parts, "")
        return signatures

    def tables() -> Any:
        """Inputs of any shape, alone and together; and outputs that disagree about their rows."""

        def feed(name: str, dtype: Any) -> Any:
            return v1.placeholder(dtype, None, name=name)

        signatures: dict[str, Any] = {}
        for key, dtype in (("int32", tf.int32), ("float", tf.float32), ("double", tf.float64)):
            x = feed(f"{key}_alone", dtype)
            signatures[key] = ({"int_tensor" if key == "int32" else "x": x}, {"y": x + 0}, "")
        strings = feed("default", tf.string)
        signatures["string"] = ({"default": strings}, {"y_bytes": tf.identity(strings)}, "")
        named = {
            "int_tensor": feed("int_tensor", tf.int32),
            "str_tensor": feed("str_tensor", tf.string),
            "bin_tensor": feed("bin_tensor", tf.string),
            "float_tensor": feed("float_tensor", tf.float32),
            "dbl_tensor": feed("dbl_tensor", tf.float64),
        }
        for key, names in (
            ("five", tuple(named)),
            ("four", ("int_tensor", "str_tensor", "float_tensor", "dbl_tensor")),
            ("three", ("int_tensor", "str_tensor", "bin_tensor")),
            ("two", ("int_tensor", "str_tensor")),
        ):
            outputs = {n: tf.identity(named[n], name=f"{key}_{n}") for n in names}
            signatures[key] = ({n: named[n] for n in names}, outputs, "")
        rows = v1.placeholder(tf.int32, [None], name="shapes")
        for key, shapes in (
            ("rows_2_1", ([2, 1], [1, 1])),
            ("rows_0", ([0, 2],)),
            ("rows_0_0", ([0, 1, 2], [0, 3, 4])),
            ("rows_0_1", ([0, 2], [1, 2])),
        ):
            # The answer must depend on what is fed, or the graph would be folded away.
            zero = 0 * tf.cast(tf.reduce_sum(rows), tf.float32)
            outputs = {f"y{i}": tf.zeros(shape) + zero for i, shape in enumerate(shapes)}
            signatures[key] = ({"x": rows}, outputs, "")
        # What JSON cannot carry out: dtypes that it lacks, and an output without rows.
        floats = v1.placeholder(tf.float32, [None], name="floats")
        for key, dtype in (("half_out", tf.half), ("complex64_out", tf.complex64)):
            signatures[key] = ({"x": floats}, {"y": tf.cast(floats, dtype)}, "")
        signatures["scalar_out"] = ({"x": floats}, {"y": tf.reduce_sum(floats)}, "")
        # Labels and scores as they are in the examples.
        examples = v1.placeholder(tf.string, [None], name="examples")
        features = tf.io.parse_example(
            examples,
            {
                "labels": tf.io.FixedLenFeature([3], tf.string),
                "scores": tf.io.FixedLenFeature([3], tf.float32),
            },
        )
        outputs = {"classes": features["labels"], "scores": features["scores"]}
        signatures["labelled"] = ({"inputs": examples}, outputs, "tensorflow/serving/classify")
        # Wrong in one thing each, for the checks of what a classification or regression gives.
        doubles = tf.cast(features["scores"], tf.float64)
        for key, wrong in (
            ("scores_of_doubles", {"scores": doubles}),
            ("scores_of_rank_3", {"scores": features["scores"][:, :, None]}),
            ("regress_to_doubles", {"outputs": doubles[:, 0]}),
            ("regress_to_matrix", {"outputs": features["scores"]}),
        ):
            signatures[key] = ({"inputs": examples}, wrong, "")
        return signatures

    def inputs() -> Any:
        """Two signatures for regression that are fed at different tensors."""
        signatures = {}
        for key in ("here", "there"):
            x = v1.placeholder(tf.string, [None], name=key)
            y = tf.cast(tf.strings.length(x), tf.float32)
            signatures[key] = ({"inputs": x}, {"outputs": y}, "tensorflow/serving/regress")
        return signatures

    def shapes() -> Any:
        """Classify and regress signatures whose answers are not what they should be, some whose
        answers are, and one of each that runs too long."""
        examples = v1.placeholder(tf.string, [None], name="examples")
        x = tf.io.parse_example(
            examples, {"x": tf.io.FixedLenFeature([], tf.float32, default_value=0.0)}
        )["x"]
        # The answers depend on what is fed, or the graph would be folded away.
        batch, zero = tf.size(examples), 0 * tf.size(examples)

        def zeros(*dims: Any, dtype: Any = tf.float32) -> Any:
            return tf.zeros(tf.stack([*dims]), dtype) + tf.cast(zero, dtype)

        def rows(values: Any) -> Any:
            """The same row for every example."""
            return tf.tile(tf.constant(values)[None], tf.stack([batch + zero, 1]))

        _, endless = tf.while_loop(
            lambda i, m: i < 1_000_000,
            lambda i, m: (i + 1, tf.math.tanh(tf.matmul(m, m))),
            [tf.constant(0), tf.ones([192, 192]) * x[0]],
        )
        late = x + endless[0, 0]
        numbers = v1.placeholder(tf.float32, [None, 1], name="numbers")
        labels, scores = rows(["car", "bike", "bus"]), rows([0.2, 0.7, 0.1])
        classify, regress = "tensorflow/serving/classify", "tensorflow/serving/regress"
        signatures: dict[str, Any] = {
            "labelled": ({"inputs": examples}, {"classes": labels, "scores": scores}, classify),
            "labels": ({"inputs": examples}, {"classes": labels}, classify),
            "column": ({"inputs": examples}, {"outputs": x[:, None]}, regress),
            "as_predict_scores": ({"inputs": examples}, {"scores": scores}, ""),
            "as_predict_outputs": ({"inputs": examples}, {"outputs": x}, ""),
            "late_scores": ({"inputs": examples}, {"scores": late[:, None]}, classify),
            "late_outputs": ({"inputs": examples}, {"outputs": late}, regress),
            "three": (
                {"inputs": examples},
                {"classes": labels, "scores": scores, "more": x},
                classify,
            ),
            "other_alias": ({"x": examples}, {"outputs": x}, regress),
            "two_inputs": (
                {"inputs": examples, "more": v1.placeholder(tf.float32, [None], name="more")},
                {"scores": scores},
                classify,
            ),
            "numeric": ({"inputs": numbers}, {"outputs": numbers + 1.0}, regress),
        }
        for name, outputs in {
            "scores_rank_1": {"scores": zeros(batch)},
            "scores_rank_3": {"scores": zeros(batch, 2, 1)},
            "classes_rank_1": {"classes": tf.strings.as_string(zeros(batch))},
            "scores_of_double": {"scores": zeros(batch, 2, dtype=tf.float64)},
            "classes_of_int32": {"classes": zeros(batch, 2, dtype=tf.int32)},
            "scores_of_1": {"scores": zeros(1, 2)},
            "classes_of_1": {"classes": tf.strings.as_string(zeros(1, 2))},
            "widths": {"classes": labels, "scores": zeros(batch, 2)},
            "other_outputs": {"y": zeros(batch, 2)},
        }.items():
            signatures[name] = ({"inputs": examples}, outputs, classify)
        for name, values in {
            "regress_rank_3": zeros(batch, 1, 1),
            "regress_width_2": zeros(batch, 2),
            "regress_of_1": zeros(1),
            "regress_of_double": zeros(batch, dtype=tf.float64),
        }.items():
            signatures[name] = ({"inputs": examples}, {"outputs": values}, regress)
        signatures["regress_other_output"] = ({"inputs": examples}, {"y": x}, regress)
        return signatures

    def composites() -> Any:
        """Inputs and outputs that are ragged or sparse, described as such."""
        x = v1.placeholder(tf.float32, [None], name="x")
        ragged = v1.ragged.placeholder(tf.float32, 1, (), name="ragged")
        sparse = v1.sparse_placeholder(tf.float32, [None, 4], name="sparse")
        halves = tf.RaggedTensor.from_row_lengths(x + 1, [1, tf.size(x) - 1])
        return {
            "serving_default": (
                {"x": x},
                {"twice": x * 2, "halves": halves, "some": tf.sparse.from_dense(x)},
                "",
            ),
            "taken": (
                {"rows": ragged, "cells": sparse},
                {"sums": tf.reduce_sum(ragged, 1), "dense": tf.sparse.to_dense(sparse)},
                "",
            ),
        }

    def big() -> Any:
        weights = v1.get_variable(
            "weights", [BIG_WEIGHTS_BYTES // 4], initializer=tf.ones_initializer()
        )
        x = v1.placeholder(tf.float32, [None], name="x")
        return {"serving_default": ({"x": x}, {"y": x * weights[0]}, "")}

    export("half_plus_two", half_plus(2.0))
    export("half_plus_three", half_plus(3.0))
    export("tagged", half_plus(4.0), tags=("serve", "special"))
    export("half_plus_a_little_more", half_plus(2.001))
    export("counter", counter)
    export("text", text)
    export("multi", multi)
    export("defaults", multi, b_defaults_to_seven)
    export("rows", rows)
    export("slow", slow)
    export("picky_steps", picky_steps)
    export("aborts", aborts)
    export("slow_to_load", half_plus(3.0), main_op=seconds_of_work)
    export("never_loads", half_plus(3.0), main_op=waiting_for_somebody)

    def fed_twice() -> Any:
        """No request can be answered: two of its inputs are one tensor."""
        x = v1.placeholder(tf.float32, [None], name="x")
        return {"serving_default": ({"a": x, "b": x}, {"y": x * 2}, "")}

    export("identity", identity)
    export("fed_twice", fed_twice)
    export("tables", tables)
    export("shapes", shapes)
    export("inputs", inputs)
    export("composites", composites)
    export("big", big)

    class Digits(tf.Module):
        """A multi-layer perceptron as for the 8 x 8 digits of scikit-learn."""

        def __init__(self) -> None:
            super().__init__()
            self.hidden = tf.Variable(rng.normal(0, 0.1, (64, 32)), dtype=tf.float32)
            self.output = tf.Variable(rng.normal(0, 0.1, (32, 10)), dtype=tf.float32)

        @tf.function(input_signature=[tf.TensorSpec([None, 64], tf.float32, "images")])
        def classify(self, images: Any) -> Any:
            logits = tf.nn.relu(images @ self.hidden) @ self.output
            return {"probabilities": tf.nn.softmax(logits), "classes": tf.argmax(logits, 1)}

    class Keeper(tf.Module):
        """Keeps its last input in a variable: what it was fed must not change afterwards."""

        def __init__(self) -> None:
            super().__init__()
            self.kept = tf.Variable([0.0], shape=[None])

        @tf.function(input_signature=[tf.TensorSpec([None], tf.float32, "x")])
        def keep(self, x: Any) -> Any:
            self.kept.assign(x)
            return {"size": tf.size(x)[None]}

        @tf.function(input_signature=[])
        def recall(self) -> Any:
            return {"y": self.kept.read_value()}

    class Lookup(tf.Module):
        """Numbers words by a vocabulary that lies in the SavedModel as an asset."""

        def __init__(self, vocabulary: str) -> None:
            super().__init__()
            self.table = tf.lookup.StaticHashTable(
                tf.lookup.TextFileInitializer(
                    vocabulary,
                    tf.string,
                    tf.lookup.TextFileIndex.WHOLE_LINE,
                    tf.int64,
                    tf.lookup.TextFileIndex.LINE_NUMBER,
                ),
                default_value=-1,
            )

        @tf.function(input_signature=[tf.TensorSpec([None], tf.string, "words")])
        def ids(self, words: Any) -> Any:
            return {"ids": self.table.lookup(words)}

    class Compiled(tf.Module):
        """Compiled by XLA, once for each size of a batch."""

        @tf.function(input_signature=[tf.TensorSpec([None, 4], tf.float32, "x")], jit_compile=True)
        def double(self, x: Any) -> Any:
            return {"y": 2.0 * x + 1.0}

    class CompiledProduct(tf.Module):
        """Refuses all but four columns, and only XLA finds that out."""

        @tf.function(
            input_signature=[tf.TensorSpec([None, None], tf.float32, "x")], jit_compile=True
        )
        def product(self, x: Any) -> Any:
            return {"y": x @ tf.ones([4, 2])}

    product = CompiledProduct()
    tf.saved_model.save(product, f"{folder}/compiled_product", {"serving_default": product.product})
    compiled = Compiled()
    tf.saved_model.save(compiled, f"{folder}/compiled", {"serving_default": compiled.double})

    class Heads(tf.Module):
        """Two heads on the same examples, each a signature with a placeholder of its own."""

        def __init__(self) -> None:
            super().__init__()
            self.weight = tf.Variable(2.0)

        def _x(self, examples: Any) -> Any:
            feature = tf.io.FixedLenFeature([], tf.float32, default_value=0.0)
            return tf.io.parse_example(examples, {"x": feature})["x"]

        @tf.function(input_signature=[tf.TensorSpec([None], tf.string, "inputs")])
        def classify(self, inputs: Any) -> Any:
            x = self._x(inputs)
            return {"scores": tf.stack([x, self.weight * x], 1)}

        @tf.function(input_signature=[tf.TensorSpec([None], tf.string, "inputs")])
        def regress(self, inputs: Any) -> Any:
            return {"outputs": self._x(inputs) + self.weight}

    heads = Heads()
    tf.saved_model.save(
        heads, f"{folder}/heads", {"classify": heads.classify, "regress": heads.regress}
    )

    class Ragged(tf.Module):
        """Takes rows of unequal lengths, of which saving makes several inputs."""

        @tf.function(input_signature=[tf.RaggedTensorSpec([None, None], tf.float32)])
        def sums(self, x: Any) -> Any:
            return {"sums": tf.reduce_sum(x, 1)}

    class Sentences(tf.Module):
        """Takes words in sentences in texts, and a weight for each text."""

        @tf.function(
            input_signature=[
                tf.RaggedTensorSpec([None, None, None], tf.string),
                tf.TensorSpec([None], tf.float32, "weight"),
            ]
        )
        def words(self, x: Any, weight: Any) -> Any:
            return {"words": tf.cast(tf.reduce_sum(x.row_lengths(axis=2), 1), tf.float32) * weight}

    class Sparse(tf.Module):
        @tf.function(input_signature=[tf.SparseTensorSpec([None, 3], tf.float32)])
        def dense(self, x: Any) -> Any:
            return {"dense": tf.sparse.to_dense(x)}

    class Twins(tf.Module):
        """Signatures of which some compute the same."""

        def __init__(self) -> None:
            super().__init__()
            self.half, self.third = tf.Variable(0.5), tf.Variable(0.25)
            self.shared = tf.function(
                lambda x, y: {"sum": self.half * x + y},
                input_signature=[tf.TensorSpec([None], tf.float32, key) for key in "xy"],
            ).get_concrete_function()

        def times(self, factor: Any) -> Any:
            """Multiplies by a variable, in a function of its own."""

            @tf.function(input_signature=[tf.TensorSpec([None], tf.float32, "x")])
            def call(x: Any) -> Any:
                return {"y": factor * x}

            return call

    ragged, sentences, sparse = Ragged(), Sentences(), Sparse()

    class Checked(tf.Module):
        """Two signatures; the second takes negative numbers, unless it is the first again."""

        @tf.function(input_signature=[tf.TensorSpec([None], tf.float32, "x")])
        def checked(self, x: Any) -> Any:
            with tf.control_dependencies([tf.debugging.assert_non_negative(x)]):
                return {"y": tf.identity(x)}

        @tf.function(input_signature=[tf.TensorSpec([None], tf.float32, "x")])
        def any(self, x: Any) -> Any:
            return {"y": x * 100.0}

    checked = Checked()
    for name, other in (("takes_negative", checked.any), ("checks_both", checked.checked)):
        tf.saved_model.save(
            checked, f"{folder}/{name}", {"serving_default": checked.checked, "other": other}
        )
    twins = Twins()
    twins.calls = {"half": twins.times(twins.half), "third": twins.times(twins.third)}
    tf.saved_model.save(
        twins,
        f"{folder}/twins",
        {
            "again": twins.shared,
            "half": twins.calls["half"],
            "serving_default": twins.shared,
            "third": twins.calls["third"],
        },
    )
    tf.saved_model.save(ragged, f"{folder}/ragged", ragged.sums)
    tf.saved_model.save(sentences, f"{folder}/sentences", sentences.words)
    tf.saved_model.save(sparse, f"{folder}/sparse", sparse.dense)

    digits, keeper = Digits(), Keeper()
    tf.saved_model.save(digits, f"{folder}/digits", {"serving_default": digits.classify})
    tf.saved_model.save(keeper, f"{folder}/keeper", {"keep": keeper.keep, "recall": keeper.recall})
    vocabulary = os.path.join(folder, "vocabulary.txt")
    with open(vocabulary, "w") as file:
        file.write("serving\nworkbench\nversion\n")
    lookup = Lookup(vocabulary)
    tf.saved_model.save(lookup, f"{folder}/lookup", {"serving_default": lookup.ids})
    os.remove(vocabulary)

    _damage(folder)


def _damage(folder: str) -> None:
    """Copies of `half_plus_two` that look complete and cannot be loaded."""
    from tensorflow.core.protobuf import saved_model_pb2

    good = os.path.join(folder, "half_plus_two")
    corrupt = shutil.copytree(good, os.path.join(folder, "corrupt"))
    data = os.path.join(corrupt, "variables", "variables.data-00000-of-00001")
    size = os.path.getsize(data)
    with open(data, "wb") as file:
        file.write(b"\xff" * size)

    bad_graph = shutil.copytree(good, os.path.join(folder, "bad_graph"))
    path = os.path.join(bad_graph, "saved_model.pb")
    message = saved_model_pb2.SavedModel()
    with open(path, "rb") as file:
        message.ParseFromString(file.read())
    for node in message.meta_graphs[0].graph_def.node:
        if node.name == "y":
            node.op = "NoSuchOperation"
    with open(path, "wb") as file:
        file.write(message.SerializeToString())


if __name__ == "__main__":
    main(sys.argv[1])
