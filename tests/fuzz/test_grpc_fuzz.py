"""A hundred thousand gRPC messages, right, almost right and damaged; some through a real channel.

What may come back: an answer, or a refusal that says what is wrong. INTERNAL only says, as every
gRPC server does, that the bytes are no such message.
"""

from __future__ import annotations

from collections import Counter

import grpc
import pytest

from tests.fuzz.grpc_requests import call
from tests.fuzz.hundred_thousand import AT_ONCE, hundred_thousand, some
from tests.fuzz.target import ANSWER_SECONDS, TOKEN, Remote

CHANNEL_CALLS = 2000
WARM_UP = 200
_ALLOWED = frozenset(
    {"INVALID_ARGUMENT", "NOT_FOUND", "FAILED_PRECONDITION", "UNIMPLEMENTED", "UNAVAILABLE"}
)


def allowed(method: str, said: str) -> str:
    """The code of an answer; fails where it says that something of ours is broken."""
    code, _, message = said.partition(": ")
    fine = (
        code == "OK"
        or code in _ALLOWED
        or (code == "INTERNAL" and message.startswith("The request is not a valid "))
        # A model that was asked for and cannot be had, in TensorFlow Serving's words.
        or (code == "UNKNOWN" and method.endswith("HandleReloadConfigRequest"))
    )
    assert fine, f"{method}: {said}"
    return code


def check(remote: Remote, numbers: list[int]) -> Counter[str]:
    calls = [call(number) for number in numbers]
    told: Counter[str] = Counter()
    for (method, request), said in zip(calls, remote.ask("grpc_calls", calls), strict=True):
        try:
            told[allowed(method, said)] += 1
        except AssertionError as error:
            raise AssertionError(f"{error} for {request!r}") from None
    return told


def test_some_messages_of_each_kind(remote: Remote) -> None:
    told = some(remote, check)
    assert told.keys() >= {*_ALLOWED - {"UNAVAILABLE"}, "OK", "INTERNAL"}
    assert told["OK"] > 150
    assert check(remote, [0] * AT_ONCE) == {"OK": AT_ONCE}


def test_messages_through_a_channel(remote: Remote) -> None:
    """The same messages where gRPC's own reading and its limits stand before ours."""
    told: Counter[str] = Counter()
    with grpc.insecure_channel(f"unix:{remote.socket}") as channel:
        for first in range(0, CHANNEL_CALLS, AT_ONCE):
            calls = [call(number) for number in range(first, first + AT_ONCE)]
            waiting = [
                channel.unary_unary(method).future(
                    request,
                    timeout=ANSWER_SECONDS,
                    metadata=[("authorization", f"Bearer {TOKEN}")],
                )
                for method, request in calls
            ]
            for (method, _), answer in zip(calls, waiting, strict=True):
                error = answer.exception()
                said = "OK" if error is None else f"{error.code().name}: {error.details()}"
                told[allowed(method, said)] += 1
        refused = channel.unary_unary(call(0)[0]).future(call(0)[1], timeout=ANSWER_SECONDS)
        assert refused.exception().code() is grpc.StatusCode.UNAUTHENTICATED
    assert told["OK"] > 150
    assert sum(told.values()) == CHANNEL_CALLS


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_a_hundred_thousand_messages(remote: Remote) -> None:
    hundred_thousand(remote, check, WARM_UP)
