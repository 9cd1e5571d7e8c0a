"""A model's settings as plain data, and what is told of its versions."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from workbench.core.batching.parameters import BatchingParameters
from workbench.core.model_settings import ModelConfig
from workbench.core.status import ServingError, invalid_argument, not_found
from workbench.core.versions.states import Harness, HarnessState, ServableId
from workbench.core.versions.version_policy import VersionPolicy
from workbench.formats.saved_model.lack import Lack
from workbench.server.engine.versions.model import Model, Served
from workbench.server.engine.versions.version_folder import Found, Place

CONFIG = ModelConfig(
    "m",
    "/models/m",
    VersionPolicy("latest", 2),
    "unload_first",
    BatchingParameters(max_batch_size=8),
    labels={"stable": 1},
    max_load_retries=5,
    load_retry_seconds=0.5,
    tags=("serve", "gpu"),
    intra_op_threads=3,
)


LABELS = (
    "Setting 'labels' must be an object of labels with version numbers, from 0 to "
    "9223372036854775807"
)


def found(version: int) -> Found:
    place = Place(f"/disk/{version}", f"/disk/{version}/saved_model.pb", 0, version)
    return Found(version, f"/models/m/{version}", 0, 12, place, 0)


def served(version: int, state: HarnessState = HarnessState.READY) -> Served:
    harness = Harness(ServableId("m", version))
    harness.state = state
    return Served(harness, found(version))


def test_settings_there_and_back() -> None:
    assert ModelConfig.from_json(json.loads(json.dumps(CONFIG.to_json()))) == CONFIG
    plain = ModelConfig("m", "/models/m")
    assert ModelConfig.from_json({"name": "m", "base_path": "/models/m"}) == plain
    assert ModelConfig.from_json(plain.to_json()) == plain


def test_short_and_full_names_of_transitions_mean_the_same() -> None:
    data = {"name": "m", "base_path": "/m", "transition": "resource_preserving"}
    assert ModelConfig.from_json(data).transition == "unload_first"


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"name": None}, "A model needs its name, a string"),
        ({"base_path": 3}, "A model needs its base_path, a string"),
        (
            {"name": ""},
            "Setting 'name' must be text that does not begin with a blank and has no control "
            "characters; was ''",
        ),
        (
            {"name": "a\n"},
            "Setting 'name' must be text that does not begin with a blank and has no control "
            "characters; was 'a\\n'",
        ),
        (
            {"base_path": "models/m"},
            "Expected model m to have an absolute path or URI; got base_path()=models/m",
        ),
        (
            {"base_path": "gs://bucket/m"},
            "The base path of model m, gs://bucket/m, is not a folder of this machine, and gs:// "
            "is not read here: copy it with `gcloud storage rsync --recursive gs://bucket/m "
            "FOLDER`, or mount its bucket with gcsfuse, and give the path of that folder",
        ),
        (
            {"op_libraries": ["tensorflow_text", "ops.so"]},
            "Setting 'op_libraries' must be a list of names of Python packages and of absolute "
            "paths of shared libraries; was ['tensorflow_text', 'ops.so']",
        ),
        (
            {"op_libraries": "a-b"},
            "Setting 'op_libraries' must be a list of names of Python packages and of absolute "
            "paths of shared libraries; was 'a-b'",
        ),
        (
            {"labels": {"stable": "1"}},
            LABELS + "; was {'stable': '1'}",
        ),
        (
            {"gpu_memory_fraction": 1.5},
            "Setting 'gpu_memory_fraction' must be a number, at least 0 and at most 1; was 1.5",
        ),
        (
            {"gpu_memory_fraction": "half"},
            "Setting 'gpu_memory_fraction' must be a number, at least 0 and at most 1; was 'half'",
        ),
        ({"labels": [1]}, f"{LABELS}; was [1]"),
        ({"batching": {"size": 3}}, None),
        ({"version_policy": "newest"}, None),
        ({"transition": "quick"}, None),
    ],
)
def test_what_is_wrong_is_named(change: dict[str, Any], message: str | None) -> None:
    with pytest.raises(ServingError) as raised:
        ModelConfig.from_json({**CONFIG.to_json(), **change})
    if message is not None:
        assert raised.value == invalid_argument(message)
    else:
        # The texts of the parts are tested with them.
        (value,) = change.values()
        assert next(iter(value)) in raised.value.message


def test_an_unknown_setting_is_refused_with_the_known_ones() -> None:
    with pytest.raises(ServingError) as raised:
        ModelConfig.from_json({**CONFIG.to_json(), "colour": "red"})
    known = ", ".join(sorted(CONFIG.to_json()))
    assert raised.value == invalid_argument(f"Unknown model setting 'colour': known are {known}")


def test_the_highest_version_that_is_ready_answers() -> None:
    model = Model(CONFIG)
    model.refresh_ready()
    assert model.ready is None
    model.versions = {
        1: served(1),
        3: served(3),
        2: served(2),
        4: served(4, HarnessState.LOADING),
        5: served(5, HarnessState.ERROR),
    }
    model.refresh_ready()
    assert model.ready is model.versions[3]


def test_versions_are_listed_highest_first_those_that_ended_too(tmp_path: Path) -> None:
    model = Model(CONFIG)
    model.versions = {2: served(2), 4: served(4, HarnessState.LOADING)}
    model.ended = {1: served(1, HarnessState.DISABLED), 2: served(2, HarnessState.ERROR)}
    assert [s.id.version for s in model.listed()] == [4, 2, 1]
    assert model.listed()[1] is model.versions[2]
    failed = served(7, HarnessState.LOADING)
    failed.harness.fail(not_found("no file"))
    model.ended[7] = failed
    model.waiting = {9: Lack("the folder is empty", "empty")}
    model.warnings = ["a warning"]
    told = model.to_json()
    assert {key: told[key] for key in CONFIG.to_json()} == CONFIG.to_json()
    assert (told["waiting"], told["warnings"]) == ({"9": "the folder is empty"}, ["a warning"])
    assert [v["version"] for v in told["versions"]] == [7, 4, 2, 1]
    first = told["versions"][0]
    expected = {
        "version": 7,
        "state": "END",
        "harness": "error",
        "aspired": True,
        "path": "/models/m/7",
        "size_bytes": 12,
        "error": {"code": "NOT_FOUND", "message": "no file"},
        "pid": None,
        "ready_at": None,
        "spawn_seconds": 0.0,
        "load_seconds": 0.0,
        "first_run_seconds": None,
    }
    assert {key: first[key] for key in expected} == expected
    assert failed.signatures == {}
