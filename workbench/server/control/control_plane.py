"""Listens on the control plane's socket, with the routes of all subjects.

Notebooks, the command line and JupyterLab use this socket. It needs no token, because its folder
belongs to the user. A server of a fleet also listens on a TCP port, where every request needs the
control plane's own token. Each module below documents the routes of one subject and lists them in
`ROUTES`.
"""

from __future__ import annotations

import os
import socket
from collections.abc import Sequence
from typing import Any

import tornado.httpserver
import tornado.netutil
import tornado.web

from workbench.core.status import not_found
from workbench.processes.tokens import Token
from workbench.server.control import (
    engine_route,
    events_routes,
    memory_routes,
    models_routes,
    process_routes,
    pulse_route,
    traffic_routes,
    warmup_route,
)
from workbench.server.control.handling import Handler, Plane

_MODULES = (
    process_routes,
    models_routes,
    engine_route,
    pulse_route,
    warmup_route,
    traffic_routes,
    events_routes,
    memory_routes,
)


class _Unknown(Handler):
    def prepare(self) -> None:
        super().prepare()
        raise not_found(f"The control plane has no {self.request.path}")


class ControlPlane(Plane):
    """The control plane of one server."""

    def __init__(self, *parts: Any) -> None:
        super().__init__(*parts)
        self._servers: list[tornado.httpserver.HTTPServer] = []

    def start(self, path: str) -> None:
        """Listen on a socket file at `path`, readable and writable by its user alone."""
        # A killed server leaves its socket file behind; tornado removes it before it binds.
        before = os.umask(0o177)
        try:
            sock = tornado.netutil.bind_unix_socket(path, mode=0o600)
        finally:
            os.umask(before)
        self._serve([sock], None)

    def start_tcp(self, host: str, port: int, token: str) -> None:
        """Listen on a TCP port as well, which the supervisor has reserved. Every request must carry
        `token`, in the headers of the data plane."""
        self._serve(tornado.netutil.bind_sockets(port, host, reuse_port=True), Token(token))

    def _serve(self, sockets: Sequence[socket.socket], token: Token | None) -> None:
        kept = {"plane": self, "token": token}
        application = tornado.web.Application(
            [(pattern, handler, kept) for m in _MODULES for pattern, handler in m.ROUTES],
            default_handler_class=_Unknown,
            default_handler_args=kept,
            log_function=lambda handler: None,
        )
        server = tornado.httpserver.HTTPServer(application)
        server.add_sockets(sockets)
        self._servers.append(server)

    async def stop(self) -> None:
        """Stop listening, and close all connections."""
        for server in self._servers:
            server.stop()
            await server.close_all_connections()
