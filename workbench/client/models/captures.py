"""Saves the variables and tables that functions capture.

A SavedModel contains only objects that the saved object *tracks*. A function may use others: a
table that a Lambda layer closes over, a variable of another object. And Keras 3 tracks a copy of
the variable that the function uses, so the variable itself would not be restored. If a
function uses untracked objects, another object is saved in its place, which tracks all of them.
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
    """The object to save: `root`, or a module that tracks everything that the functions use.

    Args:
        root: the module that has the functions; None for a Keras model.

    Raises:
        ServingError: INVALID_ARGUMENT, with the function or layer and the object that it uses and
            no SavedModel can contain.
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
    """The values of a function's variables, tables and constants, as arrays."""
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
    """Refuse a function that calls Python: the worker does not have that code."""
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
    """The user of a captured tensor, for messages: a layer, or else the function."""
    for operation in endpoint.concrete.graph.get_operations():
        if any(each is inner for each in operation.inputs):
            return _layer(endpoint, operation.name)
    return endpoint.what


def _layer(endpoint: Endpoint, operation: str) -> str:
    """The innermost layer whose scope contains an operation, or else the function."""
    names = set(endpoint.layers)
    for scope in reversed(operation.split("/")[:-1]):
        # TensorFlow adds a number to the name of a scope that is entered again.
        for name in (scope, re.sub(r"_\d+\Z", "", scope)):
            if name in names:
                return f"Layer {name!r} of {endpoint.what}"
    return endpoint.what


def _kind(resource: Any) -> str:
    return "table" if "ookup" in str(resource) or "Table" in str(resource) else "resource"
