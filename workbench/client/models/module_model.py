"""Finds the functions of a `tf.Module`, or of a loaded SavedModel, that can be served."""

from __future__ import annotations

from typing import Any

from workbench.client.models.endpoints import Draft, flat_names, traced
from workbench.core.status import invalid_argument


def is_module(tf: Any, model: Any) -> bool:
    """Whether it is a `tf.Module`, or an object from `tf.saved_model.load`."""
    return isinstance(model, tf.Module) or _loaded_signatures(model) is not None


def drafts(tf: Any, module: Any) -> list[Draft]:
    """The functions of a module that have an input signature. `__call__` is the default one, or
    else the first of the others.

    Raises:
        ServingError: INVALID_ARGUMENT, there is none, or one cannot be traced.
    """
    kind = type(module).__name__
    loaded = _loaded_signatures(module)
    if loaded:
        return [
            Draft((name,), f"Signature {name}", f, f.structured_input_signature, _keywords(f), f)
            for name, f in loaded.items()
        ]
    found = {}
    for name in ["__call__", *dir(type(module))]:
        function = getattr(module, name, None) if name == "__call__" or name[0] != "_" else None
        servable = isinstance(function, tf.types.experimental.PolymorphicFunction)
        if servable and getattr(function, "input_signature", None) is not None:
            found[name] = function
    if not found:
        raise invalid_argument(
            f"{kind} has no function that can be served: decorate its __call__ with "
            "@tf.function(input_signature=[tf.TensorSpec([None, ...], tf.float32)])"
        )
    default = next(iter(found))
    made = []
    for name, function in found.items():
        names = (name,) if name != "__call__" else ()
        names = (*names, "serving_default") if name == default else names
        made.append(_draft(tf, names, f"Function {name} of {kind}", function))
    return made


def _draft(tf: Any, names: tuple[str, ...], what: str, function: Any) -> Draft:
    concrete = traced(what, function)
    inputs = _keywords(concrete)
    named = list(flat_names(tf, tuple(function.input_signature), ""))
    if len(named) == len(inputs):
        inputs = [n if own else k for (n, own), k in zip(named, inputs, strict=True)]
    return Draft(names, what, function, concrete.structured_input_signature, inputs, function)


def _keywords(concrete: Any) -> list[str]:
    """The names that TensorFlow gives to a function's flat inputs."""
    return [str(name) for name in concrete._arg_keywords]


def _loaded_signatures(model: Any) -> Any:
    """The signatures of an object from `tf.saved_model.load`; None for any other object."""
    signatures = getattr(model, "signatures", None)
    return signatures if type(signatures).__name__ == "_SignatureMap" else None
