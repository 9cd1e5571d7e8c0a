"""Two small models of real handwritten digits, for demonstrations, labs and tests.

The data are 1 797 digits of 8 x 8 pixels: the test part of "Optical Recognition of Handwritten
Digits" by E. Alpaydin and C. Kaynak (UCI Machine Learning Repository, CC BY 4.0), which
scikit-learn ships, too. `digits.npz` beside this file holds them, so that the first lab needs
nothing but the package. Version 1 is a linear model; version 2, with hidden layers, is more
accurate.
"""

from __future__ import annotations

import os
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np


_FILE = Path(__file__).with_name("digits.npz")
_TRAINED_ON = 1347
"""The first images of the file. Each digit is as frequent in them as in the rest."""


@dataclass(frozen=True)
class Digits:
    """Pixels between 0 and 1, float32 [n, 64]; labels 0 to 9, int64 [n]."""

    x_train: np.ndarray
    y_train: np.ndarray
    x_test: np.ndarray
    y_test: np.ndarray


def load_digits() -> Digits:
    """The digits, split into 1 347 to train on and 450 to test with."""
    import numpy as np

    with np.load(_FILE, allow_pickle=False) as file:
        x = (file["pixels"] / 16.0).astype(np.float32)
        y = file["labels"].astype(np.int64)
    return Digits(x[:_TRAINED_ON], y[:_TRAINED_ON], x[_TRAINED_ON:], y[_TRAINED_ON:])


def train_digits(hidden: tuple[int, ...] = (), epochs: int = 12, seed: int = 0) -> Any:
    """A trained Keras model: softmax over ten digits, after `hidden` dense layers."""
    quiet_tensorflow()
    import keras

    digits = load_digits()
    keras.utils.set_random_seed(seed)
    layers = [keras.Input((64,), name="pixels")]
    layers += [keras.layers.Dense(units, activation="relu") for units in hidden]
    layers += [keras.layers.Dense(10, activation="softmax", name="digit")]
    model = keras.Sequential(layers)
    model.compile("adam", "sparse_categorical_crossentropy", metrics=["accuracy"])
    model.fit(digits.x_train, digits.y_train, epochs=epochs, batch_size=32, verbose=0)
    return model


def quiet_tensorflow() -> None:
    """Import TensorFlow without its warnings about this machine; errors are still shown.

    C++ code writes them before it reads any setting, so standard error is redirected.
    """
    if "tensorflow" in sys.modules:
        return
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    if not os.path.exists("/dev/nvidiactl"):
        os.environ.setdefault("CUDA_VISIBLE_DEVICES", "")
    kept = os.dup(2)
    away = os.open(os.devnull, os.O_WRONLY)
    try:
        os.dup2(away, 2)
        import tensorflow  # noqa: F401
    finally:
        os.dup2(kept, 2)
        os.close(kept)
        os.close(away)


def accuracy(model: Any) -> float:
    """The share of test digits that a model gets right."""
    digits = load_digits()
    predicted = model.predict(digits.x_test, verbose=0).argmax(axis=1)
    return float((predicted == digits.y_test).mean())
