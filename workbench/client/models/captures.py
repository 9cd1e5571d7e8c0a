"""What functions use from outside of themselves, and how all of it comes into a SavedModel.

A SavedModel has only what the saved object *tracks*. A function may use more: a table that a Lambda
layer closes over, a variable of another object. And a variable of Keras 3 is tracked as a copy of
the variable that the function uses: that one itself would never be restored. So where a function
uses what its object does not track, another object is saved, which tracks just what is used.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from typing import Any

from workbench.client.models.endpoints import Endpoint
from workbench.core.status import invalid_argument

_PYTHON = frozenset({"PyFunc", "PyFuncStateless", "EagerPyFunc", "NumpyFunction"})
"""Operations that call back into the process that built the graph."""


def to_save(tf: Any, root: Any, endpoints: Sequence[Endpoint]) -> Any:
    """The object to save: `root`, or one that tracks what `root` does not.

    Args:
        root: the module that has the functions; None: a Keras model has no such object.

    Raises:
        ServingError: INVALID_ARGUMENT, naming the function or layer, and what it uses that no
            SavedModel can have.
    """
    for endpoint in endpoints:
        _check_python(endpoint)
    used = {id(each): each for e in endpoints for each in trackables(tf, e)}
    if root is not None:
        tracked = {id(each) for each in tf.train.TrackableView(root).descendants()}
        if used.keys() <= tracked:
            return root
    holder = tf.Module()
    holder.used = list(used.values())
    return holder


def trackables(tf: Any, endpoint: Endpoint) -> Iterator[Any]:
    """The variables and tables that a function uses.

    Raises:
        ServingError: INVALID_ARGUMENT, one of them belongs to no object that could be saved.
    """
    graph = endpoint.concrete.graph
    try:
        variables = {id(v.handle): v for v in graph.variables}
    except Exception as error:
        raise invalid_argument(
            f"{endpoint.what} uses a variable that was deleted: keep it as an attribute of the "
            "model"
        ) from error
    yield from variables.values()
    for outer, inner in graph.captures:
        if id(outer) in variables:
            continue
        if not hasattr(outer, "numpy"):
            raise invalid_argument(
                f"{_user(endpoint, inner)} uses the tensor {outer.name!r} of another graph: pass "
                "it as an input, or keep it as a tf.Variable of the model"
            )
        if outer.dtype in (tf.resource, tf.variant):
            owner = getattr(outer, "_parent_trackable", lambda: None)()
            if owner is None:
                raise invalid_argument(
                    f"{_user(endpoint, inner)} uses a {_kind(outer)} that no object holds: make "
                    "it with tf.lookup or tf.Variable, and keep it as an attribute of the model"
                )
            yield owner


def values(tf: Any, endpoint: Endpoint) -> Iterator[Any]:
    """The values that a function uses, as arrays: of its variables, tables and constants."""
    for used in trackables(tf, endpoint):
        if isinstance(used, tf.Variable):
            yield used.numpy()
        elif hasattr(used, "export"):
            keys, contents = (each.numpy() for each in used.export())
            order = keys.argsort(axis=0, kind="stable") if keys.ndim == 1 else slice(None)
            yield keys[order]
            yield contents[order]
    for outer, _ in endpoint.concrete.graph.captures:
        if outer.dtype not in (tf.resource, tf.variant):
            yield outer.numpy()


def _check_python(endpoint: Endpoint) -> None:
    """Refuse a function that calls Python: the process that serves does not have it."""
    graph = endpoint.concrete.graph
    for operation in graph.get_operations():
        if operation.type in _PYTHON:
            raise _calls_python(_layer(endpoint, operation.name))
    for function in graph.as_graph_def().library.function:
        if any(node.op in _PYTHON for node in function.node_def):
            raise _calls_python(endpoint.what)


def _calls_python(what: str) -> Exception:
    return invalid_argument(
        f"{what} calls Python code (tf.py_function or tf.numpy_function), which is lost where the "
        "model is served: write it with TensorFlow's operations"
    )


def _user(endpoint: Endpoint, inner: Any) -> str:
    """Who uses a captured tensor: a layer, else the function."""
    for operation in endpoint.concrete.graph.get_operations():
        if any(each is inner for each in operation.inputs):
            return _layer(endpoint, operation.name)
    return endpoint.what


def _layer(endpoint: Endpoint, operation: str) -> str:
    """The innermost layer in whose scope an operation is; else the function."""
    names = set(endpoint.layers)
    for scope in reversed(operation.split("/")[:-1]):
        # A scope that is entered again has a number after its name.
        for name in (scope, re.sub(r"_\d+\Z", "", scope)):
            if name in names:
                return f"Layer {name!r} of {endpoint.what}"
    return endpoint.what


def _kind(resource: Any) -> str:
    return "table" if "ookup" in str(resource) or "Table" in str(resource) else "resource"
