"""A model's settings: what is allowed is said once, and every refusal names setting and value."""

from __future__ import annotations

import json
import math
from dataclasses import fields
from typing import Any

import numpy as np
import pytest

from workbench.core.batching.parameters import BatchingParameters
from workbench.core.model_settings import (
    MODEL_SETTINGS,
    ModelConfig,
    check_setting,
    is_package_name,
    read_changes,
    read_kept,
)
from workbench.core.setting_kinds import one_of
from workbench.core.status import ServingError, invalid_argument

BIGGEST = 2**63 - 1
TRUTH = "true or false"
LABELS = f"an object of labels with version numbers, from 0 to {BIGGEST}"
THREADS = (
    "a whole number, at least 1 and at most 2147483647, or None for the CPUs divided by the "
    "executor slots"
)
BYTES = "a whole number of bytes, at least 1, or None for no limit"
LIBRARIES = "a list of names of Python packages and of absolute paths of shared libraries"
WRONG: list[tuple[str, Any, str]] = [
    ("probe", "maybe", "'refuse', 'warn' or 'off'"),
    ("probe", None, "'refuse', 'warn' or 'off'"),
    ("op_libraries", ["a-b"], LIBRARIES),
    ("op_libraries", ["ops.so"], LIBRARIES),
    ("op_libraries", 3, LIBRARIES),
    *(
        (name, value, TRUTH)
        for name in (
            "fall_back",
            "automatic_batching",
            "version_batching",
            "enable_model_warmup",
            "servable_versions_always_present",
            "retry_all_load_errors",
            "reload_replaced_versions",
        )
        for value in ("no", "false", 0, 1, None)
    ),
    ("max_load_retries", -5, "a whole number, at least 0"),
    ("max_load_retries", 1.0, "a whole number, at least 0"),
    ("max_load_retries", True, "a whole number, at least 0"),
    ("max_load_retries", 2**63, "a whole number, at least 0"),
    ("load_retry_seconds", -1, "a number of seconds, at least 0"),
    ("load_retry_seconds", math.inf, "a number of seconds, at least 0"),
    ("load_retry_seconds", False, "a number of seconds, at least 0"),
    ("hang_seconds", "x", "a number of seconds, above 0"),
    ("hang_seconds", math.nan, "a number of seconds, above 0"),
    ("hang_seconds", 0, "a number of seconds, above 0"),
    ("tags", [1], "a list of strings"),
    ("tags", "serve", "a list of strings"),
    ("tags", {"serve": 1}, "a list of strings"),
    ("labels", {1: 1}, LABELS),
    ("labels", {"": 1}, LABELS),
    ("labels", {"a": True}, LABELS),
    ("labels", {"a": -1}, LABELS),
    ("labels", {"a": 2**63}, LABELS),
    ("labels", {"a": 1.0}, LABELS),
    ("labels", False, LABELS),
    ("intra_op_threads", 0, THREADS),
    ("intra_op_threads", True, THREADS),
    ("intra_op_threads", 2**31, THREADS),
    (
        "num_request_iterations_for_warmup",
        -1,
        "a whole number, at least 0 and at most 2147483647",
    ),
    ("device", "gpu", "'auto', 'cpu', or a GPU like 'gpu:0'"),
    ("device", None, "'auto', 'cpu', or a GPU like 'gpu:0'"),
    ("memory_limit_bytes", 0, BYTES),
    ("memory_limit_bytes", 1.5, BYTES),
    ("gpu_memory_limit_bytes", True, BYTES),
    ("gpu_memory_fraction", 1.5, "a number, at least 0 and at most 1"),
    ("gpu_memory_fraction", math.nan, "a number, at least 0 and at most 1"),
    ("transition", None, "a string"),
    ("batching", [], "an object of batching parameters, or None for automatic batching"),
    ("batching", False, "an object of batching parameters, or None for automatic batching"),
    ("name", " a", "text that does not begin with a blank and has no control characters"),
    ("name", "a\nb", "text that does not begin with a blank and has no control characters"),
]


@pytest.mark.parametrize(("name", "value", "allowed"), WRONG)
def test_a_wrong_value_is_refused_by_name(name: str, value: Any, allowed: str) -> None:
    message = f"Setting {name!r} must be {allowed}; was {value!r}"
    for make in (
        lambda: ModelConfig(**{"name": "m", "base_path": "/m", name: value}),
        lambda: ModelConfig.from_json({"name": "m", "base_path": "/m", name: value}),
        lambda: check_setting(name, value),
    ):
        with pytest.raises(ServingError) as refused:
            make()
        assert refused.value == invalid_argument(message)
    if MODEL_SETTINGS[name].changeable:
        with pytest.raises(ServingError) as refused:
            read_changes({name: value})
        assert refused.value == invalid_argument(message)


