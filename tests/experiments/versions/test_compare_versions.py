"""Versions compared on real servers: against direct computation, and with planted differences."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import workbench as wb
from workbench.core.status import ServingError
from workbench.experiments.versions.compare_versions import compare_versions
from workbench.experiments.versions.version_comparison import VersionComparison

X = np.linspace(-4, 4, 600, dtype=np.float32)


@pytest.fixture(scope="module")
def served(models: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[wb.Server]:
    """Versions 1 and 2 are the same; 3 answers a thousandth more, 4 something else."""
    with pytest.MonkeyPatch.context() as patch:
        for name in ("JUPYTER_RUNTIME_DIR", "JUPYTER_DATA_DIR"):
            patch.setenv(name, str(tmp_path_factory.mktemp(name.lower())))
        with wb.serve(models / "half_plus_two", name="half") as server:
            server.publish(models / "half_plus_two")
            server.publish(models / "half_plus_a_little_more")
            server.publish(models / "half_plus_three")
            yield server


@pytest.fixture(scope="module")
def same(served: wb.Server) -> VersionComparison:
    return compare_versions(served, 1, 2, X, X / 2 + 2, pairs=100, progress=False)


@pytest.fixture(scope="module")
def near(served: wb.Server) -> VersionComparison:
    return served.compare_versions(1, 3, X, pairs=50, progress=False)  # type: ignore[no-any-return]


def test_two_copies_are_the_same(same: VersionComparison) -> None:
    assert same.agreement == 1.0
    assert len(same.disagreements) == 0
    assert same.errors is not None
    assert max(max(pair) for pair in same.errors) < 1e-6
    assert same.sentences()[:2] == [
        "Both versions give the same answer for 600 of 600 examples (100.00%).",
        "Output y is the same to the last bit.",
    ]
    same.assert_agreement(largest_difference=0.0)


@pytest.mark.alone
def test_goodput_of_both(same: VersionComparison) -> None:
    slowest = float(same.seconds.max()) * 1e3
    assert (same.goodput(slowest + 1), same.goodput(0)) == ((1.0, 1.0), (0.0, 0.0))
    first, second = same.goodput(float(np.median(same.seconds)) * 1e3)
    assert 0 < first < 1
    assert 0 < second < 1


def test_two_copies_are_equally_fast(same: VersionComparison) -> None:
    """Beside other tests, one of the two workers can have a busier processor than the other."""
    assert same.latency.pairs == 100
    assert same.latency.verdict != "different"


def test_a_planted_thousandth_is_found(near: VersionComparison) -> None:
    assert near.agreement == 0.0
    assert near.difference.largest == pytest.approx(1e-3, rel=1e-2)
    assert near.sentences()[1].startswith("Output y differs by at most 0.001 (mean 0.001).")
    with pytest.raises(AssertionError) as caught:
        near.assert_agreement()
    assert str(caught.value).startswith(
        "Versions 1 and 3 agree on 0.00% of the examples, less than 100.00%; the furthest "
        "apart: {'example': "
    )
    with pytest.raises(AssertionError) as caught:
        near.assert_agreement(at_least=0.0, largest_difference=1e-4)
    assert str(caught.value) == ("Output y of versions 1 and 3 differs by 0.001, more than 0.0001")
    near.assert_agreement(at_least=0.0, largest_difference=2e-3)


def test_what_was_wanted_is_put_back(served: wb.Server, near: VersionComparison) -> None:
    assert served.describe()["version_policy"] == {"latest": 1}
    served.wait_gone(3, 30)
    assert served.versions.available == [4]


def test_faces(same: VersionComparison, near: VersionComparison) -> None:
    assert same.frame.columns.tolist() == ["version 1", "version 2"]
    assert same.frame.index.tolist() == [
        "mean absolute error",
        "root mean square error",
        "median latency (ms)",
        "99th percentile of latency (ms)",
        "memory of its worker (MB)",
        "size on disk (MB)",
        "load time, of one load (s)",
    ]
    assert not same.frame.isna().any(axis=None)
    page = near._repr_html_()
    assert page.count("data:image/png;base64,") == 1
    assert "Answered differently, the furthest apart first (10 of 600):" in page
    assert str(near).startswith(
        "Versions 1 and 3 of half\nBoth versions give the same answer for 0 of 600"
    )
    data = json.loads(json.dumps(near.to_json(arrays=False)))
    assert (data["agreement"], data["versions"], data["examples"]) == (0.0, [1, 3], 600)
    with pytest.raises(ValueError, match="Confusion needs labels"):
        near.confusion(1)


@pytest.mark.parametrize(
    ("versions", "x", "settings", "message"),
    [
        ((1, 1), X, {}, "Version 1 cannot be compared with itself: name two versions"),
        ((1, 2), X, {"pairs": 10},
         "pairs must be at least 11, fewer give no interval; was 10"),
        ((1, 2), X, {"y": [1.0]}, "x has 600 examples and y 1: give one label for each example"),
        ((1, 2), np.float32(1.0), {}, "Input 'x' (float[?]) cannot have the shape (): it is a "
         "single value, give it as [x]"),
        ((1, 2), X[:0], {}, "x must hold examples: arrays whose first dimension, the "
         "same for all inputs, is not 0"),
        ((1, 2), X, {"output": "z", "pairs": 11},
         "There is no output 'z' in both versions; there are: y"),
    ],
)  # fmt: skip
def test_what_cannot_be_compared(
    served: wb.Server, versions: tuple[int, int], x: object, settings: dict, message: str
) -> None:
    with pytest.raises(ServingError) as caught:
        compare_versions(served, *versions, x, progress=False, **settings)
    assert caught.value.message == message


def test_a_version_that_is_nowhere(served: wb.Server) -> None:
    with pytest.raises(ServingError) as caught:
        compare_versions(served, 1, 9, X, progress=False)
    assert caught.value.message == (
        f"Version 9 of half is neither served nor in {served.base_path}: publish it first"
    )


def test_outputs_that_do_not_follow_the_examples(models: Path, tmp_path: Path) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("JUPYTER_RUNTIME_DIR", str(tmp_path))
        with wb.serve(models / "rows", name="rows") as server:
            server.publish(models / "rows")
            with pytest.raises(ServingError) as caught:
                compare_versions(server, 1, 2, [1.0, 2.0], signature="total", progress=False)
    assert caught.value.message == (
        "Output 'y' of version 1 does not follow the examples: its shape is ()"
    )


def test_it_was_kept_and_comes_back(near: VersionComparison) -> None:
    assert near.number is not None
    again = wb.load_experiment(near.number)
    assert again.number == near.number
    assert str(again) == str(near)
    assert again.disagreements.equals(near.disagreements)
    assert again.to_json() == near.to_json()
    assert again.plot().get_size_inches()[0] == 7.0
    kept = wb.history("half").loc[near.number]
    assert (kept["kind"], kept["summary"]) == ("versions", near.sentences()[0])


DIGITS = """
import json, sys
import numpy as np
import workbench as wb
from workbench.samples.digits import load_digits, train_digits

