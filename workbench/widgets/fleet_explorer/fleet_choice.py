"""The positions of a fleet explorer's sliders, and the values that each slider has."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from workbench.core.fleet.balancing import POLICIES
from workbench.core.setting_kinds import (
    check_fields,
    number,
    one_of,
    plain_fields,
    read_fields,
    setting,
    whole,
)
from workbench.experiments.sweep import explore

EVENTS: Mapping[str, str] = {
    "nothing": "nothing",
    "loss": "a server is lost and comes back",
    "smooth": "rolling change, smooth",
    "unload_first": "rolling change, unload first",
    "autoscaling": "autoscaling",
}
"""What can happen during the run, in words."""
SLIDERS = (
    "rate",
    "servers",
    "balancers",
    "report_interval_micros",
    "batch_timeout_micros",
    "max_batch_size",
)
MOST_SERVERS = 32
_LOWEST_RATE, _RATE_FACTOR = 10, 10
"""Of one server, as in the sweep explorer; the rates of a fleet are so many times as high."""
_WHAT = "Fleet explorer setting"
_MICROS = whole(0, unit="microseconds")
_SERVERS = (1, 2, 3, 4, 5, 6, 7, 8, 10, 12, 16, 20, 24, MOST_SERVERS)
_BALANCERS = (1, 2, 3, 4, 5, 6, 8, 10, 12, 16)
_SHORTEST_REPORT_MICROS = 1000


@dataclass(frozen=True, slots=True)
class FleetChoice:
    """What is chosen in a fleet explorer.

    Raises:
        ServingError: INVALID_ARGUMENT, naming the setting, its value, and the allowed values.
    """

    rate: float = setting(
        1000.0, number(1, 1_000_000, unit="requests/s"), "offered load, Poisson arrivals"
    )
    servers: int = setting(4, whole(1, MOST_SERVERS), "servers at the start")
    policy: str = setting("least_outstanding", one_of(*POLICIES), "the balancing policy")
    balancers: int = setting(1, whole(1, 100), "balancers before the servers")
    report_interval_micros: int = setting(
        0, _MICROS, "0: a balancer knows its own requests; otherwise what servers report this often"
    )
    batch_timeout_micros: int = setting(0, _MICROS, "the batching delay")
    max_batch_size: int = setting(16, whole(1), "the most rows of a batch")
    event: str = setting("nothing", one_of(*EVENTS), "what happens during the run")

    def __post_init__(self) -> None:
        check_fields(self, _WHAT)

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> FleetChoice:
        """The choice that a page sends; what it leaves out has its default.

        Raises:
            ServingError: INVALID_ARGUMENT, for an unknown name or a value that is not allowed.
        """
        return read_fields(cls, data, "fleet explorer setting")

    def to_json(self) -> dict[str, Any]:
        """Plain data, for `from_json`."""
        return plain_fields(self)


def scales(now: FleetChoice, rows: int = 1) -> dict[str, list[float]]:
    """The values of each slider, increasing, and the chosen one among them."""
    server = explore.Setting(now.batch_timeout_micros, now.max_batch_size, 1, _LOWEST_RATE)
    batching = explore.scales(server, rows)
    delays = batching["batch_timeout_micros"]
    reports = [delay for delay in delays if delay >= _SHORTEST_REPORT_MICROS]
    found: dict[str, list[float]] = {
        "rate": [_RATE_FACTOR * rate for rate in batching["rate"]],
        "servers": [*_SERVERS],
        "balancers": [*_BALANCERS],
        "report_interval_micros": [0, *reports],
        "batch_timeout_micros": delays,
        "max_batch_size": batching["max_batch_size"],
    }
    return {name: sorted({*found[name], getattr(now, name)}) for name in SLIDERS}
