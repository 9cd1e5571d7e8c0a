"""Finds the function of a Keras model that can be served: Keras 3 on TensorFlow, and Keras 2
(`tf_keras`).

Keras 3 on JAX or PyTorch exports its models itself (`exported_by_keras`).
"""

from __future__ import annotations

import contextlib
import inspect
import re
import sys
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from workbench.client.models.aliases import Aliases
from workbench.client.models.endpoints import Draft, flat_names, said
from workbench.core.status import ServingError, invalid_argument

NAMES = ("serve", "serving_default")
"""The names of a Keras model's signatures, as in `Model.export`."""

_AUTOMATIC = re.compile(r"keras_tensor(_\d+)?\Z")
"""Keras's name of an unnamed input. It counts the tensors of the whole process, so the name would
differ in the next version of the same model."""
_AUTOMATIC_2 = re.compile(r"input_\d+\Z")
"""The same of Keras 2."""


def is_keras_model(model: Any) -> bool:
    """Whether it is a model of Keras 3 or Keras 2."""
    return any(isinstance(model, keras.Model) for keras in _kerases())


def is_keras_layer(model: Any) -> bool:
    """Whether it is a layer of Keras 3 or Keras 2; a model is one too."""
    return any(isinstance(model, keras.layers.Layer) for keras in _kerases())


def on_tensorflow(model: Any) -> bool:
    """Whether a Keras model is made of TensorFlow's operations."""
    keras = sys.modules.get("keras")
    if keras is None or not isinstance(model, keras.Model) or not hasattr(keras, "config"):
        return True
    return bool(keras.config.backend() == "tensorflow")


def drafts(tf: Any, model: Any) -> list[Draft]:
    """The call of a Keras model on TensorFlow.

    Raises:
        ServingError: INVALID_ARGUMENT, its inputs are not known yet.
    """
    check_built(model)
    structure, inputs = _specs(tf, model)
    layers = [layer.name for layer in model.layers]
    what = f"Keras model {model.name!r}"
    return [Draft(NAMES, what, _call(model), structure, inputs, None, layers)]


def check_built(model: Any) -> None:
    """Refuse a model whose inputs are not known yet; raises INVALID_ARGUMENT."""
    if not model.built or not (_inputs(model) is not None or _was_called(model)):
        raise invalid_argument(
            f"Keras model {model.name!r} has no input shape yet: call it once, or begin it with "
            "keras.Input"
        )


def _was_called(model: Any) -> bool:
    if hasattr(model, "save_spec"):
        return model.save_spec() is not None
    return bool(getattr(model, "_called", True))


def _call(model: Any) -> Any:
    """The model's call outside of training; Keras 2 needs an argument for that."""
    keras_2 = hasattr(model, "save_spec")
    if not keras_2 or "training" not in inspect.signature(model.call).parameters:
        return model
    return lambda *args, **kwargs: model(*args, **{**kwargs, "training": False})


def _specs(tf: Any, model: Any) -> tuple[tuple[Any, Any], list[str]]:
    """The arguments of a model's call as specs, and the names of its flat inputs."""
    given = _inputs(model)
    if given is not None:
        names = [n or f"input_{i}" for i, n in enumerate(_tensor_names(tf, given, ""))]
        return ((_mapped(given, lambda t: _spec(tf, t)),), {}), names
    if hasattr(model, "save_spec"):
        args, kwargs = model.save_spec()
        # A spec has the name of the first tensor that the model was called with.
        args, kwargs = _mapped((args, kwargs), lambda s: _without_name(tf, s))
    else:
        args, kwargs = tuple(_recorded(tf, model)), {}
    names = []
    for name, each in [*zip(_argument_names(model), args, strict=False), *sorted(kwargs.items())]:
        names += [n for n, _ in flat_names(tf, each, name)]
    return (tuple(args), kwargs), names


def _tensor_names(tf: Any, structure: Any, key: str) -> Iterator[str]:
    """The names of Keras tensors in TensorFlow's order; `key` for an unnamed one."""
    if isinstance(structure, Mapping):
        for each in sorted(structure):
            yield from _tensor_names(tf, structure[each], str(each))
    elif isinstance(structure, (list, tuple)):
        for tensor in structure:
            yield from _tensor_names(tf, tensor, "")
    else:
        # The tensors of Keras 2 are TensorFlow's, or have their type.
        automatic = _AUTOMATIC_2 if hasattr(structure, "type_spec") else _AUTOMATIC
        name = key if automatic.match(structure.name) else str(structure.name)
        parts = tf.nest.flatten(_spec(tf, structure), expand_composites=True)
        for index in range(len(parts)):
            yield f"{name}_{index}" if index and name else name


