"""Saves what the builders of the zoo make, in each of the ways that people save models."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from tests.zoo.specimens import Input, Specimen


@dataclass(frozen=True)
class Export:
    """A model that saves itself: `save` is given the folder."""

    save: Callable[[str], None]


def export(tf: Any, specimen: Specimen, folder: str) -> None:
    """Build a model and save it as a SavedModel."""
    tf.keras.utils.set_random_seed(7)
    built = specimen.build(tf)
    if isinstance(built, Export):
        built.save(folder)
    elif isinstance(built, tf.keras.Model):
        built.export(folder, verbose=False)
    elif isinstance(built, tf.Module):
        save_function(tf, built.serve, specimen.inputs, folder, built)
    else:
        save_function(tf, built, specimen.inputs, folder)


def save_function(
    tf: Any,
    function: Callable[..., Any],
    inputs: Mapping[str, Input],
    folder: str,
    module: Any = None,
) -> None:
    """Save a function of tensors as the signature of a `tf.Module`."""
    module = tf.Module() if module is None else module
    specs = [tf.TensorSpec([None, *i.shape], i.dtype, alias) for alias, i in inputs.items()]

    @tf.function(input_signature=specs)
    def serve(*tensors: Any) -> Any:
        outputs = function(*tensors)
        return outputs if isinstance(outputs, dict) else {"y": outputs}

    module.signature = serve
    tf.saved_model.save(module, folder, {"serving_default": serve})


def tf1(
    tf: Any,
    build: Callable[[], tuple[dict[str, Any], dict[str, Any]]],
    *,
    main_op: Callable[[], Any] = lambda: None,
    edit: Callable[[Any], None] = lambda definition: None,
    tags: tuple[str, ...] = ("serve",),
    saver: Callable[[], Any] = lambda: None,
) -> Export:
    """A model that is built in a graph and saved by TensorFlow 1's builder.

    Args:
        build: makes the graph; gives the inputs and outputs by alias.
        main_op: makes what is run when the model is loaded.
        edit: changes the signature before it is saved.
        saver: makes the saver of the variables, where it is not to save all.
    """
    v1 = tf.compat.v1

    def save(folder: str) -> None:
        with tf.Graph().as_default(), v1.Session() as session:
            inputs, outputs = build()
            definition = v1.saved_model.predict_signature_def(inputs, outputs)
            edit(definition)
            initialise = main_op()
            session.run([v1.global_variables_initializer(), v1.tables_initializer()])
            builder = v1.saved_model.Builder(folder)
            builder.add_meta_graph_and_variables(
                session,
                list(tags),
                {"serving_default": definition},
                main_op=initialise,
                saver=saver(),
            )
            builder.save()

    return Export(save)
