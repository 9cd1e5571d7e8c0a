"""Commands to a running HAProxy, over its runtime socket."""

from __future__ import annotations

import csv
import io
import socket
from typing import Any, NamedTuple

from workbench.core.status import ServingError, unavailable

_SECONDS = 2.0
_DONE = ("", "no need to change", "changed")


class ServerStatistics(NamedTuple):
    """One server of one backend, as HAProxy counts it since its start.

    Attributes:
        status: HAProxy's word, such as ``UP``, ``DOWN``, ``DRAIN`` or ``MAINT``.
        outstanding: requests that it answers now.
        requests, failed: requests sent to it; those that got an error (5xx or none at all).
        retries: requests that were sent again after it failed.
    """

    backend: str
    slot: str
    status: str
    outstanding: int
    requests: int
    failed: int
    retries: int


class HaproxySocket:
    """The runtime socket at a path.

    Every method raises ServingError: UNAVAILABLE, HAProxy does not answer or refuses.
    """

    def __init__(self, path: str) -> None:
        self._path = path

    def command(self, text: str) -> str:
        """Send one command, and return the answer."""
        try:
            with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as sock:
                sock.settimeout(_SECONDS)
                sock.connect(self._path)
                sock.sendall(f"{text}\n".encode())
                answer = b"".join(iter(lambda: sock.recv(65536), b""))
        except OSError as error:
            raise unavailable(f"HAProxy does not answer {text.split()[0]!r}: {error}") from error
        return answer.decode(errors="replace").strip()

    def set(self, text: str) -> None:
        """Send one command that changes something."""
        answer = self.command(f"set server {text}")
        if not any(answer == done or (done and done in answer) for done in _DONE):
            raise unavailable(f"HAProxy refuses 'set server {text}': {answer}")

    def statistics(self) -> list[ServerStatistics]:
        """All servers of all backends, those of empty slots left out."""
        # The first line begins with "# ".
        rows = csv.DictReader(io.StringIO(self.command("show stat -1 4 -1").removeprefix("# ")))
        return [_statistics(row) for row in rows if not row["status"].startswith("MAINT")]

    def answers(self) -> bool:
        """Whether HAProxy runs and takes commands."""
        try:
            return "Uptime" in self.command("show info")
        except ServingError:
            return False


def _statistics(row: dict[str, Any]) -> ServerStatistics:
    def count(*names: str) -> int:
        return sum(int(row.get(name) or 0) for name in names)

    return ServerStatistics(
        row["pxname"],
        row["svname"],
        row["status"].split()[0],
        count("scur"),
        count("stot"),
        count("hrsp_5xx", "eresp"),
        count("wretr", "wredis"),
    )
