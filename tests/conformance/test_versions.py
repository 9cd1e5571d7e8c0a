"""Which versions a real server loads, what their failures do, and what clients see meanwhile."""

from __future__ import annotations

import json
import threading
import time
from typing import Any

import numpy as np
import pytest

from tests.conformance.reloading import Reloading
from tests.conformance.test_grpc import floats
from tests.conformance.warmups import WARMUP_FILE, warmup_records
from tests.servers import floats as array
from workbench.client.control_client import ControlClient
from workbench.formats.wire.tfrecord import write_records
from workbench.server.engine.telemetry.warmup_recorder import prediction_log

_ALL = "model_version_policy { all {} }"
_SPECIFIC = "model_version_policy {{ specific {{ versions: {} }} }}"
_OK = ("OK", "")


# What a folder's names mean, and which versions are aspired.


@pytest.mark.parametrize(
    ("model", "versions"),
    [
        ("twice", [1]),
        # Signs, blanks and zeros may stand before a number; nothing may stand behind it.
        ("names", [7, 4, 3]),
        # Numbers are compared as numbers.
        ("newest", [10, 2]),
        # A specific version that is missing harms no other.
        ("chosen", [1]),
    ],
)
def test_versions_that_are_loaded(reloading: Reloading, model: str, versions: list[int]) -> None:
    assert reloading.status(model) == [(v, "AVAILABLE", *_OK) for v in versions]


def test_two_folders_of_one_version(reloading: Reloading) -> None:
    """The last in the order of names is loaded."""
    assert (
        "Duplicate version directories detected. Version 1 will be loaded from 1, 01 will be "
        "ignored." in reloading.started
    )
    assert reloading.predict("twice") == (200, {"predictions": [4.0]})
    assert f"Reading SavedModel from: {reloading.folder}/twice/1\n" in reloading.started


def test_a_specific_version_that_is_missing_is_told(reloading: Reloading) -> None:
    assert (
        "Version 2 of servable chosen, which was requested to be served as a 'specific' version in "
        "the servable's version policy, was not found in the file system" in reloading.started
    )


def test_a_version_number_is_loaded_once(reloading: Reloading) -> None:
    """Neither other files nor another base path with the same number load it again."""
    reloading.put("half_plus_two", "first", 1)
    reloading.put("half_plus_three", "second", 1)
    assert reloading.reload(reloading.entry("first")) == {"status": {}}
    moved = reloading.entry("second").replace('name: "second"', 'name: "first"')
    assert moved.count("second") == 1
    assert reloading.reload(moved) == {"status": {}}
    reloading.put("half_plus_three", "second", 2)
    reloading.until_states("first", v2="AVAILABLE", v1="END")
    told = reloading.server.output
    assert told.count("Loading servable version {name: first version: 1}") == 1
    assert reloading.predict("first") == (200, {"predictions": [4.0]})


def test_files_that_change_in_place_do_not_reload_what_serves(reloading: Reloading) -> None:
    folder = reloading.put("half_plus_two", "steady", 1)
    assert reloading.reload(reloading.entry("steady")) == {"status": {}}
    graph = folder / "saved_model.pb"
    graph.write_bytes(graph.read_bytes())
    reloading.put("half_plus_three", "steady", 2)
    reloading.until_states("steady", v2="AVAILABLE", v1="END")
    told = reloading.server.output
    assert told.count("Loading servable version {name: steady version: 1}") == 1


# Failures.


