"""The HTTP server: accepts connections on httptools (llhttp), without a framework in between.

The server knows framing, limits and order; the handler knows what a request means. A handler is a
plain function `(Request, Reply) -> None` that returns at once. It calls `Reply.send` when the
answer is there, so thousands of requests wait in a batch queue without a task or a future each.
"""

from __future__ import annotations

import asyncio
import contextlib
import heapq
import socket
from email.utils import formatdate

from workbench.server.front.access import AccessPolicy
from workbench.server.front.admission import Admission
from workbench.server.front.http.client_limits import HttpLimits
from workbench.server.front.http.connection import Connection
from workbench.server.front.http.message import Handler


class HttpServer:
    """Serves `handler` on a listening socket. All of it belongs to one event loop's thread."""

    def __init__(
        self,
        handler: Handler,
        limits: HttpLimits | None = None,
        access: AccessPolicy | None = None,
    ) -> None:
        """
        Args:
            limits: those of one client.
            access: who may call.
        """
        self.handler = handler
        self.limits = limits or HttpLimits()
        self.access = access or AccessPolicy()
        self.admission = Admission()
        self.connections: set[Connection] = set()
        self.now = 0.0
        """The loop's time at the last sweep, from which connections measure their timeouts."""
        self.date_line = b""
        self.draining = False
        self._emptied = asyncio.Event()
        self._listener: asyncio.AbstractServer | None = None
        self._sweep_timer: asyncio.TimerHandle | None = None

    async def start(self, sock: socket.socket) -> None:
        """Serve on `sock`, which is bound; `stop` closes it."""
        self.loop = asyncio.get_running_loop()
        limits = self.limits
        shortest = min(limits.header_timeout_s, limits.body_idle_timeout_s, limits.keep_alive_s)
        self._sweep_every_s = min(1.0, shortest / 4)
        self._sweep()
        self._listener = await self.loop.create_server(
            lambda: Connection(self), sock=sock, backlog=1024
        )

    async def stop(self, drain_seconds: float) -> None:
        """Stop accepting, answer what is in progress for up to `drain_seconds`, then abort."""
        if self._listener is None:
            return
        self._listener.close()
        self._listener = None
        self.draining = True
        for connection in list(self.connections):
            connection.drain()
        await self._wait_until_empty(drain_seconds)
        for connection in list(self.connections):
            connection.abort()
        await self._wait_until_empty(1.0)
        if self._sweep_timer is not None:
            self._sweep_timer.cancel()

    async def _wait_until_empty(self, timeout_s: float) -> None:
        self._emptied.clear()
        if self.connections:
            with contextlib.suppress(asyncio.TimeoutError):
                await asyncio.wait_for(self._emptied.wait(), timeout_s)

    def forget(self, connection: Connection) -> None:
        """A connection has closed."""
        self.connections.discard(connection)
        if not self.connections:
            self._emptied.set()

    def make_room(self, newcomer: Connection) -> bool:
        """Close the connections that have been idle for longest, a hundredth of all at a time;
        whether there were any."""
        idle = [c for c in self.connections if c.is_idle and c is not newcomer]
        for connection in heapq.nsmallest(1 + len(idle) // 100, idle, key=lambda c: c.since):
            connection.abort()
        return bool(idle)

    def _sweep(self) -> None:
        """One timer for all connections, so that a request costs none."""
        self.now = self.loop.time()
        self.date_line = f"Date: {formatdate(usegmt=True)}\r\n".encode()
        for connection in list(self.connections):
            connection.sweep(self.now)
        self._sweep_timer = self.loop.call_later(self._sweep_every_s, self._sweep)