def test_every_setting_is_declared_and_has_a_wrong_value_here() -> None:
    assert list(MODEL_SETTINGS) == [each.name for each in fields(ModelConfig)]
    said_by_their_readers = {"base_path", "version_policy"}
    assert {name for name, _, _ in WRONG} | said_by_their_readers == set(MODEL_SETTINGS)
    for name, declared in MODEL_SETTINGS.items():
        assert declared.meaning, name


def test_right_values_are_kept_exactly() -> None:
    given = {
        "name": "a/b:c d",
        "base_path": "/m",
        "version_policy": {"specific": [0, BIGGEST]},
        "labels": {"new": BIGGEST, "old": 2**53 + 1},
        "max_load_retries": BIGGEST,
        "load_retry_seconds": 0,
        "hang_seconds": 0.25,
        "tags": ["a", "b"],
        "memory_limit_bytes": 2**60,
        "gpu_memory_fraction": 1,
    }
    config = ModelConfig.from_json(json.loads(json.dumps(given)))
    told = json.loads(json.dumps(config.to_json()))
    assert {name: told[name] for name in given} == given
    assert ModelConfig.from_json(told) == config
    assert ModelConfig.from_json({**given, "labels": None, "tags": None}).labels == {}


def test_whole_numbers_of_numpy_become_pythons() -> None:
    config = ModelConfig(
        "m",
        "/m",
        labels={"a": np.int64(2**62 + 1)},  # type: ignore[dict-item]
        max_load_retries=np.int32(3),  # type: ignore[arg-type]
        hang_seconds=np.float32(0.5),  # type: ignore[arg-type]
        batching=BatchingParameters(max_batch_size=np.int64(8)),  # type: ignore[arg-type]
    )
    assert json.loads(json.dumps(config.to_json()))["labels"] == {"a": 2**62 + 1}
    assert type(config.max_load_retries) is int
    assert type(config.hang_seconds) is float
    assert config.batching is not None
    assert type(config.batching.max_batch_size) is int


def test_what_may_be_changed_while_a_model_is_served() -> None:
    changes = read_changes(
        {
            "transition": "resource_preserving",
            "batching": {"max_batch_size": 4},
            "labels": {"a": BIGGEST},
            "device": "gpu:1",
            "memory_limit_bytes": None,
        }
    )
    assert changes == {
        "transition": "unload_first",
        "batching": BatchingParameters(max_batch_size=4),
        "labels": {"a": BIGGEST},
        "device": "gpu:1",
        "memory_limit_bytes": None,
    }
    with pytest.raises(ServingError) as refused:
        read_changes({"fall_back": False})
    assert refused.value == invalid_argument(
        "Setting 'fall_back' of a model that is served cannot be changed; these can: "
        "version_policy, transition, batching, labels, device, memory_limit_bytes, "
        "gpu_memory_limit_bytes, probe"
    )
    with pytest.raises(ServingError, match="Unknown model setting 'colour': known are "):
        read_changes({"colour": "red"})


def test_one_of_several_words() -> None:
    probe = one_of("refuse", "warn", "off")
    assert probe.check("probe", "warn") == "warn"
    with pytest.raises(ServingError) as refused:
        probe.check("probe", ["off"])
    assert refused.value.message == (
        "Setting 'probe' must be 'refuse', 'warn' or 'off'; was ['off']"
    )


def test_a_setting_that_was_kept_and_is_not_allowed_any_more_has_its_default() -> None:
    kept = {"name": "m", "base_path": "/m", "fall_back": "no", "hang_seconds": 5, "colour": 1}
    config, refused = read_kept(kept)
    assert config == ModelConfig("m", "/m", hang_seconds=5)
    assert [message.partition(";")[0] for message in refused] == [
        "Setting 'fall_back' must be true or false",
        f"Unknown model setting 'colour': known are {', '.join(sorted(MODEL_SETTINGS))}",
    ]
    with pytest.raises(ServingError, match="base_path"):
        read_kept({"name": "m", "base_path": 3})


@pytest.mark.parametrize("name", ["tensorflow_text", "_ops", "A1"])
def test_package_names(name: str) -> None:
    assert is_package_name(name)


@pytest.mark.parametrize(
    "name", ["", "a.b", "a-b", "1a", "a b", "a/b", "/a.so", "a\n", "é", "a" * 101, None, 5]
)
def test_what_is_no_package_name(name: object) -> None:
    assert not is_package_name(name)
