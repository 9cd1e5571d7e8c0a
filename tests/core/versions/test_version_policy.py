"""Folder names as version numbers, and which versions a policy aspires."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from workbench.core.status import ServingError, invalid_argument
from workbench.core.versions.version_policy import VersionPolicy, parse_version


@pytest.mark.parametrize(
    ("name", "version"),
    [
        ("1", 1),
        ("0", 0),
        ("00000123", 123),
        ("+7", 7),
        (" 7 ", 7),
        ("9223372036854775807", 2**63 - 1),
        ("9223372036854775808", None),
        ("-1", None),
        ("1.tmp", None),
        ("1_0", None),
        ("v1", None),
        ("", None),
        ("1e3", None),
        ("0x1", None),
        ("1 2", None),
        ("\u0661", None),  # a digit, but not an ASCII one
    ],
)
def test_the_whole_name_must_be_a_64_bit_number(name: str, version: int | None) -> None:
    assert parse_version(name) == version


@given(st.text(max_size=30))
def test_what_parses_is_a_version_number(name: str) -> None:
    version = parse_version(name)
    assert version is None or (0 <= version < 2**63 and int(name) == version)


@pytest.mark.parametrize(
    ("policy", "aspired"),
    [
        (VersionPolicy(), [7]),
        (VersionPolicy("latest", 2), [3, 7]),
        (VersionPolicy("latest", 9), [1, 3, 7]),
        (VersionPolicy("all"), [1, 3, 7]),
        (VersionPolicy("specific", versions=(3, 8)), [3]),
        (VersionPolicy("specific"), []),
    ],
)
def test_aspired_versions(policy: VersionPolicy, aspired: list[int]) -> None:
    assert policy.aspired([7, 1, 3, 1]) == aspired
    assert policy.aspired([]) == []


@pytest.mark.parametrize(
    ("written", "policy", "text"),
    [
        (None, VersionPolicy(), "latest(1)"),
        ("latest", VersionPolicy(), "latest(1)"),
        (2, VersionPolicy("latest", 2), "latest(2)"),
        ({"latest": 2}, VersionPolicy("latest", 2), "latest(2)"),
        ("all", VersionPolicy("all"), "all"),
        ({"all": True}, VersionPolicy("all"), "all"),
        ([1, 3], VersionPolicy("specific", versions=(1, 3)), "specific(1, 3)"),
        ({"specific": [1, 3]}, VersionPolicy("specific", versions=(1, 3)), "specific(1, 3)"),
        (VersionPolicy("all"), VersionPolicy("all"), "all"),
    ],
)
def test_what_a_person_may_write(written: Any, policy: VersionPolicy, text: str) -> None:
    assert VersionPolicy.parse(written) == policy
    assert str(policy) == text
    assert VersionPolicy.parse(json.loads(json.dumps(policy.to_json()))) == policy


@pytest.mark.parametrize(
    "written", ["newest", True, 1.5, {}, {"latest": "2"}, {"newest": 1}, ["1"], {"specific": 3}]
)
def test_what_is_not_understood_is_named(written: Any) -> None:
    with pytest.raises(ServingError) as raised:
        VersionPolicy.parse(written)
    assert raised.value == invalid_argument(
        f"Version policy {written!r} is not understood: use 'latest', a number of versions, "
        "'all', or a list of version numbers"
    )


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("newest",), "Unknown version policy 'newest': use 'latest', 'all' or 'specific'"),
        (("latest", 0), "Version policy latest(0): at least 1 version must be aspired"),
    ],
)
def test_impossible_policies_are_refused(arguments: Any, message: str) -> None:
    with pytest.raises(ServingError) as raised:
        VersionPolicy(*arguments)
    assert raised.value == invalid_argument(message)