def test_a_broken_version_harms_nobody_and_can_be_mended(reloading: Reloading) -> None:
    """In the original a failed version is never tried again while an older one serves."""
    reloading.put("half_plus_two", "mended", 1)
    assert reloading.reload(reloading.entry("mended")) == {"status": {}}
    reloading.put("bad_graph", "mended", 2)
    line = "Retrying of Loading servable: {name: mended version: 2} retry: 3"
    reloading.server.wait_for(line)
    # It is tried again and again; the version before serves, and other models are not held up.
    assert reloading.states("mended")[1] == "AVAILABLE"
    reloading.put("half_plus_three", "other", 1)
    both = (reloading.entry("mended"), reloading.entry("other"))
    assert reloading.reload(*both) == {"status": {}}
    assert reloading.predict("other") == (200, {"predictions": [4.0]})
    assert reloading.predict("mended") == (200, {"predictions": [3.0]})
    # It is given up when it is not wanted any more.
    reloading.unput("mended", 2)
    ((_, state, code, _), one) = reloading.until("mended", lambda told: told[0][1] == "END")
    assert (state, code != "OK", one) == ("END", True, (1, "AVAILABLE", *_OK))
    reloading.put("half_plus_three", "mended", 2)
    reloading.until_states("mended", v2="AVAILABLE", v1="END")
    assert reloading.predict("mended") == (200, {"predictions": [4.0]})


def test_a_broken_newest_version_beside_a_good_one_is_served(reloading: Reloading) -> None:
    """In the original the broken one fails the start, and a reload waits for its retries."""
    reloading.put("half_plus_two", "newest_broken", 1)
    reloading.put("bad_graph", "newest_broken", 2)
    wanted = reloading.entry("newest_broken", _ALL)
    assert reloading.reload(wanted) == {"status": {}}
    reloading.server.wait_for(
        "Retrying of Loading servable: {name: newest_broken version: 2} retry: 1"
    )
    # Once more, with both versions there from the beginning.
    assert reloading.reload() == {"status": {}}
    assert reloading.reload(wanted) == {"status": {}}
    assert reloading.states("newest_broken") == {2: "LOADING", 1: "AVAILABLE"}
    assert reloading.predict("newest_broken") == (200, {"predictions": [3.0]})


def test_a_reload_after_one_that_named_an_empty_folder(reloading: Reloading) -> None:
    """In the original that one, and all after it, wait until a version appears."""
    (reloading.folder / "empty").mkdir()
    reloading.put("half_plus_two", "full", 1)
    code, text = reloading.reload(reloading.entry("empty"))
    assert code == "UNKNOWN"
    assert text.startswith(
        "1 model(s) did not become available: {{{name: empty} due to error: NOT_FOUND: No versions "
        f"of servable empty found under base path {reloading.folder}/empty."
    )
    again = (reloading.entry("empty"), reloading.entry("full"))
    for _ in range(2):
        # Also the same configuration once more.
        assert reloading.reload(*again) == {"status": {}}
    assert reloading.predict("full") == (200, {"predictions": [3.0]})
    assert reloading.reload(reloading.entry("full")) == {"status": {}}
    assert reloading.status("empty") == []


# A version that is not wanted any more while it loads.


def slow_to_load(reloading: Reloading, model: str, version: int) -> None:
    """A version whose warm-up takes some seconds."""
    base = reloading.folder / model
    made = reloading.put("slow", f"{model}.made", version)
    inputs = {"x": array(1.0), "steps": np.array([8000], np.int32)}
    write_records(str(made / WARMUP_FILE), [prediction_log("m", "", inputs, ())])
    base.mkdir(exist_ok=True)
    made.rename(base / str(version))


def test_a_version_that_is_unwanted_while_it_loads(reloading: Reloading) -> None:
    reloading.put("half_plus_two", "undecided", 1)
    assert reloading.reload(reloading.entry("undecided")) == {"status": {}}
    slow_to_load(reloading, "undecided", 2)
    reloading.until_states("undecided", v2="LOADING", v1="AVAILABLE")
    assert reloading.reload(reloading.entry("undecided", _SPECIFIC.format(1))) == {"status": {}}
    assert reloading.until("undecided", lambda told: told[0][1] == "END") == [
        (2, "END", "CANCELLED", "Loading of servable cancelled"),
        (1, "AVAILABLE", *_OK),
    ]
    assert reloading.predict("undecided") == (200, {"predictions": [3.0]})


