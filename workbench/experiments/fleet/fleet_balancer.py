"""A balancer of a simulated fleet: its policy, and what it believes about the servers."""

from __future__ import annotations

from random import Random

from workbench.core.fleet.balancing import BalancingPolicy, policy_named
from workbench.core.fleet.health import ServerHealth
from workbench.experiments.fleet.fleet_setting import FleetSetting


class Balancer:
    """Knows which servers it may send to.

    A server gets requests if it is admitted (it is part of the fleet and need not be emptied) and
    is believed up.

    Attributes:
        policy: chooses among the servers that get requests.
        healths: what the checks have found, by server; None: not checked.
        free_at: when it has handled all requests that it got, in microseconds.
    """

    def __init__(self, setting: FleetSetting, seed: int) -> None:
        count = setting.most_servers
        self.policy: BalancingPolicy = policy_named(setting.policy)(count, Random(seed))
        self.healths: list[ServerHealth | None] = [None] * count
        self.free_at = 0
        self._rule = setting.health
        self._admitted = [False] * count
        self._up = [False] * count

    def admit(self, server: int, now: int, *, up: bool) -> ServerHealth | None:
        """A server joins, or joins again. Returns its health if its checks begin now."""
        self._admitted[server] = True
        begun = None
        if self._rule is None:
            self._up[server] = up
        elif self.healths[server] is None:
            begun = self.healths[server] = ServerHealth(self._rule, now, up=up)
            self._up[server] = begun.up
        self._update(server)
        return begun

    def dismiss(self, server: int, *, forget: bool = False) -> None:
        """A server gets nothing more; `forget` ends its checks."""
        self._admitted[server] = False
        if forget:
            self.healths[server] = None
        self._update(server)

    def believe(self, server: int, up: bool) -> bool:
        """A server is up or down, as far as is known; returns whether it went down."""
        was, self._up[server] = self._up[server], up
        self._update(server)
        return was and not up

    def _update(self, server: int) -> None:
        wanted, has = self._admitted[server] and self._up[server], self.policy.is_up(server)
        if wanted and not has:
            self.policy.add(server)
        elif has and not wanted:
            self.policy.remove(server)