def _recorded(tf: Any, model: Any) -> list[Any]:
    """The inputs of a subclassed model of Keras 3, recorded by its first call."""
    from keras.src.export.export_utils import get_input_signature

    try:
        signature = get_input_signature(model)
    except Exception as error:
        raise invalid_argument(
            f"Keras model {model.name!r} does not know its inputs ({said(error)}): build it from "
            "keras.Input, keras.Model(inputs, model(inputs))"
        ) from error
    return [_mapped(each, lambda t: tf.TensorSpec(t.shape, t.dtype)) for each in signature]


def _argument_names(model: Any) -> list[str]:
    parameters = inspect.signature(model.call).parameters.values()
    plain = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
    names = [p.name for p in parameters if p.kind in plain]
    return [*names, *(f"input_{i}" for i in range(len(names), 100))]


def _inputs(model: Any) -> Any:
    """The structure of a functional or sequential model's inputs; None for a subclassed one."""
    with contextlib.suppress(AttributeError, ValueError, RuntimeError):
        if model.inputs:
            sequential = any(isinstance(model, keras.Sequential) for keras in _kerases())
            return model.inputs[0] if sequential else model.input
    return None


def _mapped(structure: Any, change: Callable[[Any], Any]) -> Any:
    """A structure in plain dictionaries, lists and tuples, with its leaves changed."""
    if isinstance(structure, Mapping):
        return {str(key): _mapped(each, change) for key, each in structure.items()}
    for kind in (tuple, list):
        if isinstance(structure, kind):
            return kind(_mapped(each, change) for each in structure)
    return change(structure)


def _spec(tf: Any, tensor: Any) -> Any:
    """A Keras tensor as a spec, with any number of rows."""
    if isinstance(getattr(tensor, "type_spec", None), (tf.RaggedTensorSpec, tf.SparseTensorSpec)):
        return tensor.type_spec
    # Keras exports a model that has seen only one batch size in the same way.
    shape = [None, *list(tensor.shape)[1:]]
    if getattr(tensor, "sparse", False):
        return tf.SparseTensorSpec(shape, tensor.dtype)
    return tf.TensorSpec(shape, tensor.dtype)


def _without_name(tf: Any, spec: Any) -> Any:
    return tf.TensorSpec(spec.shape, spec.dtype) if isinstance(spec, tf.TensorSpec) else spec


def exported_by_keras(model: Any, folder: Path, aliases: Aliases) -> None:
    """Export a model of Keras 3 that is not made of TensorFlow's operations.

    Raises:
        ServingError: INVALID_ARGUMENT, Keras cannot export it, with the reason.
    """
    keras = sys.modules["keras"]
    backend = keras.config.backend()
    check_built(model)
    with _one_sentence(model, backend):
        import tensorflow as tf

        structure, inputs = _specs(tf, model)
        aliases.add(inputs)
        names = aliases.of(inputs)
        if backend == "torch":
            # Its export keeps the names of the inputs.
            if names != inputs:
                raise invalid_argument(
                    f"Keras model {model.name!r} has the input {inputs[0]!r}, which its export "
                    "from PyTorch cannot rename: name its inputs by letters, digits and '_'"
                )
            model.export(str(folder), verbose=False)
            return
        flat = tf.nest.flatten(structure, expand_composites=True)
        specs = [tf.TensorSpec(s.shape, s.dtype, n) for s, n in zip(flat, names, strict=True)]
        archive = keras.export.ExportArchive()
        archive.track(model)

        def signature(*tensors: Any) -> Any:
            args, kwargs = tf.nest.pack_sequence_as(structure, tensors)
            return model(*args, **kwargs)

        archive.add_endpoint(NAMES[0], signature, specs)
        archive.write_out(str(folder), verbose=False)


@contextlib.contextmanager
def _one_sentence(model: Any, backend: str) -> Iterator[None]:
    try:
        yield
    except ServingError:
        raise
    except Exception as error:
        raise invalid_argument(
            f"Keras cannot export model {model.name!r} from its backend {backend}: {said(error)}; "
            "load the model with KERAS_BACKEND=tensorflow and serve it from there"
        ) from error


def _kerases() -> Iterator[Any]:
    """Keras 3 and Keras 2, if the caller has imported them."""
    for name in ("keras", "tf_keras"):
        module = sys.modules.get(name)
        if module is not None and hasattr(module, "Model"):
            yield module
