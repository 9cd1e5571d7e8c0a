"""A hundred thousand gRPC messages, right, almost right and damaged; some through a real channel.

What may come back: an answer, or a refusal that says what is wrong. INTERNAL only says, as every
gRPC server does, that the bytes are no such message.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import grpc
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.fuzz.grpc_requests import call
from tests.fuzz.target import ANSWER_SECONDS, TOKEN, Remote

EXAMPLES, CALLS = 2000, 50
CHANNEL_CALLS = 2000
WARM_UP = 200
GROWTH = 1.05
_ALLOWED = frozenset(
    {"INVALID_ARGUMENT", "NOT_FOUND", "FAILED_PRECONDITION", "UNIMPLEMENTED", "UNAVAILABLE"}
)
seeds = st.lists(st.integers(0, 2**32 - 1), min_size=CALLS, max_size=CALLS)


@pytest.fixture(scope="module")
def remote(models: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Remote]:
    with Remote(models, tmp_path_factory.mktemp("fuzz") / "grpc") as remote:
        yield remote


def allowed(method: str, said: str) -> str:
    """The code of an answer; fails where it says that something of ours is broken."""
    code, _, message = said.partition(": ")
    fine = (
        code == "OK"
        or code in _ALLOWED
        or (code == "INTERNAL" and message.startswith("The request is no "))
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
    told: Counter[str] = Counter()
    for first in range(0, 40 * CALLS, CALLS):
        told += check(remote, list(range(first, first + CALLS)))
    assert told.keys() >= {*_ALLOWED - {"UNAVAILABLE"}, "OK", "INTERNAL"}
    assert told["OK"] > 150
    assert check(remote, [0] * CALLS) == {"OK": CALLS}


def test_messages_through_a_channel(remote: Remote) -> None:
    """The same messages where gRPC's own reading and its limits stand before ours."""
    told: Counter[str] = Counter()
    with grpc.insecure_channel(f"unix:{remote.socket}") as channel:
        for first in range(0, CHANNEL_CALLS, CALLS):
            calls = [call(number) for number in range(first, first + CALLS)]
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
    told: Counter[str] = Counter()
    for first in range(WARM_UP):
        check(remote, [first * CALLS + i for i in range(CALLS)])
    before = remote.ask("memory")
    asked = 0

    @settings(
        max_examples=EXAMPLES,
        deadline=None,
        database=None,
        suppress_health_check=[HealthCheck.data_too_large, HealthCheck.too_slow],
    )
    @given(seeds)
    def fuzz(numbers: list[int]) -> None:
        nonlocal asked, told
        told += check(remote, numbers)
        asked += len(numbers)

    fuzz()
    for extra in range(asked, EXAMPLES * CALLS, CALLS):
        told += check(remote, [2**32 + extra + i for i in range(CALLS)])
        asked += CALLS
    after = remote.ask("memory")
    print(f"\n{asked} messages: {dict(sorted(told.items()))}; {before} -> {after}")
    assert asked >= EXAMPLES * CALLS
    assert (after["exits"], after["outstanding"]) == ([], 0)
    assert after["descriptors"] <= before["descriptors"] + 2, (before, after)
    for part in ("server", "workers"):
        assert after[part] <= before[part] * GROWTH, (part, before, after)
