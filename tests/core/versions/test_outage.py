"""What callers of a crashed version hear, and when it is expected back."""

from __future__ import annotations

import math

from hypothesis import given
from hypothesis import strategies as st

from workbench.core.status import Code
from workbench.core.versions.outage import OVERDUE_SECONDS, UNKNOWN_SECONDS, Outage, OutOfService

WHY = "Its worker process died 3 times within 60 s, last: killed by SIGKILL"
SECONDS = st.floats(0, 1e4)


def outage(attempt_at: float, begun: bool = False, usual: float = 2.0, starting: int = 1) -> Outage:
    return Outage("m", 1, WHY, attempt_at, begun, usual, starting)


def test_before_the_next_attempt() -> None:
    waiting = outage(107.5)
    refusal = waiting.refusal(100.0)
    assert isinstance(refusal, OutOfService)
    assert (refusal.code, refusal.retry_after_seconds) == (Code.UNAVAILABLE, 8)
    assert refusal.message == f"Version 1 of m crashed and is started again in 7.5 s: {WHY}"
    assert waiting.expected_at(100.0) == 109.5


def test_during_an_attempt() -> None:
    starting = outage(100.0, begun=True)
    assert starting.expected_at(100.5) == 102.0
    refusal = starting.refusal(100.5)
    assert refusal.retry_after_seconds == 2
    assert refusal.message == (
        f"Version 1 of m crashed and is being started again, which takes about 1.5 s more: {WHY}"
    )


def test_a_start_that_is_late_takes_a_while_longer() -> None:
    late = outage(100.0, begun=True, usual=2.0)
    assert late.expected_at(140.0) == 150.0
    assert late.refusal(140.0).retry_after_seconds == 10


def test_another_version_in_its_place() -> None:
    assert outage(100.0, True, 3.0, starting=7).refusal(100.0).message == (
        "Version 1 of m crashed, and version 7 is being started in its place, which takes about "
        f"3.0 s more: {WHY}"
    )


def test_an_attempt_that_does_not_begin_is_not_waited_for() -> None:
    for lost in (outage(math.inf), outage(100.0 - OVERDUE_SECONDS - 0.1)):
        assert lost.expected_at(100.0) == math.inf
        assert lost.refusal(100.0).retry_after_seconds == UNKNOWN_SECONDS
        assert lost.refusal(100.0).message == (
            f"Version 1 of m crashed and is started again as soon as it can be loaded: {WHY}"
        )
    assert outage(99.0).expected_at(100.0) == 102.0


@given(
    st.builds(
        Outage,
        st.just("m"),
        st.just(1),
        st.just(WHY),
        SECONDS | st.just(math.inf),
        st.booleans(),
        st.floats(0, 600),
        st.just(1),
    ).filter(lambda o: not (o.begun and math.isinf(o.attempt_at))),
    SECONDS,
)
def test_whenever_it_is_asked(outage: Outage, now: float) -> None:
    if outage.begun and now < outage.attempt_at:
        return
    assert outage.expected_at(now) >= now
    refusal = outage.refusal(now)
    assert refusal.retry_after_seconds >= 1
    # One who comes back then does not come before the attempt.
    if not math.isinf(outage.attempt_at):
        assert now + refusal.retry_after_seconds >= outage.attempt_at
    # It takes no less time for having begun late.
    assert outage.expected_at(now + 1.0) >= outage.expected_at(now)
