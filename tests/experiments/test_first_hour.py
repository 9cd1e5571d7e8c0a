"""The first hour of a stranger with ordinary Keras models, see `first_hour`."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.children import WITH_TEST


@pytest.mark.slow
@pytest.mark.alone
@pytest.mark.timeout(300)
def test_the_first_hour(tmp_path: Path) -> None:
    quiet = {"TF_CPP_MIN_LOG_LEVEL": "3", "CUDA_VISIBLE_DEVICES": ""}
    folders = {n: str(tmp_path / n) for n in ("JUPYTER_RUNTIME_DIR", "JUPYTER_DATA_DIR")}
    done = subprocess.run(
        [*WITH_TEST, sys.executable, "-m", "tests.experiments.first_hour"],
        env={**os.environ, **quiet, **folders},
        capture_output=True,
        text=True,
        timeout=280,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    found = {line["step"]: line["value"] for line in map(json.loads, done.stdout.splitlines())}

    assert found["two_models_and_back"] == [
        [32, 10],
        [1, 10],
        [32, 10],
        [32, 10],
        [32, 10],
        [2, 10],
    ]

    (batch, channel), answer, crashes = found["a_forgotten_batch_dimension"]
    assert batch == (
        "Input 'input_0' (float[?, 28, 28, 1]) cannot have the shape (28, 28, 1): the batch "
        "dimension is missing, add it with x[np.newaxis]"
    )
    assert channel.endswith("the last dimension is missing, add it with x[..., np.newaxis]")
    assert (answer, crashes) == ([4, 10], 0)

    said, before, after = found["another_interface"]
    assert "allow_signature_change=True" in said
    assert (before, after) == ([1], [2, 2])

    for verdict, lacks, failed in found["a_sweep_with_its_defaults"]:
        assert (verdict == "stable") != lacks
        assert failed == 0

    assert found["figures"] == [["\x89PNG", 1, True]] * 2

    same_version, failed, some, verdict = found["an_explorer_of_a_version_that_is_gone"]
    assert (same_version, failed, some) == (True, 0, True)
    assert verdict in ("stable", "not sure yet", "saturated")

    right_version, failure, sane, failed, points = found["a_publish_within_a_sweep"]
    assert (right_version, sane, failed) == (True, True, 0)
    assert "answers now: start again to measure that one" in failure
    assert 1 <= points < 8

    answers, distinct, rejected, sentences = found["a_tuning_asked_twice"]
    assert answers == [True, True], sentences
    assert (distinct, rejected) == (True, 0)
