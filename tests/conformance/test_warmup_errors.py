"""Warm-up files of a real server's versions: every kind of record, and every refusal."""

from __future__ import annotations

import json
from pathlib import Path

from tests.conformance.model_server import ModelServer
from tests.conformance.warmups import WARMUP_FILE, bad_warmups, warmup_records


def test_every_kind_of_record_is_run_before_the_version_serves(
    batched: tuple[ModelServer, Path],
) -> None:
    """Also where the version's requests are batched."""
    server, folder = batched
    path = folder / "warm" / "1" / WARMUP_FILE
    said = [
        line[13:]
        for line in server.output.splitlines()
        if "{name: warm " in line or str(path) in line
    ]
    begun, done = said[-3:-1]
    assert begun == (f"Starting to read warmup data for model at {path} with model-warmup-options ")
    assert done.startswith(
        f"Finished reading warmup data for model at {path}. Number of warmup records read: "
        f"{len(warmup_records())}. Elapsed time (microseconds): "
    )
    assert said[-1] == "Successfully loaded servable version {name: warm version: 1}"
    status, body = server.rest("/v1/models/warm:predict", '{"instances": [1.0]}')
    assert (status, json.loads(body)) == (200, {"predictions": [2.5]})


def test_each_bad_file_fails_the_load_of_its_version(
    batched: tuple[ModelServer, Path],
) -> None:
    server, folder = batched
    listed = json.loads(server.rest("/v1/models/bad_warmup")[1])["model_version_status"]
    told = [(s["version"], s["state"], *s["status"].values()) for s in listed]
    expected = []
    for version, (code, text) in enumerate(bad_warmups(), 2):
        path = folder / "bad_warmup" / str(version) / WARMUP_FILE
        expected.append((str(version), "END", code, text.replace("PATH", str(path))))
    assert told == [*reversed(expected), ("1", "AVAILABLE", "OK", "")]
