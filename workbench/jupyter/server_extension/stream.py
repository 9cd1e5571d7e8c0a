"""The WebSocket for live updates: the list of servers, and the changes of the models on a page.

The page sends

    {"op": "watch", "value": true, "seconds": 2}     send all servers (false: stop)
    {"op": "follow", "server": S, "model": M, "seconds": 0.25, "marks": {...} or null}
    {"op": "leave", "server": S, "model": M}

and gets `{"kind": "servers", "servers": [...]}` whenever something about them has changed,
`{"kind": "pulse", "server": S, "model": M, "pulse": {...}}` for each model that it follows (with
`fresh`: everything that the server remembers, whatever was sent before),
`{"kind": "ended", ..., "state": ..., "text": ...}` if there is no such model, and `refused` for a
message that cannot be read. A page that reconnects sends the marks of its last pulse, and gets what
it has missed. No server is polled while no page is open.
"""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import Mapping
from typing import Any

import orjson
from jupyter_core.utils import ensure_async
from jupyter_server.auth.decorator import ws_authenticated
from jupyter_server.base.handlers import JupyterHandler
from jupyter_server.base.websocket import WebSocketMixin
from tornado import web
from tornado.websocket import WebSocketClosedError, WebSocketHandler

from workbench.client.control_client import ControlClient
from workbench.client.display.exact_numbers import exact
from workbench.client.display.pulse import FIRST, backlog, marks_of
from workbench.core.status import Code, Reason, ServingError, invalid_argument
from workbench.jupyter.server_extension.base_handler import (
    RESOURCE,
    ThreadPools,
    check_model,
)
from workbench.jupyter.server_extension.listing import Lister
from workbench.jupyter.server_extension.route_answers import Server
from workbench.processes.paths import check_name

_MOST_FOLLOWED = 64
_MESSAGE_BYTES = 16 * 1024
_SHORTEST_SECONDS, _LONGEST_SECONDS = 0.1, 60.0
_AGAIN_SECONDS = 1.0
# If nothing has happened for a while, a server is polled once a second, and the page gets an update
# every two seconds.
_QUIET_AFTER_SECONDS, _QUIET_ASK_SECONDS, _QUIET_TELL_SECONDS = 10.0, 1.0, 1.9
_ASK_SECONDS = 5.0


class Hub:
    """Sends the list of servers to all pages that watch, and polls them only while one does.

    Args:
        seconds: the shortest time between two polls; a page may ask for a longer one.
    """

    def __init__(self, lister: Lister, seconds: float) -> None:
        self._lister = lister
        self._seconds = seconds
        self._pages: dict[StreamHandler, float] = {}
        self._poked = asyncio.Event()
        self._task: asyncio.Task[None] | None = None

    def add(self, page: StreamHandler, seconds: float) -> None:
        """Send a page the servers, every `seconds` and after each change."""
        self._pages[page] = seconds
        if self._task is None:
            self._task = asyncio.get_running_loop().create_task(self._run())
        self._poked.set()

    def remove(self, page: StreamHandler) -> None:
        """Send a page no more; without pages, polling stops."""
        self._pages.pop(page, None)
        if not self._pages:
            self.close()

    def close(self) -> None:
        """Stop polling."""
        if self._task is not None:
            self._task.cancel()
            self._task = None

    async def look(self) -> None:
        """Poll now, and send all pages the servers."""
        servers = await self._lister.look()
        for page in list(self._pages):
            await page.tell_servers(servers)

    async def _run(self) -> None:
        while True:
            self._poked.clear()
            await self.look()
            try:
                pause = max(self._seconds, min(self._pages.values(), default=self._seconds))
                await asyncio.wait_for(self._poked.wait(), pause)
            except asyncio.TimeoutError:
                pass


