"""Canonical codes, and the exception that carries them."""

from __future__ import annotations

import pytest

from workbench.core.status import (
    Code,
    Reason,
    ServingError,
    failed_precondition,
    invalid_argument,
    not_found,
    unavailable,
)


def test_codes_are_those_of_grpc() -> None:
    grpc = pytest.importorskip("grpc")
    assert {code.name: code.value for code in Code} == {
        code.name: code.value[0] for code in grpc.StatusCode
    }


@pytest.mark.parametrize(
    ("make", "code"),
    [
        (invalid_argument, Code.INVALID_ARGUMENT),
        (not_found, Code.NOT_FOUND),
        (unavailable, Code.UNAVAILABLE),
        (failed_precondition, Code.FAILED_PRECONDITION),
    ],
)
def test_short_constructors(make, code) -> None:  # type: ignore[no-untyped-def]
    error = make("what is wrong")
    assert (error.code, error.message, str(error)) == (code, "what is wrong", "what is wrong")
    assert repr(error) == f"ServingError({code.name}: what is wrong)"


def test_equal_by_code_and_message() -> None:
    error = ServingError(Code.INTERNAL, "a")
    assert error == ServingError(Code.INTERNAL, "a")
    assert hash(error) == hash(ServingError(Code.INTERNAL, "a"))
    assert error != ServingError(Code.UNKNOWN, "a")
    assert error != ServingError(Code.INTERNAL, "b")
    assert error != Exception("a")


@pytest.mark.parametrize("reason", [None, *Reason])
def test_as_plain_data_and_back(reason: Reason | None) -> None:
    error = ServingError(Code.NOT_FOUND, "no such thing", reason)
    data = error.to_json()
    assert data.get("reason") == (None if reason is None else reason.value)
    again = ServingError.from_json(data)
    assert (again, again.reason) == (error, reason)


def test_a_reason_of_another_release_is_dropped() -> None:
    error = ServingError.from_json({"code": "INTERNAL", "error": "x", "reason": "of-tomorrow"})
    assert (error, error.reason) == (ServingError(Code.INTERNAL, "x"), None)
    assert ServingError.from_json({}) == ServingError(Code.UNKNOWN, "?")
