"""Carries out a rollout: asks the servers, decides, and writes the next orders.

`core.fleet.rollout` decides. The orders are declared to the engine before anything else happens, so
if this process ends in the middle, the fleet stays as it is at that moment, and `resume` or
`take_back` goes on from there.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

from workbench.core.fleet.rollout import (
    Change,
    Finish,
    GoBack,
    Looked,
    RolloutRule,
    RolloutState,
    begin,
    decide,
)
from workbench.core.status import Code, ServingError, failed_precondition
from workbench.deploy.fleet.fleet_orders import Orders
from workbench.deploy.fleet.fleet_servers import FleetServers
from workbench.deploy.fleet.serve_config import read_application, servers_name
from workbench.deploy.plan.plan import Plan

_PAUSE_SECONDS = 0.25
_BACK_SECONDS = 600.0
_NO_ANSWER_SECONDS = 120.0

Note = Callable[[str], None]


class Rolling:
    """The orders of a fleet, and their changes.

    Args:
        note: called with a line for each step.
    """

    def __init__(self, servers: FleetServers, note: Note = lambda line: None) -> None:
        self._servers = servers
        self._note = note
        self._name = servers_name(servers.record.name)

    def read(self) -> tuple[Orders, Mapping[str, Any]]:
        """The orders that are declared, and the whole application."""
        app = self._servers.read_application()
        orders, _ = read_application(app, self._servers.record.name)
        return orders, app["deployed_app_config"]

    def write(self, orders: Orders, **deployment: Any) -> None:
        """Declare orders, and changes of the deployment of servers with them."""
        _, app = self.read()
        old = app["deployments"][0]
        changed = {**old, **deployment, "user_config": orders.to_json()}
        changed = {name: value for name, value in changed.items() if value is not None}
        self._servers.head.deploy({self._name: {**app, "deployments": [changed]}})

    def roll(self, plan: Plan, rule: RolloutRule, what: str) -> Orders:
        """Bring a plan to all servers, one first.

        Args:
            what: the change in a phrase, for the log.

        Raises:
            ServingError: ABORTED, it was taken back, with the reason; FAILED_PRECONDITION, another
                rollout has not ended.
        """
        orders, _ = self.read()
        if orders.next is not None:
            raise failed_precondition(
                f"Revision {orders.next.revision} of fleet {plan.name!r} has reached "
                f"{len(orders.next.servers)} servers, and its rollout has not ended: resume it, or "
                "take it back"
            )
        reports = self._servers.reports()
        orders = orders.prepared(plan)
        assert orders.next is not None
        revision = orders.next.revision
        orders = orders.noted(
            time.time(), "rollout_began", revision=revision, what=what, look_s=rule.look_s
        )
        self.write(orders)
        self._note(f"revision {revision}: {what}")
        return self._go_on(orders, rule, begin(revision, time.monotonic(), reports))

    def resume(self, rule: RolloutRule) -> Orders:
        """Go on with a rollout that was broken off.

        Raises:
            ServingError: FAILED_PRECONDITION, there is none; ABORTED, as `roll`.
        """
        orders, _ = self.read()
        if orders.next is None:
            raise failed_precondition("No rollout was broken off, so there is nothing to resume")
        state = begin(orders.next.revision, time.monotonic(), self._servers.reports())
        state = replace(state, ordered=orders.next.servers)
        return self._go_on(orders, rule, state)

    def take_back(self, reason: str) -> Orders:
        """Order all servers back to the plan before a rollout that has not ended, and wait until
        they serve it."""
        orders, _ = self.read()
        if orders.next is None:
            raise failed_precondition("No rollout was broken off, so there is nothing to take back")
        return self._back(orders, reason)

    def _go_on(self, orders: Orders, rule: RolloutRule, state: RolloutState) -> Orders:
        answered_at = time.monotonic()
        while True:
            try:
                action, state = decide(rule, state, time.monotonic(), self._servers.reports())
                orders, ended = self._act(action, orders, state)
                answered_at = time.monotonic()
            except ServingError as error:
                # The head or a balancer may be away for a while; the servers are not.
                if error.code is not Code.UNAVAILABLE or (
                    time.monotonic() - answered_at > _NO_ANSWER_SECONDS
                ):
                    raise
                ended = False
            if ended:
                return orders
            time.sleep(_PAUSE_SECONDS)

    def _act(self, action: Any, orders: Orders, state: RolloutState) -> tuple[Orders, bool]:
        now, revision = time.time(), state.target
        match action:
            case Change(servers):
                orders = orders.ordered(state.ordered)
                orders = orders.noted(now, "rollout_step", revision=revision, servers=list(servers))
                self.write(orders)
                self._note(f"revision {revision}: changing {', '.join(servers)}")
            case Looked(finding):
                orders = orders.noted(now, "rollout_looked", revision=revision, finding=finding)
                self._note(f"revision {revision}: {finding}")
            case GoBack(reason):
                self._back(orders, reason)
                raise ServingError(
                    Code.ABORTED,
                    f"Revision {revision} was taken back from all servers: {reason}",
                )
            case Finish():
                orders = orders.finished()
                orders = orders.noted(now, "rollout_finished", revision=revision)
                self.write(orders)
                self._note(f"revision {revision}: all servers have it")
                return orders, True
        return orders, False

    def _back(self, orders: Orders, reason: str) -> Orders:
        assert orders.next is not None
        revision = orders.next.revision
        orders = orders.withdrawn()
        orders = orders.noted(time.time(), "rollout_taken_back", revision=revision, reason=reason)
        self.write(orders)
        self._note(f"revision {revision}: taken back, because {reason}")
        self.wait_for(orders.revision, _BACK_SECONDS)
        return orders

    def wait_for(self, revision: int, seconds: float, count: int = 0) -> None:
        """Wait until all servers, and at least `count`, serve a revision.

        Raises:
            ServingError: DEADLINE_EXCEEDED, naming one that does not.
        """
        end = time.monotonic() + seconds
        while True:
            servers = self._servers.find(fresh=True)
            behind = [s.name for s in servers if s.revision != revision or s.refused is not None]
            if not behind and len(servers) >= count:
                return
            if time.monotonic() > end:
                late = behind[0] if behind else f"{count - len(servers)} of {count}"
                raise ServingError(
                    Code.DEADLINE_EXCEEDED,
                    f"Not all servers serve revision {revision} after {seconds:.0f} s: {late}",
                )
            time.sleep(_PAUSE_SECONDS)
