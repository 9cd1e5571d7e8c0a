"""The first hour of a stranger: ordinary Keras models without names, in the order that one goes.

    python -m tests.experiments.first_hour

It prints a line of JSON for each step, with what happened.
"""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable
from typing import Any

import numpy as np

import workbench as wb
from workbench.core.status import ServingError

STEPS: list[Callable[[], Any]] = []


def step(function: Callable[[], Any]) -> Callable[[], Any]:
    STEPS.append(function)
    return function


def dense(units: int) -> Any:
    import keras

    layers = keras.layers
    return keras.Sequential([layers.Input((784,)), layers.Dense(units), layers.Dense(10)])


def images() -> Any:
    import keras

    layers = keras.layers
    given = layers.Input((28, 28, 1))
    hidden = layers.Flatten()(layers.Conv2D(4, 3)(given))
    return keras.Model(given, layers.Dense(10)(hidden))


def words() -> Any:
    import keras

    given = keras.layers.Input((1,), dtype="string")
    hashed = keras.layers.Hashing(8, output_mode="one_hot")(given)
    return keras.Model(given, keras.layers.Dense(2)(hashed))


class Stranger:
    """What the steps share."""

    plain: wb.Server
    pictures: wb.Server
    x = np.random.default_rng(0).random((32, 784), np.float32)


def refused(call: Callable[[], Any]) -> str:
    try:
        call()
    except ServingError as error:
        return error.message
    return ""


@step
def two_models_and_back() -> Any:
    plain = Stranger.plain = wb.serve(dense(16), "plain", num_batch_threads=2)
    shapes = [plain.predict(Stranger.x).shape]
    other = wb.connect("plain")
    shapes.append(other.predict(Stranger.x[:1]).shape)
    plain.publish(dense(32))
    shapes += [plain.predict(Stranger.x).shape, other.predict(Stranger.x).shape]
    plain.rollback()
    return [*shapes, other.predict(Stranger.x).shape, plain.predict(Stranger.x[:2]).shape]


@step
def a_forgotten_batch_dimension() -> Any:
    server = Stranger.pictures = wb.serve(images(), "pictures")
    x = np.zeros((4, 28, 28, 1), np.float32)
    said = [refused(lambda: server.predict(x[0])), refused(lambda: server.predict(x[..., 0]))]
    events = server.events()
    return said, server.predict(x).shape, int((events["kind"] == "worker_exited").sum())


@step
def another_interface() -> Any:
    said = refused(lambda: Stranger.pictures.publish(words()))
    before = Stranger.pictures.versions.available
    Stranger.pictures.publish(words(), allow_signature_change=True)
    after = Stranger.pictures.predict(["a", "b"]).shape
    Stranger.pictures.stop()
    return said, before, after


@step
def a_sweep_with_its_defaults() -> Any:
    found = Stranger.plain.sweep(
        batch_timeout_micros=[0, 2000], payload=Stranger.x, keep=False, progress=False
    )
    return [(p.verdict, p.lacks is not None and p.lacks > 0, p.failed) for p in found.points]


@step
def figures() -> Any:
    found = Stranger.plain.sweep(seconds=1, payload=Stranger.x, keep=False, progress=False)
    known = Stranger.plain.calibrate(Stranger.x, max_batch_size=8, seconds=1, keep=False)
    return [
        (
            each.plot()._repr_png_()[:4].decode("latin-1"),
            each._repr_html_().count("<img"),
            len(str(each)) < 3000,
        )
        for each in (found, known)
    ]


@step
def an_explorer_of_a_version_that_is_gone() -> Any:
    explorer = Stranger.plain.sweep_explorer(payload=Stranger.x)
    version = Stranger.plain.publish(dense(24))
    point = explorer.measure()
    assert explorer.result is not None
    return version == explorer.result.version, point.failed, point.samples > 100, point.verdict


@step
def a_publish_within_a_sweep() -> Any:
    plain = Stranger.plain
    (measured,) = plain.versions.available
    thread = threading.Thread(target=lambda: (time.sleep(2), plain.publish(dense(20))))
    thread.start()
    found = plain.sweep(
        batch_timeout_micros=[0, 500, 1000, 2000, 3000, 5000, 8000, 10_000], rate=300,
        payload=Stranger.x, seconds=1.0, precision=0.01, keep=False, progress=False,
    )  # fmt: skip
    thread.join()
    return (
        found.version == measured,
        found.failure,
        min(min(p.queue, p.run, p.overhead) for p in found.points) >= 0,
        max(p.failed for p in found.points),
        len(found.points),
    )


@step
def a_tuning_asked_twice() -> Any:
    found = [
        Stranger.plain.tune(
            p99_ms=200, rate=500, payload=Stranger.x, seconds=40, keep=False, progress=False
        )
        for _ in range(2)
    ]
    settings = [[point.batching for point in each.measured] for each in found]
    return (
        [each.meets for each in found],
        all(len(set(each)) == len(each) for each in settings),
        max(each.measured[0].rejected for each in found),
        [each.finding() for each in found],
    )


def main() -> None:
    for each in STEPS:
        begun = time.monotonic()
        value = each()
        line = {"step": each.__name__, "value": value, "seconds": time.monotonic() - begun}
        print(json.dumps(line), flush=True)
    Stranger.plain.stop()


if __name__ == "__main__":
    main()
