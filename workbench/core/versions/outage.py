"""A version that crashed and is not back yet: what its callers hear, and which of them may wait.

A version that has served and crashed still exists, and it comes back. So a request for it is not
refused as one for an unknown model is. It waits where the version is expected back within the
request's own time; else it is refused at once, with the time of the next attempt.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from workbench.core.status import Code, ServingError

OVERDUE_SECONDS = 2.0
"""How late an attempt may begin before nothing is expected of it any more: its folder may be away,
or its memory taken."""
UNKNOWN_SECONDS = 10
"""What is said of when to try again where nothing is known."""
_OVERDUE_SHARE = 0.25


class OutOfService(ServingError):
    """UNAVAILABLE: the version crashed, and no other serves."""

    def __init__(self, message: str, retry_after_seconds: int) -> None:
        super().__init__(Code.UNAVAILABLE, message)
        self.retry_after_seconds = retry_after_seconds


@dataclass(frozen=True, slots=True)
class Outage:
    """A version without a process, after it has served. Times are in monotonic seconds.

    Attributes:
        model, version: which one.
        reason: how it came to that, in words.
        attempt_at: when the next attempt to start it begins, or began; infinity: not by itself.
        begun: whether that attempt has begun.
        usual_seconds: how long a start takes, going by the last one.
        starting: the version that is being started; not `version` where another takes its place,
            and None where it is not known yet which.
    """

    model: str
    version: int
    reason: str
    attempt_at: float
    begun: bool
    usual_seconds: float
    starting: int | None

    def expected_at(self, now: float) -> float:
        """When requests are answered again; infinity where nothing says so.

        A start that takes longer than the last one is expected to take a quarter of its time more.
        """
        if self.begun:
            took = now - self.attempt_at
            return now + max(self.usual_seconds - took, took * _OVERDUE_SHARE)
        if now - self.attempt_at > OVERDUE_SECONDS:
            return math.inf
        return max(now, self.attempt_at) + self.usual_seconds

    def retry_after(self, now: float) -> int:
        """Whole seconds until the next attempt, or until the one that has begun should end; at
        least 1."""
        expected_at = self.expected_at(now)
        if math.isinf(expected_at):
            return UNKNOWN_SECONDS
        return max(1, math.ceil((expected_at if self.begun else self.attempt_at) - now))

    def refusal(self, now: float) -> OutOfService:
        """What a request that does not wait is refused with."""
        return OutOfService(
            f"Version {self.version} of {self.model} crashed{self._cure(now)}: {self.reason}",
            self.retry_after(now),
        )

    def _cure(self, now: float) -> str:
        expected_at = self.expected_at(now)
        if self.begun:
            left = f"which takes about {expected_at - now:.1f} s more"
            if self.starting != self.version:
                other = "another version" if self.starting is None else f"version {self.starting}"
                return f", and {other} is being started in its place, {left}"
            return f" and is being started again, {left}"
        if math.isinf(expected_at):
            return " and is started again as soon as it can be loaded"
        return f" and is started again in {max(0.0, self.attempt_at - now):.1f} s"
