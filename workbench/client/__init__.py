"""What a notebook or a script holds: serve(), connect(), servers(), Server."""

from workbench.client.serve import connect, serve, servers
from workbench.client.server import Server

__all__ = ["Server", "connect", "serve", "servers"]
