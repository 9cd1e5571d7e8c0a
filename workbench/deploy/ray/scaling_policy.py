"""The number of servers of a fleet, decided from what the servers report themselves.

No request passes Ray, so Ray's own counts of requests are always zero.
"""

from __future__ import annotations

import time
from typing import Any

from workbench.core.fleet.autoscaling import FleetLoad, ScalingRule, ScalingState, decide


class ScalingPolicy:
    """Called by Ray Serve's controller again and again; see `core.fleet.autoscaling`.

    Args:
        rule: a `ScalingRule` as plain data.
    """

    def __init__(self, rule: dict[str, Any]) -> None:
        self._rule = ScalingRule.from_json(rule)

    def __call__(self, context: Any) -> tuple[int, dict[str, Any]]:
        """The number of servers wanted, and the state that Serve keeps until the next call."""
        kept = context.policy_state or {}
        state = (
            ScalingState.from_json(kept["scaling"])
            if "scaling" in kept
            else ScalingState(context.target_num_replicas)
        )
        running = len(context.running_replicas)
        metrics = context.aggregated_metrics
        load = FleetLoad(
            running,
            max(context.target_num_replicas - running, 0),
            _sum(metrics, "queued"),
            _sum(metrics, "rate"),
            _sum(metrics, "rejected"),
        )
        wanted, state = decide(self._rule, state, time.monotonic(), load)
        return wanted, {"scaling": state.to_json()}


def _sum(metrics: dict[str, dict[Any, float]], name: str) -> float:
    return float(sum((metrics or {}).get(name, {}).values()))
