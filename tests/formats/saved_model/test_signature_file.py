"""Signatures from the file alone; damaged files say nothing."""

from __future__ import annotations

import random
from pathlib import Path

import pytest

from workbench.formats.saved_model.signature_file import read_signatures


def test_names_dtypes_shapes(models: Path) -> None:
    read = read_signatures(models / "multi")
    assert read is not None
    (signature,) = read.values()
    assert str(signature) == (
        "(a: float[?, 2], b: int32[?]) -> (product: double[?], sum: float[?, 2])"
    )
    assert signature.method_name == "tensorflow/serving/predict"
    assert signature.inputs["a"].name == "a:0"
    # No rank, and no signature for the initialisation.
    tables = read_signatures(models / "tables")
    assert tables is not None
    assert tables["double"].inputs["x"].shape is None
    assert "__saved_model_init_op" not in (read_signatures(models / "digits") or {})


@pytest.mark.parametrize("seed", range(200))
def test_damage_is_never_an_exception(models: Path, tmp_path: Path, seed: int) -> None:
    whole = bytearray((models / "multi" / "saved_model.pb").read_bytes())
    rng = random.Random(seed)
    for _ in range(8):
        whole[rng.randrange(len(whole))] = rng.randrange(256)
    (tmp_path / "saved_model.pb").write_bytes(whole[: rng.randrange(len(whole))])
    read_signatures(tmp_path)
    (tmp_path / "saved_model.pb").write_bytes(whole)
    read_signatures(tmp_path)
