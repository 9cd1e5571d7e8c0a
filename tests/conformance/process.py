"""A real `workbench model-server` with TensorFlow Serving's test models and some of ours in it."""

from __future__ import annotations

import http.client
import json
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from tests.conformance.model_server import ModelServer, config_text, entry, put
from tests.shared import SHARED
from workbench.facade import Server, connect

UPSTREAM = SHARED / "tfserving" / "testdata"
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


def ask(
    port: int,
    method: str,
    target: str,
    body: Any = None,
    headers: Mapping[str, str] | None = None,
) -> Answer:
    """One request to a REST port; `body` is sent as JSON unless it is text or bytes."""
    if body is not None and not isinstance(body, (str, bytes)):
        body = json.dumps(body)
    if isinstance(body, str):
        body = body.encode()
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=_SECONDS)
    try:
        connection.request(method, target, body, dict(headers or {}))
        response = connection.getresponse()
        return Answer(
            response.status, response.reason, dict(response.getheaders()), response.read()
        )
    finally:
        connection.close()


class Process:
    """The server, and one way to ask it."""

    def __init__(self, models: Path, folder: Path) -> None:
        configured = [
            entry("default", UPSTREAM / "saved_model_half_plus_two_cpu"),
            entry("counter", UPSTREAM / "saved_model_counter"),
            entry(
                "two",
                UPSTREAM / "saved_model_half_plus_two_2_versions",
                "model_version_policy { all {} }"
                + "".join(
                    f' version_labels {{ key: "{label}" value: {version} }}'
                    for label, version in {"stable": 123, "canary": 124, "gone": 5}.items()
                ),
            ),
            entry("tf2", UPSTREAM / "saved_model_half_plus_two_tf2_cpu"),
            entry("three", UPSTREAM / "saved_model_half_plus_three"),
            entry("matrix", UPSTREAM / "matrix_half_plus_two"),
        ]
        for name in _OURS:
            put(models / name, folder / name, 1)
            configured.append(entry(name, folder / name))
        config = folder / "models.config"
        config.write_text(config_text(*configured))
        self.model_server = ModelServer(
            folder,
            f"--model_config_file={config}",
            # Label "gone" names a version that is not there.
            "--allow_version_labels_for_unavailable_models",
        )
        try:
            self.model_server.wait_for("Exporting HTTP/REST API at")
            # One that cannot be loaded would have ended the process at its start.
            self.server: Server = connect()
            self.add("bad", UPSTREAM / "bad_half_plus_two")
        except BaseException:
            self.close()
            raise
        self._port = self.model_server.rest_port

    def add(self, name: str, base: Path, **settings: Any) -> None:
        """Serve a model, and wait until each of its versions is loaded or has failed."""
        control = self.server.control
        control.put_model(name, {"name": name, "base_path": str(base), **settings})
        versions = [int(p.name) for p in base.iterdir()]
        control.poll(name, versions)
        for version in versions:
            about = control.wait(name, _SECONDS, version=version)
            assert about["done"], about

    def ask(
        self, method: str, target: str, body: Any = None, headers: Mapping[str, str] | None = None
    ) -> Answer:
        """One request; `body` is sent as JSON unless it is text or bytes."""
        return ask(self._port, method, target, body, headers)

    def _is_gone(self, name: str) -> bool:
        """Versions of a model that was removed are told as ended."""
        answer = self.ask("GET", f"/v1/models/{name}")
        if answer.status == 404:
            return True
        return all(v["state"] == "END" for v in answer.json["model_version_status"])

    def remove(self, name: str) -> None:
        """Unload a model, and wait until it is gone."""
        self.server.control.delete_model(name)
        end = time.monotonic() + _SECONDS
        while not self._is_gone(name):
            assert time.monotonic() < end, f"{name} is still there"
            time.sleep(0.02)

    def predict(self, model: str, body: Any) -> Answer:
        return self.ask("POST", f"/v1/models/{model}:predict", body)

    def close(self) -> None:
        self.model_server.stop()
