"""Versions whose files are damaged, each in another way.

Each is an export of a good model to which something was done; `broken_graphs` has models that were
exported whole and cannot work.
"""

from __future__ import annotations

import os
import shutil
from typing import Any

import numpy as np

from tests.zoo.breaking import (
    GOOD_WORDS,
    KERNEL,
    Versions,
    one_node,
    rewrite_checkpoint,
    rewrite_graph,
    serving,
)

_all = Versions()
damaged = _all.damaged


# Files of the variables.


@damaged("(?i)variables")
def variables_folder_missing(tf: Any, folder: str) -> None:
    shutil.rmtree(f"{folder}/variables")


@damaged("(?i)variables")
def checkpoint_index_missing(tf: Any, folder: str) -> None:
    os.remove(f"{folder}/variables/variables.index")


@damaged("kernel")
def variable_missing_in_checkpoint(tf: Any, folder: str) -> None:
    rewrite_checkpoint(tf, folder, lambda tensors: tensors.pop(KERNEL))


@damaged("(?i)shape|dimension|incompatible|size")
def variable_of_another_shape(tf: Any, folder: str) -> None:
    def change(tensors: dict[str, Any]) -> None:
        tensors[KERNEL] = tensors[KERNEL][:, :2]

    rewrite_checkpoint(tf, folder, change)


@damaged("(?i)dtype|type|double")
def variable_of_another_dtype(tf: Any, folder: str) -> None:
    def change(tensors: dict[str, Any]) -> None:
        tensors[KERNEL] = tensors[KERNEL].astype(np.float64)

    rewrite_checkpoint(tf, folder, change)


@damaged("(?i)data.?loss|truncated|out.of.range|end of file|checksum|incomplete|shorter")
def data_cut_off(tf: Any, folder: str) -> None:
    data = f"{folder}/variables/variables.data-00000-of-00001"
    os.truncate(data, os.path.getsize(data) - 20)


@damaged("(?i)data.?loss|checksum")
def data_of_a_bad_disk(tf: Any, folder: str) -> None:
    data = f"{folder}/variables/variables.data-00000-of-00001"
    size = os.path.getsize(data)
    with open(data, "wb") as file:
        file.write(b"\xff" * size)


@damaged("(?i)nan", verdict="warned")
def nan_everywhere(tf: Any, folder: str) -> None:
    rewrite_checkpoint(tf, folder, lambda tensors: tensors[KERNEL].fill(np.nan))


@damaged("(?i)far|differ", verdict="warned")
def answers_far_apart(tf: Any, folder: str) -> None:
    def change(tensors: dict[str, Any]) -> None:
        tensors[KERNEL] *= -1000

    rewrite_checkpoint(tf, folder, change)


# Assets.


@damaged("(?i)vocabulary|good_words.txt|assets?", base=GOOD_WORDS)
def vocabulary_missing(tf: Any, folder: str) -> None:
    for name in os.listdir(f"{folder}/assets"):
        os.remove(f"{folder}/assets/{name}")


@damaged("(?i)asset|directory|file", base=GOOD_WORDS)
def vocabulary_without_a_name(tf: Any, folder: str) -> None:
    def change(meta_graph: Any) -> None:
        meta_graph.asset_file_def[0].filename = ""

    rewrite_graph(folder, change)


# The graph's file.


@damaged("(?i)data.?loss|corrupt|damaged")
def graph_file_of_a_bad_disk(tf: Any, folder: str) -> None:
    with open(f"{folder}/saved_model.pb", "r+b") as file:
        size = os.path.getsize(file.name)
        file.seek(size // 3)
        file.write(b"\xff" * (size // 3))


@damaged("NoSuchOperation")
def operation_unknown(tf: Any, folder: str) -> None:
    def change(meta_graph: Any) -> None:
        node = one_node(meta_graph.graph_def.library, "MatMul")
        node.op = "NoSuchOperation"

    rewrite_graph(folder, change)


@damaged("(?i)function|inference|StatefulPartitionedCall")
def function_missing(tf: Any, folder: str) -> None:
    """A library that lost the function that a signature calls."""

    def change(meta_graph: Any) -> None:
        library = meta_graph.graph_def.library
        kept = [f for f in library.function if not any(n.op == "MatMul" for n in f.node_def)]
        assert len(kept) < len(library.function)
        del library.function[:]
        library.function.extend(kept)

    rewrite_graph(folder, change)


@damaged("(?i)attr|type|dtype")
def attribute_invalid(tf: Any, folder: str) -> None:
    def change(meta_graph: Any) -> None:
        one_node(meta_graph.graph_def.library, "MatMul").attr["T"].type = 7  # strings

    rewrite_graph(folder, change)


@damaged("(?i)cycle|loop|invalid")
def graph_with_a_cycle(tf: Any, folder: str) -> None:
    def change(meta_graph: Any) -> None:
        nodes = {node.name: node for node in meta_graph.graph_def.node}
        call = nodes[serving(meta_graph).outputs["y"].name.split(":")[0]]
        first = meta_graph.graph_def.node.add(name="first", op="Identity", input=["second"])
        second = meta_graph.graph_def.node.add(name="second", op="Identity", input=["first"])
        for node in (first, second):
            node.attr["T"].type = 1  # floats
        call.input[0] = "second"

    rewrite_graph(folder, change)


# Signatures.


@damaged("nowhere")
def output_missing(tf: Any, folder: str) -> None:
    def change(meta_graph: Any) -> None:
        serving(meta_graph).outputs["y"].name = "nowhere:0"

    rewrite_graph(folder, change)


@damaged("(?i)StatefulPartitionedCall.*:7|output 7|7.*outputs?")
def output_number_missing(tf: Any, folder: str) -> None:
    def change(meta_graph: Any) -> None:
        output = serving(meta_graph).outputs["y"]
        output.name = output.name.split(":")[0] + ":7"

    rewrite_graph(folder, change)


@damaged("nowhere")
def input_missing(tf: Any, folder: str) -> None:
    def change(meta_graph: Any) -> None:
        serving(meta_graph).inputs["x"].name = "nowhere:0"

    rewrite_graph(folder, change)


@damaged("(?i)signature")
def no_signatures(tf: Any, folder: str) -> None:
    rewrite_graph(folder, lambda meta_graph: meta_graph.signature_def.clear())


@damaged("(?i)tags.*train|train.*tags")
def other_tags(tf: Any, folder: str) -> None:
    def change(meta_graph: Any) -> None:
        meta_graph.meta_info_def.tags[:] = ["train"]

    rewrite_graph(folder, change)


BROKEN = _all.broken