class StreamHandler(WebSocketMixin, WebSocketHandler, JupyterHandler):  # type: ignore[misc]
    """One page's connection."""

    auth_resource = RESOURCE

    @ws_authenticated
    async def get(self, *args: Any, **kwargs: Any) -> None:
        """Open the connection; 403 for a user who may not read these routes."""
        allowed = self.authorizer.is_authorized(self, self.current_user, "read", RESOURCE)
        if not await ensure_async(allowed):
            raise web.HTTPError(403)
        await super().get(*args, **kwargs)

    @property
    def max_message_size(self) -> int:
        """In bytes."""
        return _MESSAGE_BYTES

    def open(self, *args: str, **kwargs: str) -> None:
        """Begin without any subscription."""
        super().open(*args, **kwargs)
        self._hub: Hub = self.settings["workbench_hub"]
        self._pools: ThreadPools = self.settings["workbench_pools"]
        self._lister: Lister = self.settings["workbench_lister"]
        self._followed: dict[tuple[str, str], asyncio.Task[None]] = {}
        self._told: list[Server] | None = None

    async def on_message(self, message: str | bytes) -> None:
        """Obey a message of the page, or refuse it."""
        try:
            self._obey(message)
        except ServingError as error:
            await self.send({"kind": "refused", "code": error.code.name, "message": error.message})

    def on_close(self) -> None:
        """End all subscriptions of the page."""
        super().on_close()
        self._hub.remove(self)
        for task in self._followed.values():
            task.cancel()
        self._followed.clear()

    async def send(self, data: Mapping[str, Any]) -> None:
        """Send, and wait until the page takes it: a slow page gets fewer updates."""
        try:
            await self.write_message(orjson.dumps(exact(data)).decode())
        except WebSocketClosedError:
            pass

    async def tell_servers(self, servers: list[Server]) -> None:
        """Send the list, unless the page has it already."""
        if servers != self._told:
            self._told = servers
            await self.send({"kind": "servers", "servers": servers})

    def _obey(self, message: str | bytes) -> None:
        try:
            asked = orjson.loads(message)
        except ValueError as error:
            raise invalid_argument(f"The message is not JSON: {error}") from error
        op = asked.get("op") if isinstance(asked, dict) else None
        if op == "watch":
            self._told = None
            if asked.get("value") is True:
                self._hub.add(self, _seconds(asked))
            else:
                self._hub.remove(self)
        elif op in ("follow", "leave"):
            key = check_name(asked.get("server")), check_model(str(asked.get("model", "")))
            task = self._followed.pop(key, None)
            if task is not None:
                task.cancel()
            if op == "follow":
                self._follow(key, asked)
        else:
            raise invalid_argument("The message's 'op' must be 'watch', 'follow' or 'leave'")

    def _follow(self, key: tuple[str, str], asked: Mapping[str, Any]) -> None:
        if len(self._followed) >= _MOST_FOLLOWED:
            raise invalid_argument(f"A page can follow {_MOST_FOLLOWED} models at a time")
        marks = asked.get("marks")
        if marks is not None:
            marks = _checked_marks(marks)
        pause = _seconds(asked)
        loop = asyncio.get_running_loop()
        self._followed[key] = loop.create_task(self._tell(*key, pause, marks))

    async def _tell(
        self, server: str, model: str, pause: float, marks: dict[str, float] | None
    ) -> None:
        """Send the changes of a model until the page leaves it."""
        control = ControlClient(server, _ASK_SECONDS)
        about = {"server": server, "model": model}
        busy_at = told_at = time.monotonic()
        while True:
            try:
                news = await self._pools.ask(control.pulse, model, marks or FIRST)
            except ServingError as error:
                marks = None
                await self.send({"kind": "ended", **about, **self._why(server, error)})
                await asyncio.sleep(_AGAIN_SECONDS)
                continue
            fresh = marks is None
            if fresh:
                news = backlog(news)
            now = time.monotonic()
            if fresh or _is_busy(news):
                busy_at = now
            quiet = now - busy_at > _QUIET_AFTER_SECONDS
            if not quiet or now - told_at > _QUIET_TELL_SECONDS:
                marks, told_at = marks_of(news), now
                await self.send({"kind": "pulse", **about, "fresh": fresh, "pulse": news})
            await asyncio.sleep(max(pause, _QUIET_ASK_SECONDS) if quiet else pause)

    def _why(self, server: str, error: ServingError) -> dict[str, str]:
        if self._lister.is_dead(server):
            return {"state": "dead", "text": "the server was killed"}
        if error.code is not Code.NOT_FOUND:
            return {"state": "unreachable", "text": "the server does not answer"}
        if error.reason is Reason.MODEL_UNKNOWN:
            return {"state": "gone", "text": "the server has no such model any more"}
        return {"state": "stopped", "text": "server stopped"}


def _is_busy(news: Mapping[str, Any]) -> bool:
    """Whether there was an event or a request."""
    return bool(news["events"]) or any(second[2] + second[3] > 0 for second in news["seconds"])


def _seconds(asked: Mapping[str, Any]) -> float:
    """The seconds between two updates that a page asks for."""
    seconds = asked.get("seconds", 1.0)
    if type(seconds) not in (int, float) or not math.isfinite(seconds):
        raise invalid_argument(f"'seconds' must be a number; was {seconds!r}")
    return min(max(float(seconds), _SHORTEST_SECONDS), _LONGEST_SECONDS)


def _checked_marks(marks: Any) -> dict[str, float]:
    if not isinstance(marks, dict) or set(marks) != set(FIRST):
        raise invalid_argument(f"'marks' must be an object of {', '.join(FIRST)}; was {marks!r}")
    for name, value in marks.items():
        if type(value) not in (int, float) or not 0 <= value < 2**53:
            raise invalid_argument(f"Mark {name!r} must be a number; was {value!r}")
    return marks
