"""Talking to a server's control plane: JSON over its unix socket."""

from __future__ import annotations

import http.client
import socket
import threading
from collections.abc import Mapping
from typing import Any
from urllib.parse import quote, urlencode

import orjson

from workbench.core.status import ServingError, unavailable
from workbench.processes import registry

_TIMEOUT_SECONDS = 30.0


class _UnixConnection(http.client.HTTPConnection):
    def __init__(self, path: str, timeout: float) -> None:
        super().__init__("localhost", timeout=timeout)
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(self.timeout)
        self.sock.connect(self._path)


class ControlClient:
    """One server's control plane, by the server's name; follows it over restarts."""

    def __init__(self, name: str) -> None:
        self.name = name
        self._lock = threading.Lock()

    def entry(self) -> registry.Entry:
        """Where the server is now; raises NOT_FOUND where it has ended."""
        return registry.find(self.name)

    def request(
        self,
        method: str,
        path: str,
        body: Mapping[str, Any] | None = None,
        timeout: float = _TIMEOUT_SECONDS,
        **query: Any,
    ) -> Any:
        """Ask, and return the answer's JSON.

        Raises:
            ServingError: what the server refused with; NOT_FOUND, it has ended; UNAVAILABLE, it
                does not answer now.
        """
        entry = self.entry()
        url = path + ("?" + urlencode(query) if query else "")
        connection = _UnixConnection(entry.socket, timeout)
        try:
            connection.request(method, url, None if body is None else orjson.dumps(body))
            response = connection.getresponse()
            data = orjson.loads(response.read() or b"{}")
        except (OSError, http.client.HTTPException, ValueError) as error:
            raise self._unreachable(entry, error) from error
        finally:
            connection.close()
        if response.status >= 400:
            raise ServingError.from_json(data)
        return data

    def _unreachable(self, entry: registry.Entry, error: Exception) -> ServingError:
        # What is wrong may have been found out since.
        entry = registry.read(self.name) or entry
        why = entry.trouble or f"{error}. If it was killed it is back within some seconds."
        return unavailable(f"Server {self.name!r} (pid {entry.server.pid}) does not answer: {why}")


def model_path(model: str, *rest: str) -> str:
    return "/".join(["/models", quote(model, safe=""), *rest])