digits = load_digits()
"""

DIRECT = (
    DIGITS
    + """
from sklearn.metrics import accuracy_score, confusion_matrix
from sklearn.metrics import mean_absolute_error, root_mean_squared_error
import keras

models = [train_digits(), train_digits(hidden=(128, 64))]
# The first again, with a thousandth more on one of its ten scores.
shift = np.zeros(10, np.float32)
shift[3] = 1e-3
planted = keras.Sequential([*models[0].layers, keras.layers.Lambda(lambda p: p + shift)])
planted.build((None, 64))
# What the second says of being a one, as a number to be met.
number = keras.Sequential([*models[1].layers, keras.layers.Lambda(lambda p: p[:, 1])])
number.build((None, 64))
with wb.serve(models[0], "digits") as server:
    for other in (models[1], planted, number):
        server.publish(other, allow_signature_change=True)
    asked = dict(pairs=50, progress=False, keep=False)
    found = server.compare_versions(1, 2, digits.x_test, digits.y_test, **asked)
    near = server.compare_versions(1, 3, digits.x_test, **asked)
    is_one = (digits.y_test == 1).astype(np.float32)
    server.publish(number)
    errors = server.compare_versions(4, 5, digits.x_test, is_one, **asked).errors
    found.plot().savefig(sys.argv[1])
    page = found._repr_html_()
    said = [m.predict(digits.x_test, verbose=0) for m in models]
    apart = np.abs(said[0].astype(float) - said[1])
    classes = [each.argmax(axis=1) for each in said]
    right = [c == digits.y_test for c in classes]
    one = number.predict(digits.x_test, verbose=0)
    print(json.dumps({
        "found": found.to_json(arrays=False),
        "confusions": [found.confusion(v).to_numpy().tolist() for v in (1, 2)],
        "disagreements": sorted(found.disagreements["example"].tolist()),
        "accuracy": [accuracy_score(digits.y_test, c) for c in classes],
        "confusion_matrices": [confusion_matrix(digits.y_test, c).tolist() for c in classes],
        "only": [int((right[0] & ~right[1]).sum()), int((right[1] & ~right[0]).sum())],
        "differing": np.flatnonzero(classes[0] != classes[1]).tolist(),
        "difference": [float(apart.max()), float(apart.mean())],
        "near": [near.difference.largest, near.difference.mean, near.agreement],
        "errors": errors,
        "keras_errors": [
            float(mean_absolute_error(is_one, one)), float(root_mean_squared_error(is_one, one))
        ],
        "pictures": page.count("<img"),
        "confusion_shown": page.count("<th>9</th>"),
    }))
