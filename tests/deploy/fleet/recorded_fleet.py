"""A fleet that was recorded once on three real Ray nodes, and answers again as it did then.

`specimens/` has what the head, the balancers and the servers answered at some moments of one run:
version 2 was rolled out under load, version 3, which cannot be loaded, was taken back, a third
server was added, a node was killed. Here the same answers come from the same kinds of addresses
over HTTP, so what asks a fleet can be tested without Ray.
"""

from __future__ import annotations

import json
import random
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from workbench.deploy.display import fleet_state
from workbench.deploy.fleet import fleet_servers
from workbench.deploy.fleet.fleet_record import FleetRecord
from workbench.deploy.remote import ray_head
from workbench.facade import notebook_fleet

SPECIMENS = Path(__file__).parent / "specimens"
SECRET = "5" * 64
AGENT_PORT, HEAD_PORT = 8503, 8265
_RECORDED = "10.0.0."
_EPOCH_SECONDS = 1.7e9


def recorded(moment: str) -> dict[str, Any]:
    """What was answered at a moment."""
    found: dict[str, Any] = json.loads((SPECIMENS / f"fleet_{moment}.json").read_text())
    return found


def recorded_now(moment: str) -> dict[str, Any]:
    """The same answers, as if the moment were now: for readers in another process."""
    data = recorded(moment)
    moved: dict[str, Any] = _moved(data, time.time() - data["wall"])
    return moved


def _moved(data: Any, seconds: float) -> Any:
    if isinstance(data, dict):
        return {name: _moved(each, seconds) for name, each in data.items()}
    if isinstance(data, list):
        return [_moved(each, seconds) for each in data]
    # Nothing else in an answer is as large as the time of the day.
    return data + seconds if isinstance(data, float) and data > _EPOCH_SECONDS else data


class RecordedFleet:
    """HTTP servers at addresses of this machine that give the recorded answers.

    Attributes:
        wall: when they were recorded, in seconds since the epoch.
        record: of a fleet with these addresses.
    """

    def __init__(self, data: Mapping[str, Any], network: str) -> None:
        data = json.loads(json.dumps(data).replace(_RECORDED, network))
        self.network = network
        self.wall: float = data["wall"]
        self._listening: dict[str, ThreadingHTTPServer] = {}
        self.hosts = sorted(data["balancers"])
        self.record = FleetRecord(
            "shop", f"http://{network}2:{HEAD_PORT}", "token", SECRET, tuple(self.hosts)
        )
        self._listen("head", f"{network}2", HEAD_PORT, "token", data["head"])
        control = self.record.tokens.control
        found: dict[str, Any] = {}
        for host, answers in data["balancers"].items():
            self._listen(host, host, AGENT_PORT, control, answers)
            found |= {each["server"]: each for each in answers["/servers"]["servers"]}
        for name, answers in data["servers"].items():
            about = found[name]
            self._listen(name, about["host"], about["control_port"], control, answers)

    def _listen(
        self, name: str, host: str, port: int, token: str, answers: Mapping[str, Any]
    ) -> None:
        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                path = self.path.partition("?")[0]
                good = self.headers["Authorization"] == f"Bearer {token}"
                body = json.dumps(answers.get(path) if good else {}).encode()
                self.send_response(200 if good and path in answers else 401 if not good else 404)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_: Any) -> None:
                pass

        server = ThreadingHTTPServer((host, port), Handler)
        threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
        self._listening[name] = server

    def fail(self, name: str) -> None:
        """Let the head (``"head"``), the balancer of a host, or a server answer nothing."""
        server = self._listening.pop(name)
        server.shutdown()
        server.server_close()

    def close(self) -> None:
        """Let all of them answer nothing."""
        for name in list(self._listening):
            self.fail(name)


@contextmanager
def recorded_fleet(
    data: str | Mapping[str, Any], network: str | None = None
) -> Iterator[RecordedFleet]:
    """The fleet at a moment.

    Args:
        data: the moment's name, or what was answered then.
        network: the first three numbers of the addresses; by default any.
    """
    source = random.SystemRandom()
    network = network or f"127.{source.randint(1, 254)}.{source.randint(1, 254)}."
    fleet = RecordedFleet(recorded(data) if isinstance(data, str) else data, network)
    try:
        yield fleet
    finally:
        fleet.close()


class Clock:
    """Stands for the module `time` where a recorded fleet is asked: now is when it was recorded,
    and `later` seconds."""

    strftime, localtime = staticmethod(time.strftime), staticmethod(time.localtime)
    monotonic = staticmethod(time.monotonic)

    def __init__(self, wall: float) -> None:
        self._wall = wall
        self.later = 0.0

    def time(self) -> float:
        """Seconds since the epoch."""
        return self._wall + self.later


@contextmanager
def recorded_time(wall: float) -> Iterator[Clock]:
    """Now is when a fleet was recorded, for all who ask it."""
    clock = Clock(wall)
    with pytest.MonkeyPatch.context() as patch:
        for module in (fleet_servers, fleet_state, notebook_fleet, ray_head):
            patch.setattr(module, "time", clock)
        yield clock
