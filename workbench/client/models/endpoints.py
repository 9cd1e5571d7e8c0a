"""The functions of a SavedModel: their inputs are flat, and each input has its own name.

TensorFlow makes a signature of a function only if its inputs have plain names and its outputs are a
flat dictionary. Other functions are wrapped in one that meets this.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from workbench.client.models.aliases import Aliases
from workbench.core.status import ServingError, invalid_argument


@dataclass
class Endpoint:
    """A function to be served.

    Attributes:
        names: of the signatures that call it.
        what: the function's name in messages.
        function: a `tf.function` with an input signature, or a concrete function.
        concrete: the same, traced.
        layers: the names of the model's layers, if any.
    """

    names: tuple[str, ...]
    what: str
    function: Any
    concrete: Any
    layers: Sequence[str] = ()


@dataclass
class Draft:
    """A function whose inputs have no aliases yet.

    Attributes:
        call: takes arguments of this `structure`.
        structure: the positional and the keyword arguments, as specs.
        inputs: names of the flat inputs, in TensorFlow's order.
        ready: the function to serve if no name has to change; None if it is always wrapped.
    """

    names: tuple[str, ...]
    what: str
    call: Callable[..., Any]
    structure: tuple[Any, Any]
    inputs: list[str]
    ready: Any = None
    layers: Sequence[str] = ()


def endpoints(tf: Any, drafts: Sequence[Draft], aliases: Aliases) -> list[Endpoint]:
    """Trace functions under clean names.

    Raises:
        ServingError: INVALID_ARGUMENT, with the function that cannot be traced, and the reason.
    """
    for draft in drafts:
        aliases.add(draft.inputs)
    found = []
    for draft in drafts:
        names = aliases.of(draft.inputs)
        function = draft.ready
        if function is None or names != draft.inputs or not _is_flat(traced(draft.what, function)):
            function = flat_function(tf, draft, names)
        concrete = traced(draft.what, function)
        if not concrete.outputs:
            raise invalid_argument(
                f"{draft.what} returns no tensor: return a tensor, or a dictionary of tensors"
            )
        found.append(Endpoint(draft.names, draft.what, function, concrete, draft.layers))
    return found


def flat_function(tf: Any, draft: Draft, names: Sequence[str]) -> Any:
    """A `tf.function` with one tensor for each name, which returns a dictionary of tensors."""
    flat = tf.nest.flatten(draft.structure, expand_composites=True)
    specs = [tf.TensorSpec(s.shape, s.dtype, n) for s, n in zip(flat, names, strict=True)]

    def signature(*tensors: Any) -> Any:
        args, kwargs = tf.nest.pack_sequence_as(draft.structure, tensors, expand_composites=True)
        return dict(_outputs(draft.call(*args, **kwargs)))

    return tf.function(signature, input_signature=specs, autograph=False)


def traced(what: str, function: Any) -> Any:
    """The concrete function; `what` is its name in messages.

    Raises:
        ServingError: INVALID_ARGUMENT, in one sentence.
    """
    if not hasattr(function, "get_concrete_function"):
        return function
    try:
        return function.get_concrete_function()
    except ServingError:
        raise
    except Exception as error:
        raise invalid_argument(
            f"{what} cannot be traced with its input signature: {said(error)}"
        ) from error


def said(error: BaseException) -> str:
    """The line of an error with its reason; TensorFlow and Keras write pages around it."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    # AutoGraph adds lines, and Keras repeats the arguments.
    reasons = [line for line in lines if re.match(r"\w*(Error|Exception): ", line)]
    line = (reasons[-1:] or lines or [type(error).__name__])[0]
    return line.rstrip(". ")


def flat_names(tf: Any, structure: Any, name: str) -> Iterator[tuple[str, bool]]:
    """The names of a structure's flat tensors in TensorFlow's order, and whether each name is the
    model's own: that of its spec, or its key in a dictionary. Otherwise it is `name` with a number.
    """
    if isinstance(structure, Mapping):
        for key in sorted(structure):
            yield from ((n, True) for n, _ in flat_names(tf, structure[key], str(key)))
    elif isinstance(structure, (list, tuple)):
        for index, each in enumerate(structure):
            yield from flat_names(tf, each, f"{name}_{index}")
    else:
        own = getattr(structure, "name", None)
        parts = tf.nest.flatten(structure, expand_composites=True)
        for index in range(len(parts)):
            yield (own or name) + (f"_{index}" if index else ""), own is not None


def _is_flat(concrete: Any) -> bool:
    """Whether TensorFlow can make a signature of a function's outputs."""
    outputs = concrete.structured_outputs
    if isinstance(outputs, Mapping):
        return all(isinstance(k, str) and _is_tensor(v) for k, v in outputs.items())
    if isinstance(outputs, (list, tuple)):
        return all(_is_tensor(each) for each in outputs)
    return _is_tensor(outputs)


def _is_tensor(value: Any) -> bool:
    return value is not None and not isinstance(value, (Mapping, list, tuple))


def _outputs(outputs: Any) -> Iterator[tuple[str, Any]]:
    """Outputs by name: a key of a dictionary, or `output_` and a number, as in TensorFlow."""
    if hasattr(outputs, "_asdict"):
        outputs = outputs._asdict()
    if not isinstance(outputs, Mapping):
        several = outputs if isinstance(outputs, (list, tuple)) else [outputs]
        outputs = {f"output_{index}": value for index, value in enumerate(several)}
    for key, value in outputs.items():
        yield from _named(str(key), value)


def _named(name: str, value: Any) -> Iterator[tuple[str, Any]]:
    if _is_tensor(value):
        yield name, value
    elif value is not None:
        for key, each in value.items() if isinstance(value, Mapping) else enumerate(value):
            yield from _named(f"{name}_{key}", each)
