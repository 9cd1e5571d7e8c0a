"""Whether a balancer believes that a server is up: health checks as in HAProxy.

A balancer asks each server again and again whether it serves. One failed check says little, so a
server goes down after `fall` failed checks in a row, and comes up after `rise` good ones. In
between, checks come faster. Failures of real requests are seen sooner than any check can see them;
`on_error` says what they do.

HAProxy keeps one number for a server, its *health*, from 0 to `rise + fall - 1`. The server is up
if it is at least `rise`. A failed check takes one off; a good one adds one, or restores all of it
if the server is up. When it goes up or down, all of its health changes. So does it here.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from workbench.core.setting_kinds import (
    check_fields,
    one_of,
    optional,
    plain_fields,
    read_fields,
    setting,
    whole,
)

_WHAT = "Health check setting"
_MICROS = whole(1, unit="microseconds")
_SAME = optional(_MICROS, "for `interval_micros`")


@dataclass(frozen=True, slots=True)
class HealthRule:
    """When a balancer checks its servers, and what it concludes.

    Raises:
        ServingError: INVALID_ARGUMENT, naming the setting, its value, and the allowed values.
    """

    interval_micros: int = setting(2_000_000, _MICROS, "between two checks (HAProxy: `inter`)")
    fast_interval_micros: int | None = setting(
        None, _SAME, "between two checks while it is not sure (HAProxy: `fastinter`)"
    )
    down_interval_micros: int | None = setting(
        None, _SAME, "between two checks of a server that is down (HAProxy: `downinter`)"
    )
    timeout_micros: int | None = setting(
        None, _SAME, "after which a check without an answer has failed (HAProxy: `timeout check`)"
    )
    fall: int = setting(3, whole(1), "failed checks in a row until a server is down")
    rise: int = setting(2, whole(1), "good checks in a row until a server is up")
    error_limit: int = setting(
        0,
        whole(0),
        "failed requests in a row that count as an error; 0: requests are not observed (HAProxy: "
        "`observe layer4`, `error-limit`)",
    )
    on_error: str = setting(
        "fail-check",
        one_of("fastinter", "fail-check", "sudden-death", "mark-down"),
        "what such an error does: check faster, count as a failed check, let the next failed check "
        "be the last, or mark the server down at once",
    )

    def __post_init__(self) -> None:
        check_fields(self, _WHAT)

    @property
    def waits_micros(self) -> int:
        """How long a check waits for its answer."""
        return self.timeout_micros or self.interval_micros

    def to_json(self) -> dict[str, Any]:
        """All settings as plain data, for `from_json`."""
        return plain_fields(self)

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> HealthRule:
        """The settings in `data`; those that it leaves out have their defaults.

        Raises:
            ServingError: INVALID_ARGUMENT, for an unknown name or a value that is not allowed.
        """
        return read_fields(cls, data, "health check setting")


class ServerHealth:
    """One server in the eyes of one balancer.

    The caller runs the checks: it begins one at `next_check`, and reports its result with the time
    at which it is known. It also reports how real requests ended.

    Attributes:
        health: see the module.
        next_check: when the next check begins, in microseconds.
    """

    def __init__(self, rule: HealthRule, now: int, *, up: bool = True) -> None:
        """A server that is taken to be up or down until the first checks; the first failed one is
        enough to take it down, as in HAProxy."""
        self._rule = rule
        self.health = rule.rise if up else 0
        self._errors = 0
        self.next_check = now + self.interval_micros

    @property
    def up(self) -> bool:
        """Whether it gets requests."""
        return self.health >= self._rule.rise

    @property
    def interval_micros(self) -> int:
        """From the end of one check to the next one."""
        rule = self._rule
        if self.health == 0:
            return rule.down_interval_micros or rule.interval_micros
        if self.health < rule.rise + rule.fall - 1:
            return rule.fast_interval_micros or rule.interval_micros
        return rule.interval_micros

    def checked(self, passed: bool, now: int) -> None:
        """A check has ended."""
        if passed:
            self._passed()
        else:
            self._failed()
        self.next_check = now + self.interval_micros

    def _passed(self) -> None:
        rule = self._rule
        self.health += 1
        if self.health >= rule.rise:
            self.health = rule.rise + rule.fall - 1

    def _failed(self) -> None:
        # It goes on only while it is up by more than one failure.
        self.health = self.health - 1 if self.health > self._rule.rise else 0

    def observed(self, failed: bool, now: int) -> None:
        """A request has reached the server, or failed to."""
        rule = self._rule
        if not failed or not rule.error_limit:
            self._errors = 0
            return
        self._errors += 1
        if self._errors < rule.error_limit or not self.up:
            return
        self._errors = 0
        match rule.on_error:
            case "mark-down":
                self.health = 0
            case "sudden-death":
                self.health = min(self.health, rule.rise)
            case "fail-check":
                self._failed()
            case "fastinter":
                pass
        # Each of them wants to know soon.
        soon = rule.fast_interval_micros or rule.interval_micros
        self.next_check = min(self.next_check, now + soon)
