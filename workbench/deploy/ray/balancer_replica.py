"""A replica that owns one HAProxy and keeps its list of servers up to date."""

from __future__ import annotations

import asyncio
import contextlib
import math
import threading
import time
from collections.abc import Mapping
from typing import Any

import ray
from ray import serve

from workbench.core.status import ServingError
from workbench.deploy.balancer.balancer_process import BalancerProcess, free_threads
from workbench.deploy.balancer.haproxy_config import BalancerSettings
from workbench.deploy.balancer.server_history import ServerHistory
from workbench.deploy.fleet.serve_config import SERVER, servers_name
from workbench.deploy.node.fleet_secret import tokens_here
from workbench.deploy.ray.balancer_agent import BalancerAgent
from workbench.deploy.remote.remote_control import RemoteAddress

_LOOK_SECONDS = 0.25
_COUNT_SECONDS = 1.0
_ANSWER_SECONDS = 1.0
"""A node that died costs this much until Ray knows."""


class BalancerReplica:
    """One balancer of a fleet, on the address of its node.

    Args:
        args: `fleet`, the ports (`serve_config.Placement`), and the `secret`.
    """

    def __init__(self, args: Mapping[str, Any]) -> None:
        self._fleet = args["fleet"]
        node = ray.util.get_node_ip_address()
        settings = BalancerSettings(
            node,
            args["rest_port"],
            args["grpc_port"],
            args["metrics_port"],
            args["balance"],
            threads=free_threads(),
        )
        tokens = tokens_here(self._fleet, args.get("secret"))
        self._balancer = BalancerProcess(settings)
        self._balancer.start()
        self._ending = threading.Event()
        self._found: list[dict[str, Any]] = []
        self._history = ServerHistory()
        self._agent = BalancerAgent(
            node, args["agent_port"], tokens.control, self.describe, self._history.to_json
        )
        self._agent.start()
        self._looker = threading.Thread(target=self._look, name="servers", daemon=True)
        self._looker.start()

    def describe(self) -> dict[str, Any]:
        """The servers that it found last, and HAProxy's own counts."""
        counts: dict[str, Any] = {}
        with contextlib.suppress(ServingError):
            counts = {
                name: [each._asdict() for each in found]
                for name, found in self._balancer.statistics().items()
            }
        return {"servers": self._found, "counts": counts, "wall": time.time()}

    def _look(self) -> None:
        """Ask all servers where they are, again and again."""
        handle, counted_at = None, -math.inf
        while not self._ending.wait(_LOOK_SECONDS):
            if time.monotonic() - counted_at >= _COUNT_SECONDS:
                counted_at = time.monotonic()
                with contextlib.suppress(ServingError):
                    self._history.counted(time.time(), self._balancer.statistics())
            # The application of the servers may not be there yet, or may be deployed again.
            try:
                if handle is None:
                    handle = serve.get_deployment_handle(SERVER, servers_name(self._fleet))
                answers = handle.broadcast("report").results(
                    timeout_s=_ANSWER_SECONDS, return_exceptions=True
                )
            except Exception:
                handle = None
                continue
            found = [each for each in answers if isinstance(each, Mapping) and each]
            if found:
                self._found = [dict(each) for each in found]
                self._history.saw(time.time(), found)
            with contextlib.suppress(ServingError):
                self._balancer.update([RemoteAddress.from_json(each) for each in found])

    async def check_health(self) -> None:
        """Raises RuntimeError if HAProxy does not answer."""
        if not await asyncio.to_thread(lambda: self._balancer.alive):
            raise RuntimeError("HAProxy does not answer")

    def __del__(self) -> None:
        self._ending.set()
        self._agent.stop()
        self._balancer.stop()
