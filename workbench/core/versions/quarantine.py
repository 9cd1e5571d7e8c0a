"""Decides when a version that keeps failing is set aside, and when it is tried again.

A process that dies is replaced; one death is an accident. A version is set aside if its processes
die again and again, or if it cannot be loaded at all; then the last good version can serve. After a
pause it gets another chance, beside the good one. If no other version can serve, the pause is
short, because no request is answered meanwhile.

The pause doubles each time the version itself is to blame: its process died while it ran a request,
or it could not be loaded. An idle process that was killed from outside is not the version's fault,
and the pause stays as it was.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field

MAX_DEATHS = 3
DEATH_WINDOW_SECONDS = 60.0
FIRST_PAUSE_SECONDS = 10.0
LONGEST_PAUSE_SECONDS = 600.0
ALONE_FIRST_PAUSE_SECONDS = 1.0
"""The first pause of a version in whose place no other can serve."""
ALONE_LONGEST_PAUSE_SECONDS = 30.0
PROBATION_SECONDS = 60.0


@dataclass(slots=True)
class Record:
    """The failures of one version with the files that `fingerprint` stands for. Times are in
    monotonic seconds.

    Attributes:
        deaths: of its processes, within the last `DEATH_WINDOW_SECONDS`.
        reason: why it was set aside last, in words.
        failures: how often it has been set aside.
        doublings: how often the version itself was to blame: each doubles the next pause.
        until: when it is tried again; infinity: not before its files change; None: it is not set
            aside.
        probation: when its probation after another attempt ends; infinity until it serves; None:
            it is not on probation.
        replaced: whether another version has been chosen in its place.
        served: whether it was available before it failed. A version that never was, and that
            nothing replaces, is not tried again.
        start_seconds: how long its last start took, if it was available.
        aside_at: when it was set aside last.
        alone: whether no other version could serve in its place then.
    """

    fingerprint: int
    deaths: list[float] = field(default_factory=list)
    reason: str = ""
    failures: int = 0
    doublings: int = 0
    until: float | None = None
    probation: float | None = None
    replaced: bool = False
    served: bool = False
    start_seconds: float = 0.0
    aside_at: float = -math.inf
    alone: bool = False

    @property
    def returns(self) -> bool:
        """Whether it is tried again by itself."""
        return self.served or self.replaced

    def died(self, now: float) -> bool:
        """Note the death of a process.

        Returns:
            Whether the version is to be set aside.
        """
        self.deaths = [t for t in self.deaths if now - t < DEATH_WINDOW_SECONDS] + [now]
        return self.on_probation(now) or len(self.deaths) >= MAX_DEATHS

    def set_aside(
        self,
        now: float,
        reason: str,
        *,
        final: bool = False,
        own_doing: bool = True,
        alone: bool = False,
    ) -> None:
        """Do not serve it for a while.

        Args:
            now: monotonic seconds.
            reason: why, in words.
            final: it is not tried again before its files have changed.
            own_doing: the version itself is to blame, and the next pause is longer.
            alone: no other version can serve in its place.
        """
        first = ALONE_FIRST_PAUSE_SECONDS if alone else FIRST_PAUSE_SECONDS
        longest = ALONE_LONGEST_PAUSE_SECONDS if alone else LONGEST_PAUSE_SECONDS
        # Beyond 2**10 every pause is the longest.
        pause = min(first * 2.0 ** min(self.doublings, 10), longest)
        self.until = math.inf if final else now + pause
        self.failures += 1
        self.doublings += own_doing
        self.aside_at = now
        self.alone = alone
        self.reason = reason
        self.probation = None
        self.deaths = []

    def is_aside(self, now: float) -> bool:
        """Whether its pause is not over yet."""
        return self.until is not None and now < self.until

    def is_due(self, now: float) -> bool:
        """Whether its pause is over and it has not been tried again."""
        return self.until is not None and now >= self.until

    def try_again(self) -> None:
        """Begin another attempt, on probation."""
        self.until = None
        self.probation = math.inf

    def serves(self, now: float) -> None:
        """It is available: if it was tried again, its probation begins now."""
        if self.probation is not None:
            self.probation = now + PROBATION_SECONDS

    def on_probation(self, now: float) -> bool:
        """Whether one more death sets it aside again at once."""
        return self.probation is not None and now < self.probation

    def is_proven(self, now: float) -> bool:
        """Whether it has passed its probation, and its failures can be forgotten."""
        return self.probation is not None and now >= self.probation

    def next_change(self) -> float:
        """The next of its times; infinity if there is none."""
        return min(self.until or math.inf, self.probation or math.inf)
