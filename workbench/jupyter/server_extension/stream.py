"""The WebSocket of live news: the list of servers, and what is new of the models a page looks at.

The page sends

    {"op": "watch", "value": true, "seconds": 2}     tell me of all servers (false: no more)
    {"op": "follow", "server": S, "model": M, "seconds": 0.25, "marks": {...} or null}
    {"op": "leave", "server": S, "model": M}

and gets `{"kind": "servers", "servers": [...]}` whenever something about them has changed,
`{"kind": "pulse", "server": S, "model": M, "pulse": {...}}` for each model that it follows (with
`fresh`: everything that the server remembers, whatever was told before),
`{"kind": "ended", ..., "state": ..., "text": ...}` where there is none, and `refused` for a message
that is not understood. A page that comes back gives the marks of the last pulse it had, and gets
what it has missed. Nothing is asked of any server while no page looks.
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
    Rooms,
    check_model,
    check_server,
)
from workbench.jupyter.server_extension.listing import Lister

_MOST_FOLLOWED = 64
_MESSAGE_BYTES = 16 * 1024
_SHORTEST_SECONDS, _LONGEST_SECONDS = 0.1, 60.0
_AGAIN_SECONDS = 1.0
# Where nothing has happened for a while a server is asked once a second, and the page is told every
# two that it is still so.
_QUIET_AFTER_SECONDS, _QUIET_ASK_SECONDS, _QUIET_TELL_SECONDS = 10.0, 1.0, 1.9
_ASK_SECONDS = 5.0


class Hub:
    """Tells all pages that watch of the servers; looks at these only while one does.

    Args:
        seconds: between two looks, at least; pages may be content with fewer.
    """

    def __init__(self, lister: Lister, seconds: float) -> None:
        self._lister = lister
        self._seconds = seconds
        self._pages: dict[StreamHandler, float] = {}
        self._poked = asyncio.Event()
        self._task: asyncio.Task[None] | None = None

    def add(self, page: StreamHandler, seconds: float) -> None:
        """Tell a page of the servers, every few seconds and when something has been done."""
        self._pages[page] = seconds
        if self._task is None:
            self._task = asyncio.get_running_loop().create_task(self._run())
        self._poked.set()

    def remove(self, page: StreamHandler) -> None:
        self._pages.pop(page, None)
        if not self._pages:
            self.close()

    def close(self) -> None:
        """Look no more."""
        if self._task is not None:
            self._task.cancel()
            self._task = None

    @property
    def busy(self) -> bool:
        """Whether it looks at the servers from time to time."""
        return self._task is not None

    async def look(self) -> None:
        """Something has been done: look now, and tell all pages."""
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
        allowed = self.authorizer.is_authorized(self, self.current_user, "read", RESOURCE)
        if not await ensure_async(allowed):
            raise web.HTTPError(403)
        await super().get(*args, **kwargs)

    @property
    def max_message_size(self) -> int:
        return _MESSAGE_BYTES

    def open(self, *args: str, **kwargs: str) -> None:
        super().open(*args, **kwargs)
        self._hub: Hub = self.settings["workbench_hub"]
        self._rooms: Rooms = self.settings["workbench_rooms"]
        self._lister: Lister = self.settings["workbench_lister"]
        self._followed: dict[tuple[str, str], asyncio.Task[None]] = {}
        self._told: list[dict[str, Any]] | None = None

    async def on_message(self, message: str | bytes) -> None:
        try:
            self._obey(message)
        except ServingError as error:
            await self.send({"kind": "refused", "code": error.code.name, "message": error.message})

    def on_close(self) -> None:
        super().on_close()
        self._hub.remove(self)
        for task in self._followed.values():
            task.cancel()
        self._followed.clear()

    async def send(self, data: Mapping[str, Any]) -> None:
        """Send, and wait until the page takes it: one that is slow is told less often."""
        try:
            await self.write_message(orjson.dumps(exact(data)).decode())
        except WebSocketClosedError:
            pass

    async def tell_servers(self, servers: list[dict[str, Any]]) -> None:
        """Send the list, unless it is what the page has."""
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
            key = check_server(asked.get("server")), check_model(str(asked.get("model", "")))
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
        """Send what is new of a model, again and again."""
        control = ControlClient(server, _ASK_SECONDS)
        about = {"server": server, "model": model}
        busy_at = told_at = time.monotonic()
        while True:
            try:
                news = await self._rooms.ask(control.pulse, model, marks or FIRST)
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
    """Whether anything has happened: an event, or a request."""
    return bool(news["events"]) or any(second[2] + second[3] > 0 for second in news["seconds"])


def _seconds(asked: Mapping[str, Any]) -> float:
    """How often a page wants to be told."""
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
