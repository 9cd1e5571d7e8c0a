"""`python -m tests.deploy.specimens.fleet_models FOLDER` exports the models of fleets.

pair_1, pair_2   two inputs without names; the rows are independent
words            strings
centred          subtracts the mean of all rows, so requests must not share a batch
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any


def main(folder: str) -> None:
    """Write all models below `folder`."""
    import keras
    import tensorflow as tf

    from workbench.client.models.servable import servable

    def write(model: Any, name: str) -> None:
        saved = servable(model)
        saved.prepare()
        saved.write(Path(folder) / name)

    for seed in (1, 2):
        keras.utils.set_random_seed(seed)
        inputs = [keras.Input((3,)), keras.Input((2,))]
        hidden = keras.layers.Concatenate()(inputs)
        write(keras.Model(inputs, keras.layers.Dense(4)(hidden)), f"pair_{seed}")

    class Words(tf.Module):
        @tf.function(input_signature=[tf.TensorSpec([None], tf.string, "x")])
        def serve(self, x: Any) -> Any:
            return {"upper": tf.strings.upper(x), "length": tf.strings.length(x)}

    class Centred(tf.Module):
        @tf.function(input_signature=[tf.TensorSpec([None], tf.float32, "x")])
        def serve(self, x: Any) -> Any:
            return {"y": x - tf.reduce_mean(x)}

    for module in (Words(), Centred()):
        name = type(module).__name__.lower()
        tf.saved_model.save(module, f"{folder}/{name}", {"serving_default": module.serve})


if __name__ == "__main__":
    main(sys.argv[1])