"""
)


def with_keras(script: str, tmp_path: Path, *arguments: str, timeout: float = 110) -> Any:
    """What a script that trains digits prints last, as data: the tests import no TensorFlow."""
    done = subprocess.run(
        [sys.executable, "-c", script, *arguments],
        env={
            **os.environ,
            "JUPYTER_RUNTIME_DIR": str(tmp_path / "runtime"),
            "JUPYTER_DATA_DIR": str(tmp_path / "data"),
        },
        capture_output=True,
        text=True,
        timeout=timeout,
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])


@pytest.mark.slow
def test_numbers_are_those_of_keras_and_scikit_learn(tmp_path: Path) -> None:
    figure = tmp_path / "figure.png"
    told = with_keras(DIRECT, tmp_path, str(figure))
    found = told["found"]
    assert found["accuracy"] == pytest.approx(told["accuracy"])
    assert found["only_right"] == told["only"]
    assert told["confusions"] == told["confusion_matrices"]
    assert told["disagreements"] == told["differing"]
    assert found["agreement"] == pytest.approx(1 - len(told["differing"]) / found["examples"])
    assert "significant (McNemar's exact test" in " ".join(found["sentences"])
    (output,) = found["outputs"]
    assert [output["largest"], output["mean"]] == pytest.approx(told["difference"], abs=1e-6)
    # One score of ten is a thousandth more: the class is the same nearly always.
    largest, mean, agreement = told["near"]
    assert largest == pytest.approx(1e-3, rel=1e-3)
    assert mean == pytest.approx(1e-4, rel=1e-2)
    assert agreement > 0.95
    for errors in told["errors"]:
        assert errors == pytest.approx(told["keras_errors"], rel=1e-5)
    assert figure.read_bytes()[:8] == b"\x89PNG\r\n\x1a\n"
    # The figure itself, and ten inputs; both confusions have a row and a column for each class.
    assert (told["pictures"], told["confusion_shown"]) == (11, 4)


TWENTY = (
    DIGITS
    + """
model = train_digits(hidden=(128, 64))
verdicts = []
with wb.serve(model, "digits") as server:
    server.publish(model)
    server.control.patch_model("digits", version_policy={"specific": [1, 2]})
    server.control.poll("digits", [1, 2])
    server.wait_for(1)
    for seed in range(20):
        found = server.compare_versions(
            1, 2, digits.x_test, digits.y_test, seed=seed, progress=False, keep=False
        )
        found.assert_agreement(largest_difference=0.0)
        verdicts.append(str(found.latency))
print(json.dumps(verdicts))
"""
)


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_twenty_comparisons_of_two_digits_models_call_none_different(tmp_path: Path) -> None:
    """At alpha 0.001 the chance that this fails by itself is below 2 %."""
    verdicts = with_keras(TWENTY, tmp_path, timeout=280)
    assert len(verdicts) == 20
    assert not [v for v in verdicts if v.startswith(("slower", "faster"))], verdicts


@pytest.mark.slow
def test_twenty_comparisons_of_two_copies_call_none_different(served: wb.Server) -> None:
    """At alpha 0.001 the chance that this fails by itself is below 2 %."""
    served.version_policy = [1, 2]
    served.wait_for(1)
    served.wait_for(2)
    for seed in range(20):
        found = compare_versions(served, 1, 2, X[:64], pairs=200, seed=seed, progress=False)
        assert found.latency.verdict != "different", (seed, found.latency)
