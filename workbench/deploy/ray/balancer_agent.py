"""Answers, beside a balancer, who the servers of the fleet are. Only who operates the fleet may
ask: every request needs the token of the control plane.

GET /servers       the servers with their addresses and revisions, and HAProxy's counts
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from concurrent.futures import Future
from typing import Any

import orjson
import tornado.httpserver
import tornado.netutil
import tornado.web

from workbench.processes.tokens import TOKEN_HEADER, Token

_STOP_SECONDS = 2.0


class _Servers(tornado.web.RequestHandler):
    def initialize(self, describe: Callable[[], dict[str, Any]], token: Token) -> None:
        self._describe = describe
        self._token = token

    def prepare(self) -> None:
        found = (self.request.headers.get(name) for name in ("Authorization", TOKEN_HEADER))
        if not self._token.carried(*(None if t is None else t.encode("latin-1") for t in found)):
            raise tornado.web.HTTPError(401)

    async def get(self) -> None:
        data = await asyncio.to_thread(self._describe)
        self.set_header("Content-Type", "application/json")
        self.finish(orjson.dumps(data))


class BalancerAgent:
    """An HTTP server in a thread with an event loop of its own."""

    def __init__(
        self, host: str, port: int, token: str, describe: Callable[[], dict[str, Any]]
    ) -> None:
        self._address = host, port
        self._kept = {"describe": describe, "token": Token(token)}
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._run, name="agent", daemon=True)
        self._ready: Future[None] = Future()

    def start(self) -> None:
        """Listen; raises OSError if the port is in use."""
        self._thread.start()
        self._ready.result()

    def _run(self) -> None:
        asyncio.set_event_loop(self._loop)
        host, port = self._address
        application = tornado.web.Application(
            [("/servers", _Servers, self._kept)], log_function=lambda handler: None
        )
        try:
            server = tornado.httpserver.HTTPServer(application)
            server.add_sockets(tornado.netutil.bind_sockets(port, host))
        except BaseException as error:
            self._ready.set_exception(error)
            return
        self._ready.set_result(None)
        self._loop.run_forever()
        server.stop()
        self._loop.close()

    def stop(self) -> None:
        """Stop listening."""
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(_STOP_SECONDS)
