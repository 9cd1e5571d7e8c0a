"""A replica that owns one workbench server and makes it follow the fleet's orders."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping
from typing import Any

import ray
from ray import serve

from workbench.core.status import ServingError
from workbench.deploy.fleet.fleet_orders import Orders
from workbench.deploy.node.fleet_secret import tokens_here
from workbench.deploy.node.owned_server import OwnedServer

_LEAVE_SECONDS = 1.5
"""The balancers take as long to notice that a server is not listed any more."""


class ServerReplica:
    """One server of a fleet. Serve calls its methods; no request of the fleet passes it.

    A server's name has the first letters of the replica's identity, which is new for each start.
    """

    def __init__(self, fleet: str, secret: str | None = None) -> None:
        identity = serve.get_replica_context().replica_id.unique_id
        self._tokens = tokens_here(fleet, secret)
        self._node = ray.util.get_node_ip_address()
        self._name = f"{fleet}-{identity}"
        self._server: OwnedServer | None = None
        self._orders: Orders | None = None
        self._following: asyncio.Task[None] | None = None
        self._began = time.time()
        self._revision = 0
        self._serves: dict[str, list[int]] = {}
        self._refused: int | None = None
        self._error = ""
        self._last: dict[str, float] | None = None
        self._last_at = 0.0

    async def reconfigure(self, user_config: Mapping[str, Any]) -> None:
        """Take new orders. The first time, this returns when the server serves. Later it returns at
        once, and the server changes while Serve counts it as running: the rollout, not Serve,
        decides how many change at the same time.

        Raises:
            RuntimeError: the server cannot serve at all; Serve starts it again elsewhere.
        """
        self._orders = Orders.from_json(user_config)
        if self._revision == 0:
            await self._begin()
        elif self._following is None or self._following.done():
            self._following = asyncio.get_running_loop().create_task(self._follow())

    async def _begin(self) -> None:
        assert self._orders is not None
        revision, plan = self._orders.of(self._name)
        try:
            self._server = await asyncio.to_thread(
                OwnedServer, self._name, self._node, self._tokens, plan.options
            )
            await asyncio.to_thread(self._server.follow, plan)
        except ServingError as error:
            await self._stop()
            raise RuntimeError(f"{error.code.name}: {error}") from error
        self._revision, self._serves = revision, plan.versions

    async def _follow(self) -> None:
        """Follow the orders, also those that come meanwhile. If the server cannot, it keeps what it
        had and reports the reason."""
        while self._orders is not None and self._server is not None:
            revision, plan = self._orders.of(self._name)
            if revision == self._revision:
                # A change that this server refused has been taken back.
                self._refused, self._error = None, ""
                return
            if revision == self._refused:
                return

            def abandoned(wanted: int = revision) -> bool:
                return self._orders is not None and self._orders.of(self._name)[0] != wanted

            try:
                await asyncio.to_thread(self._server.follow, plan, abandoned=abandoned)
            except ServingError as error:
                self._refused, self._error = revision, f"{error.code.name}: {error}"
            except Exception as error:
                self._refused, self._error = revision, f"INTERNAL: {error!r}"
            else:
                self._revision, self._serves = revision, plan.versions
                self._refused, self._error = None, ""

    async def check_health(self) -> None:
        """Raises RuntimeError if the server has ended for good; a server process that died is
        replaced by its supervisor."""
        if self._server is not None and not self._server.supervised:
            raise RuntimeError(f"The supervisor of server {self._name} has ended")

    async def report(self) -> dict[str, Any]:
        """Where the server is, and what it has made of its orders."""
        if self._server is None or self._revision == 0:
            return {}
        return {
            **vars(self._server.address),
            "node": self._node,
            "began": self._began,
            "revision": self._revision,
            "serves": self._serves,
            "refused": self._refused,
            "error": self._error,
        }

    async def record_autoscaling_stats(self) -> dict[str, float]:
        """The rates since the last call, in requests per second, and the requests that wait now."""
        if self._server is None:
            return {}
        counts = await asyncio.to_thread(self._server.counts)
        now, before, since = time.monotonic(), self._last, self._last_at
        self._last, self._last_at = counts, now
        if before is None or now <= since:
            return {"queued": counts["queued"], "rate": 0.0, "rejected": 0.0}
        done = sum(counts[kind] - before[kind] for kind in ("answered", "failed"))
        rejected = counts["rejected"] - before["rejected"]
        seconds = now - since
        # A new version counts from zero.
        return {
            "queued": counts["queued"],
            "rate": max(done, 0.0) / seconds,
            "rejected": max(rejected, 0.0) / seconds,
        }

    async def __del__(self) -> None:
        # Serve does not list this replica any more; the balancers notice, and send nothing more.
        await asyncio.sleep(_LEAVE_SECONDS)
        await self._stop()

    async def _stop(self) -> None:
        server, self._server = self._server, None
        if server is not None:
            await asyncio.to_thread(server.stop)
