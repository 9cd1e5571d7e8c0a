"""How a version of the zoo is broken: the good models that it replaces, the record of it, and what
damages the files of an export."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from tests.zoo.exporting import Export, export
from tests.zoo.specimens import WORDS, Collection, Input, Specimen, texts

Build = Callable[[Any], Export]
Damage = Callable[[Any, str], None]

_good = Collection()

# What a client of `good_numbers` asks; `refuses_real_requests` depends on the range.
NUMBERS = Input(
    "float32", (4,), lambda rng, rows: rng.uniform(50, 150, (rows, 4)).astype(np.float32)
)
OTHER_SIGNATURE = "scores"
KERNEL = "kernel/.ATTRIBUTES/VARIABLE_VALUE"


@_good.add(inputs={"x": NUMBERS})
def good_numbers(tf: Any) -> Any:
    """Four numbers to three, under two signatures."""
    return linear(tf)


@_good.add(inputs={"words": texts(*WORDS)})
def good_words(tf: Any) -> Any:
    """Numbers words by a vocabulary that is an asset."""

    def save(folder: str) -> None:
        vocabulary = f"{folder}.txt"
        with open(vocabulary, "wb") as file:
            file.write(b"\n".join(word for word in WORDS if word) + b"\n")
        module = tf.Module()
        initializer = tf.lookup.TextFileInitializer(
            vocabulary,
            tf.string,
            tf.lookup.TextFileIndex.WHOLE_LINE,
            tf.int64,
            tf.lookup.TextFileIndex.LINE_NUMBER,
        )
        module.table = tf.lookup.StaticHashTable(initializer, -1)

        @tf.function(input_signature=[tf.TensorSpec([None], tf.string, "words")])
        def serve(words: Any) -> Any:
            return {"y": module.table.lookup(words)}

        tf.saved_model.save(module, folder, {"serving_default": serve})
        os.remove(vocabulary)

    return Export(save)


GOOD = _good.specimens
GOOD_NUMBERS, GOOD_WORDS = GOOD


def linear(
    tf: Any,
    output: Callable[[Any], Any] = lambda y: y,
    check: Callable[[Any], None] = lambda x: None,
    alias: str = "x",
    dtype: str = "float32",
    output_alias: str = "y",
    width: int = 3,
    other_signature: bool = True,
) -> Export:
    """The model `good_numbers`, or one of another form: `check` is traced with its input, and
    `output` changes its output."""

    def save(folder: str) -> None:
        module = tf.Module()
        kernel = np.random.default_rng(3).normal(size=(4, width))
        module.kernel = tf.Variable(kernel, dtype=tf.float32)
        module.bias = tf.Variable(tf.zeros([width]))

        @tf.function(input_signature=[tf.TensorSpec([None, 4], dtype, alias)])
        def serve(x: Any) -> Any:
            check(x)
            y = tf.cast(x, tf.float32) @ module.kernel + module.bias
            return {output_alias: output(y)}

        signatures = {"serving_default": serve}
        if other_signature:
            signatures[OTHER_SIGNATURE] = serve
        tf.saved_model.save(module, folder, signatures)

    return Export(save)


@dataclass(frozen=True)
class Broken:
    """A version that takes the place of a good one, which clients ask meanwhile.

    Attributes:
        name: that of its folder.
        build: writes it, given the `tensorflow` module and the folder.
        reason: a regular expression for what the server says of it.
        verdict: what a server must decide before the version is available: "refused" where it can
            never answer, "warned" where a client would notice a difference.
        base: the good model, whose requests it is asked.
    """

    name: str
    build: Callable[[Any, str], None]
    reason: str
    verdict: str = "refused"
    base: Specimen = GOOD_NUMBERS


@dataclass
class Versions:
    """Broken versions in the order in which they are defined."""

    broken: list[Broken] = field(default_factory=list)

    def exported(self, reason: str, **settings: Any) -> Callable[[Build], Build]:
        """Take up a model that is exported broken; its builder gives an `Export`."""

        def take_up(build: Build) -> Build:
            def write(tf: Any, folder: str) -> None:
                tf.keras.utils.set_random_seed(7)
                build(tf).save(folder)

            self.broken.append(Broken(build.__name__, write, reason, **settings))
            return build

        return take_up

    def damaged(self, reason: str, **settings: Any) -> Callable[[Damage], Damage]:
        """Take up a damage that is done to the export of a good model."""

        def take_up(damage: Damage) -> Damage:
            def write(tf: Any, folder: str) -> None:
                export(tf, settings.get("base", GOOD_NUMBERS), folder)
                damage(tf, folder)

            self.broken.append(Broken(damage.__name__, write, reason, **settings))
            return damage

        return take_up


# Damaging.


def rewrite_graph(folder: str, change: Callable[[Any], Any]) -> None:
    """Change the meta graph of a SavedModel."""
    from tensorflow.core.protobuf.saved_model_pb2 import SavedModel

    path = f"{folder}/saved_model.pb"
    with open(path, "rb") as file:
        message = SavedModel.FromString(file.read())
    change(message.meta_graphs[0])
    with open(path, "wb") as file:
        file.write(message.SerializeToString())


def rewrite_checkpoint(tf: Any, folder: str, change: Callable[[dict[str, Any]], Any]) -> None:
    """Change the variables of a SavedModel, given by the keys of its checkpoint."""
    prefix = f"{folder}/variables/variables"
    reader = tf.train.load_checkpoint(prefix)
    tensors = {name: reader.get_tensor(name) for name in reader.get_variable_to_shape_map()}
    change(tensors)
    names = sorted(tensors)
    tf.raw_ops.SaveV2(
        prefix=prefix,
        tensor_names=names,
        shape_and_slices=[""] * len(names),
        tensors=[tf.constant(tensors[name]) for name in names],
    )


def one_node(library: Any, operation: str) -> Any:
    """The first node of this operation in a function library."""
    return next(n for f in library.function for n in f.node_def if n.op == operation)


def serving(meta_graph: Any) -> Any:
    """The default signature of a meta graph."""
    return meta_graph.signature_def["serving_default"]