# Requests during a change.


def test_requests_during_a_change(reloading: Reloading, monkeypatch: pytest.MonkeyPatch) -> None:
    """What the old version has accepted is answered; new requests for it are refused at once."""
    monkeypatch.setenv("JUPYTER_RUNTIME_DIR", str(reloading.folder / "runtime"))
    control = ControlClient(f"model-server-{reloading.server.port}")
    reloading.put("slow", "busy", 1)
    assert reloading.reload(reloading.entry("busy")) == {"status": {}}
    answers: list[Any] = []
    body = {"instances": [{"x": 1.0, "steps": 60000}]}
    caller = threading.Thread(target=lambda: answers.append(reloading.predict("busy", body)))
    caller.start()
    try:
        end = time.monotonic() + 60
        while control.describe_server()["outstanding"] != 1:
            assert time.monotonic() < end
            time.sleep(0.02)
        reloading.put("half_plus_three", "busy", 2)
        reloading.until_states("busy", v2="AVAILABLE", v1="UNLOADING")
        assert not answers
        refusal = "Servable not found for request: Specific(busy, 1)"
        assert reloading.predict("busy/versions/1", body) == (404, {"error": refusal})
        request = "model_spec { name: 'busy' version { value: 1 } }" + floats("x", 2)
        assert reloading.call("Predict", request) == ["NOT_FOUND", refusal]
        assert reloading.predict("busy") == (200, {"predictions": [4.0]})
    finally:
        caller.join(60)
    assert answers == [(200, {"predictions": [1.0]})]
    reloading.until_states("busy", v1="END")


def test_a_removed_model(reloading: Reloading) -> None:
    reloading.put("half_plus_two", "leaving", 1)
    assert reloading.reload(reloading.entry("leaving")) == {"status": {}}
    assert reloading.predict("leaving") == (200, {"predictions": [3.0]})
    assert reloading.reload() == {"status": {}}
    # At once: the reload does not wait for the unloading, and neither does the refusal.
    assert reloading.predict("leaving") == (
        404,
        {"error": "Servable not found for request: Latest(leaving)"},
    )
    # As in the original its versions have ended, and that is told of them from now on.
    reloading.until_states("leaving", v1="END")
    ended = {"version": "1", "state": "END", "status": {}}
    status = reloading.call("GetModelStatus", "model_spec { name: 'leaving' }")
    assert status == {"model_version_status": [ended]}
    assert (
        reloading.call("GetModelStatus", "model_spec { name: 'leaving' version { value: 2 } }")[0]
        == "NOT_FOUND"
    )
    assert reloading.predict("leaving")[0] == 404
    # A version of another number comes beside it when the model is added again.
    reloading.put("half_plus_three", "leaving", 2)
    assert reloading.reload(reloading.entry("leaving")) == {"status": {}}
    reloading.until_states("leaving", v1="END", v2="AVAILABLE")
    reloading.unput("leaving", 2)
    reloading.until_states("leaving", v1="AVAILABLE")
    assert json.loads(reloading.server.rest("/v1/models/leaving")[1])["model_version_status"]


def test_what_a_reload_adds_to_metrics(reloading: Reloading) -> None:
    """Of each metric its first series, here that of the first path."""
    folder = reloading.put("half_plus_two", "aaa", 1)
    write_records(str(folder / WARMUP_FILE), [warmup_records()["predict"]] * 3)
    names = ("/tensorflow/serving/model_warmup_records_read", "/tensorflow/serving/none")
    assert reloading.reload(reloading.entry("aaa")) == {"status": {}}
    assert reloading.reload() == {"status": {}}
    answer = reloading.reload(reloading.entry("aaa"), metric_names=names)
    # An increase of nothing is told as well, and has no digits in JSON's form of the message.
    assert answer == {
        "status": {},
        "metric": [
            {"name": names[0], "int64_value_increase": "3"},
            {"name": names[1], "int64_value_increase": "0"},
        ],
    }
