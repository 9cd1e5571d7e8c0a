"""A real server process with TensorFlow Serving's test models and some of ours in it."""

from __future__ import annotations

import http.client
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import urlsplit

from workbench.client import serve
from workbench.client.control import model_path
from workbench.client.server import Server

UPSTREAM = Path(__file__).parents[3] / "shared" / "tfserving" / "testdata"
"""TensorFlow Serving's own test models: beside the repository, where they are there at all."""
_SECONDS = 60.0
_OURS = ("text", "multi", "lookup", "identity")


class Answer(NamedTuple):
    status: int
    reason: str
    headers: Mapping[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)

    @property
    def error(self) -> str:
        assert list(self.json) == ["error"]
        return str(self.json["error"])


class Process:
    """The server, and one way to ask it."""

    def __init__(self, models: Path, folder: Path) -> None:
        self.server: Server = serve(
            str(UPSTREAM / "saved_model_half_plus_two_cpu"), "default", token=None
        )
        self._port = urlsplit(self.server.address).port
        everything = {"all": True}
        self.add("counter", UPSTREAM / "saved_model_counter")
        self.add(
            "two", UPSTREAM / "saved_model_half_plus_two_2_versions", version_policy=everything,
            labels={"stable": 123, "canary": 124, "gone": 5},
        )  # fmt: skip
        self.add("tf2", UPSTREAM / "saved_model_half_plus_two_tf2_cpu")
        self.add("three", UPSTREAM / "saved_model_half_plus_three")
        self.add("matrix", UPSTREAM / "matrix_half_plus_two")
        self.add("bad", UPSTREAM / "bad_half_plus_two")
        for name in _OURS:
            base = folder / name
            base.mkdir()
            (base / "1").symlink_to(models / name)
            self.add(name, base)

    def add(self, name: str, base: Path, **settings: Any) -> None:
        """Serve a model, and wait until each of its versions is loaded or has failed."""
        control = self.server._control
        control.request("PUT", model_path(name), {"name": name, "base_path": str(base), **settings})
        versions = [int(p.name) for p in base.iterdir()]
        control.request("POST", model_path(name, "poll"), {"complete": versions})
        for version in versions:
            about = control.request(
                "GET",
                model_path(name, "wait"),
                timeout=_SECONDS + 10,
                version=version,
                wait_seconds=_SECONDS,
            )
            assert about["done"], about

    def ask(
        self, method: str, target: str, body: Any = None, headers: Mapping[str, str] | None = None
    ) -> Answer:
        """One request; `body` is sent as JSON unless it is text or bytes."""
        if body is not None and not isinstance(body, (str, bytes)):
            body = json.dumps(body)
        if isinstance(body, str):
            body = body.encode()
        connection = http.client.HTTPConnection("127.0.0.1", self._port, timeout=_SECONDS)
        try:
            connection.request(method, target, body, dict(headers or {}))
            response = connection.getresponse()
            return Answer(
                response.status, response.reason, dict(response.getheaders()), response.read()
            )
        finally:
            connection.close()

    def predict(self, model: str, body: Any) -> Answer:
        return self.ask("POST", f"/v1/models/{model}:predict", body)

    def close(self) -> None:
        self.server.stop()
