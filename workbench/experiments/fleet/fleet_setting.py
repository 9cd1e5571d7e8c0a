# ruff: noqa: RUF009 - `setting` makes fields, as `dataclasses.field` does.
"""What a simulated fleet consists of, and what happens to it.

`FleetSetting` has the servers and the balancers before them. The events of a run are data too: a
server that is lost (`ServerLoss`), and a new version that goes from server to server
(`RollingChange`). Times of events are seconds from the start of the run; times that belong to one
request are microseconds, as everywhere in the simulator.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from workbench.core.fleet.autoscaling import ScalingRule
from workbench.core.fleet.balancing import POLICIES
from workbench.core.fleet.health import HealthRule
from workbench.core.setting_kinds import (
    Kind,
    check_fields,
    number,
    one_of,
    optional,
    plain_fields,
    read_fields,
    setting,
    truth,
    whole,
)
from workbench.core.status import invalid_argument

_WHAT = "Fleet setting"
_MICROS = whole(0, unit="microseconds")
_TIMEOUT = optional(whole(1, unit="microseconds"), "to wait for ever")
_SECONDS = number(0, unit="seconds")

RETRIED = ("refused", "lost", "rejected", "timeout")
"""The failures that a balancer can try again. HAProxy's `retry-on` calls them `conn-failure`,
`empty-response`, `503` and `response-timeout`."""
_LONGEST_PAUSE_MICROS = 1_000_000


def _are_retried(value: Any) -> bool:
    return isinstance(value, list | tuple) and all(each in RETRIED for each in value)


@dataclass(frozen=True, slots=True)
class RetryRule:
    """What a balancer does with a request that a server has not answered. The defaults are those of
    HAProxy.

    Raises:
        ServingError: INVALID_ARGUMENT, naming the setting, its value, and the allowed values.
    """

    attempts: int = setting(3, whole(0), "further attempts (HAProxy: `retries`)")
    on: tuple[str, ...] = setting(
        ("refused",),
        Kind(f"a list of {', '.join(map(repr, RETRIED))}", _are_retried, tuple, list),
        "the failures that are tried again; `lost` and `timeout` repeat requests that a server may "
        "have run already",
    )
    connect_timeout_micros: int = setting(
        5_000_000,
        whole(1, unit="microseconds"),
        "how long a server that does not react is waited for; a refused connection is tried again "
        "after this time too, but after a second at most (HAProxy: `timeout connect`)",
    )
    timeout_micros: int | None = setting(
        None, _TIMEOUT, "how long an answer is waited for (HAProxy: `timeout server`)"
    )
    close_when_down: bool = setting(
        False,
        truth(),
        "when a server goes down, give up what it has not answered (HAProxy: `on-marked-down "
        "shutdown-sessions`)",
    )

    def __post_init__(self) -> None:
        check_fields(self, _WHAT)

    @property
    def pause_micros(self) -> int:
        """Before a refused connection is tried again."""
        return min(self.connect_timeout_micros, _LONGEST_PAUSE_MICROS)


@dataclass(frozen=True, slots=True)
class ServerLoss:
    """A server is lost, with all requests that it has not answered.

    Raises:
        ServingError: INVALID_ARGUMENT, naming the setting, its value, and the allowed values.
    """

    server: int = setting(0, whole(0), "its number, from 0")
    at_s: float = setting(0.0, _SECONDS, "when it is lost")
    silent: bool = setting(
        False,
        truth(),
        "its packets vanish, as when a machine loses power; a process that was killed closes its "
        "connections, and refuses new ones",
    )
    back_after_s: float | None = setting(
        None, optional(_SECONDS, "for never"), "until another server serves in its place"
    )

    def __post_init__(self) -> None:
        check_fields(self, _WHAT)


@dataclass(frozen=True, slots=True)
class RollingChange:
    """A new version goes from server to server, one after the other.

    The transition within a server decides what the change means for its callers: with *smooth* it
    serves on, but slower while the new version loads (`slower_s`, `slower_by`); with *unload first*
    it does not serve for a while (`away_s`). Both follow each other where both are given.

    Raises:
        ServingError: INVALID_ARGUMENT, naming the setting, its value, and the allowed values.
    """

    at_s: float = setting(0.0, _SECONDS, "when the first server begins")
    slower_s: float = setting(0.0, _SECONDS, "how long each server is slower")
    slower_by: float = setting(1.5, number(1), "its run times are multiplied by this")
    away_s: float = setting(0.0, _SECONDS, "how long each server does not serve")
    drained: bool = setting(
        True,
        truth(),
        "the balancers send a server nothing from before it goes away until it is back; otherwise "
        "it refuses what they send, and their checks have to find that out",
    )
    pause_s: float = setting(0.0, _SECONDS, "between two servers")

    def __post_init__(self) -> None:
        check_fields(self, _WHAT)

    def next_server(self, serving: Sequence[int], changed: Collection[int]) -> int | None:
        """The server that changes next; None: all have changed. A rule that watches the first
        server, stops or goes back decides it here."""
        return next((server for server in serving if server not in changed), None)


def _many(cls: type) -> Kind:
    return Kind(
        f"a list of {cls.__name__}",
        lambda value: (
            isinstance(value, list | tuple) and all(isinstance(each, cls) for each in value)
        ),
        tuple,
        lambda value: [plain_fields(each) for each in value],
    )


def _one(cls: type, meaning_of_none: str = "") -> Kind:
    kind = Kind(f"a {cls.__name__}", lambda value: isinstance(value, cls), plain=plain_fields)
    return optional(kind, meaning_of_none) if meaning_of_none else kind


@dataclass(frozen=True, slots=True)
class FleetSetting:
    """Servers, the balancers before them, and what happens to them.

    Raises:
        ServingError: INVALID_ARGUMENT, naming the setting, its value, and the allowed values.
    """

    servers: int = setting(2, whole(1, 100_000), "servers at the start")
    policy: str = setting(
        "least_outstanding", one_of(*POLICIES), "how a balancer chooses the server of a request"
    )
    balancers: int = setting(
        1,
        whole(1, 10_000),
        "balancers; each request comes to a random one, and none sees the requests of another",
    )
    report_interval_micros: int = setting(
        0,
        _MICROS,
        "0: a balancer counts the requests that it has sent and not seen answered; otherwise it "
        "knows only what the servers report about all their requests, this often",
    )
    to_server_micros: int = setting(0, _MICROS, "the way of a request to a server")
    from_server_micros: int = setting(0, _MICROS, "the way of an answer back")
    balancer_micros: int = setting(
        0, _MICROS, "a balancer's own time for a request; it handles one after another"
    )
    health: HealthRule | None = setting(
        None, _one(HealthRule, "for balancers that know at once which servers serve"), "the checks"
    )
    retry: RetryRule = setting(RetryRule(), _one(RetryRule), "what happens to requests that fail")
    losses: tuple[ServerLoss, ...] = setting((), _many(ServerLoss), "servers that are lost")
    change: RollingChange | None = setting(None, _one(RollingChange, "for none"), "a new version")
    scaling: ScalingRule | None = setting(
        None,
        _one(ScalingRule, "for a fixed number of servers"),
        "when servers come and go",
    )
    scaling_interval_s: float = setting(
        1.0, number(0, above=True, unit="seconds"), "between two looks of the autoscaler"
    )
    start_up_s: float = setting(10.0, _SECONDS, "from the decision to add a server until it serves")

    def __post_init__(self) -> None:
        check_fields(self, _WHAT)
        for loss in self.losses:
            if loss.server >= self.most_servers:
                raise invalid_argument(
                    f"Server {loss.server} cannot be lost: there are {self.most_servers}, counted "
                    "from 0"
                )

    @property
    def most_servers(self) -> int:
        """As many servers as there can ever be."""
        return max(self.servers, self.scaling.max_servers if self.scaling else 0)

    def to_json(self) -> dict[str, Any]:
        """All settings as plain data, for `from_json`."""
        return plain_fields(self)

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> FleetSetting:
        """The setting in `data`; what it leaves out has its default.

        Raises:
            ServingError: INVALID_ARGUMENT, for an unknown name or a value that is not allowed.
        """
        values = {name: _read_part(name, value) for name, value in data.items()}
        return read_fields(cls, values, "fleet setting")


def _read_part(name: str, value: Any) -> Any:
    """A part of a fleet setting, from plain data."""
    if name == "losses" and isinstance(value, list | tuple):
        return [
            read_fields(ServerLoss, each, "loss setting") if isinstance(each, Mapping) else each
            for each in value
        ]
    if name in _PARTS and isinstance(value, Mapping):
        return read_fields(_PARTS[name], value, f"{name} setting")
    return value


_PARTS: Mapping[str, Any] = {
    "health": HealthRule,
    "retry": RetryRule,
    "change": RollingChange,
    "scaling": ScalingRule,
}
