"""Listens on the control plane's socket, with the routes of all subjects.

Notebooks, the command line and JupyterLab use this socket. It needs no token, because its folder
belongs to the user. Each module below documents the routes of one subject and lists them in
`ROUTES`.
"""

from __future__ import annotations

import os

import tornado.httpserver
import tornado.netutil
import tornado.web

from workbench.core.status import not_found
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
        raise not_found(f"The control plane has no {self.request.path}")


class ControlPlane(Plane):
    """The control plane of one server."""

    _server: tornado.httpserver.HTTPServer | None = None

    def start(self, path: str) -> None:
        """Listen on a socket file at `path`, readable and writable by its user alone."""
        # A killed server leaves its socket file behind; tornado removes it before it binds.
        before = os.umask(0o177)
        try:
            sock = tornado.netutil.bind_unix_socket(path, mode=0o600)
        finally:
            os.umask(before)
        kept = {"plane": self}
        application = tornado.web.Application(
            [(pattern, handler, kept) for m in _MODULES for pattern, handler in m.ROUTES],
            default_handler_class=_Unknown,
            default_handler_args=kept,
            log_function=lambda handler: None,
        )
        self._server = tornado.httpserver.HTTPServer(application)
        self._server.add_socket(sock)

    async def stop(self) -> None:
        """Stop listening, and close all connections."""
        if self._server is not None:
            self._server.stop()
            await self._server.close_all_connections()
