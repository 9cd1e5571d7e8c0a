"""Finds out what is wrong with a SavedModel's files when TensorFlow's own error hides it.

If restoring fails, TensorFlow tries a second way and reports only how that one failed: "No
variables to save" for a missing value. So a failed restore is examined again here. Files that load
cost nothing.
"""

from __future__ import annotations

import glob
import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from workbench.core.status import Code, ServingError
from workbench.formats.saved_model.damage import DAMAGED, clue

_VALUE = "/.ATTRIBUTES/VARIABLE_VALUE"
_MOST_NAMED = 5


def parsed(path: str) -> Any:
    """TensorFlow's loader for a SavedModel, after it has read `saved_model.pb` (or `.pbtxt`).

    Raises:
        ServingError: DATA_LOSS, the file cannot be parsed, or holds no graph.
    """
    from tensorflow.python.saved_model import loader_impl

    binary = os.path.join(path, "saved_model.pb")
    file = binary if os.path.exists(binary) else os.path.join(path, "saved_model.pbtxt")
    kind = "binary" if file is binary else "text"
    try:
        loader = loader_impl.SavedModelLoader(path)
    except (OSError, UnicodeDecodeError) as error:
        if isinstance(error, OSError) and error.errno is not None:
            raise
        # TensorFlow's own text begins with the path, as bytes.
        why = str(error).rpartition(f"{os.path.basename(file)}': ")[2].rstrip(". ")
        raise _damaged(file, f"Can't parse {file} as {kind} proto: {why}") from error
    if not loader._saved_model.meta_graphs:
        raise _damaged(file, f"{file} holds no graph")
    return loader


@contextmanager
def restoring(path: str, graph: Any) -> Iterator[None]:
    """Restore a SavedModel's variables inside; a failure is reported by its cause.

    Args:
        path: the version's folder.
        graph: the session's graph, which names the values that it needs.

    Raises:
        ServingError: DATA_LOSS, a file is missing or damaged; NOT_FOUND, a variable has no value.
    """
    try:
        yield
    except Exception as error:
        cause = _cause(os.path.join(path, "variables"), graph, path, error)
        if cause is None:
            raise
        raise cause from error


def _cause(variables: str, graph: Any, path: str, error: Exception) -> ServingError | None:
    """Why a restore failed; None if TensorFlow's own error says so."""
    from tensorflow.python.training import py_checkpoint_reader

    index = os.path.join(variables, "variables.index")
    is_damage = getattr(error, "error_code", None) == Code.DATA_LOSS
    if _is_missing(index):
        return _damaged(index, f"{index} is missing, which the model's variables need")
    try:
        reader = py_checkpoint_reader.NewCheckpointReader(os.path.join(variables, "variables"))
    except Exception as unreadable:
        # A disk that does not answer right now is no damage.
        if not is_damage:
            return None
        return _damaged(index, f"{index} cannot be read: {_first_line(unreadable)}")
    missing = [key for key in _keys(graph) if not reader.has_tensor(key)]
    if missing:
        names = [_variable(path, key) for key in missing[:_MOST_NAMED]]
        more = f" and {len(missing) - _MOST_NAMED} more" if len(missing) > _MOST_NAMED else ""
        plural = "s" if len(missing) > 1 else ""
        return ServingError(
            Code.NOT_FOUND,
            f"Key {missing[0]} not found in checkpoint: {index} has no value for variable{plural} "
            f"{', '.join(names)}{more}; export the model again, its graph and its variables "
            "together",
        )
    for file in _data_files(variables):
        if _is_missing(file):
            return _damaged(file, f"{file} is missing")
    if getattr(error, "error_code", None) == Code.OUT_OF_RANGE:
        (file, *others) = _data_files(variables)
        which = file if not others else f"A data file in {variables}"
        return _damaged(file, f"{which} is shorter than variables.index says")
    return _damaged(variables, _first_line(error)) if is_damage else None


def _keys(graph: Any) -> list[str]:
    """The names of the values that the graph's restore operations read, functions included."""
    definition = graph.as_graph_def()
    keys: list[str] = []
    bodies = [definition.node, *(f.node_def for f in definition.library.function)]
    for nodes in bodies:
        by_name = {node.name: node for node in nodes}
        for node in nodes:
            if node.op != "RestoreV2":
                continue
            names = by_name.get(node.input[1].split(":")[0])
            if names is not None and names.op == "Const":
                values = names.attr["value"].tensor.string_val
                keys += [value.decode(errors="replace") for value in values]
    return [key for key in dict.fromkeys(keys) if key != "_CHECKPOINTABLE_OBJECT_GRAPH"]


def _variable(path: str, key: str) -> str:
    """The name of the variable that `key` holds. The keys of a TensorFlow 2 checkpoint are paths
    from the model to its variables."""
    if not key.endswith(_VALUE):
        return key
    way = key.removesuffix(_VALUE)
    try:
        from tensorflow.python.saved_model import loader_impl

        saved = loader_impl.parse_saved_model(path)
        nodes = saved.meta_graphs[0].object_graph_def.nodes
        node = nodes[0]
        for name in way.split("/"):
            child = next(c for c in node.children if c.local_name == name)
            node = nodes[child.node_id]
        return f"{node.variable.name} ({way})" if node.variable.name not in ("", way) else way
    except Exception:
        # The path alone says enough.
        return way


def _data_files(variables: str) -> list[str]:
    """The data files that should exist, by the count in the names of those that do."""
    there = sorted(glob.glob(os.path.join(glob.escape(variables), "variables.data-*-of-*")))
    shards = int(there[0].rpartition("-of-")[2]) if there else 1
    start = os.path.join(variables, "variables.data")
    return [f"{start}-{shard:05d}-of-{shards:05d}" for shard in range(shards)]


def _damaged(file: str, what: str) -> ServingError:
    return ServingError(Code.DATA_LOSS, f"{what}{clue(file)}; {DAMAGED}")


def _is_missing(file: str) -> bool:
    """Whether a file certainly does not exist; False if its folder cannot be read."""
    try:
        os.stat(file)
    except OSError as error:
        return isinstance(error, FileNotFoundError)
    return False


def _first_line(error: Exception) -> str:
    """The line of TensorFlow's message that says what failed: the last one before the nodes are
    named, else the first."""
    text = getattr(error, "message", None) or str(error)
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    nodes = [at for at, line in enumerate(lines) if at and line.startswith("[[")]
    return str(lines[nodes[0] - 1 if nodes else 0]).rstrip(". ") if lines else type(error).__name__
