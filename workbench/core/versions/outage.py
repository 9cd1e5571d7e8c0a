"""Decides whether requests for a version that crashed wait until it is back, or are refused with
the time of the next attempt.

A version that has served and crashed still exists, and it comes back. So a request for it is not
refused like one for an unknown model. It waits if the version is expected back before the request's
deadline; otherwise it is refused at once, with the time of the next attempt.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from workbench.core.status import Code, ServingError

OVERDUE_SECONDS = 2.0
"""How late an attempt may begin before it is not expected any more: the version's folder may be
gone, or its memory taken."""
UNKNOWN_SECONDS = 10
"""The advice on when to try again if nothing is known."""
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
        model, version: the version.
        reason: why it has no process, in words.
        attempt_at: when the next attempt to start it begins, or began; infinity: not by itself.
        begun: whether that attempt has begun.
        usual_seconds: how long the last start took.
        starting: the version that is being started: `version`, or the one that takes its place;
            None if that is not known yet.
    """

    model: str
    version: int
    reason: str
    attempt_at: float
    begun: bool
    usual_seconds: float
    starting: int | None

    def expected_at(self, now: float) -> float:
        """When requests are answered again; infinity if that is unknown.

        A start that already takes longer than the last one is expected to take a quarter more.
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
        """The error for a request that does not wait."""
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
