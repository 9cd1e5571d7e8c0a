"""Answers, beside a balancer, who the servers of the fleet are. Only who operates the fleet may
ask: every request needs the token of the control plane.

GET /servers       the servers with their addresses and revisions, and HAProxy's counts
GET /history       the servers that there were, and the requests that each got (`ServerHistory`)
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


class _Answer(tornado.web.RequestHandler):
    def initialize(self, answer: Callable[[], dict[str, Any]], token: Token) -> None:
        self._answer = answer
        self._token = token

    def prepare(self) -> None:
        found = (self.request.headers.get(name) for name in ("Authorization", TOKEN_HEADER))
        if not self._token.carried(*(None if t is None else t.encode("latin-1") for t in found)):
            raise tornado.web.HTTPError(401)

    async def get(self) -> None:
        data = await asyncio.to_thread(self._answer)
        self.set_header("Content-Type", "application/json")
        self.finish(orjson.dumps(data))


class BalancerAgent:
    """An HTTP server in a thread with an event loop of its own.

    Args:
        servers, history: called for each request, for its answer.
    """

    def __init__(
        self,
        host: str,
        port: int,
        token: str,
        servers: Callable[[], dict[str, Any]],
        history: Callable[[], dict[str, Any]],
    ) -> None:
        self._address = host, port
        answers = {"/servers": servers, "/history": history}
        self._routes = [
            (path, _Answer, {"answer": answer, "token": Token(token)})
            for path, answer in answers.items()
        ]
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
        application = tornado.web.Application(self._routes, log_function=lambda handler: None)
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
