"""A real server whose models are replaced again and again by reload requests."""

from __future__ import annotations

import json
import shutil
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from tests.conformance.grpc_client import GrpcClient
from tests.conformance.model_server import ModelServer, config_text, entry, put

_SECONDS = 60.0
Version = tuple[int, str, str, str]
"""Number, state, and code and text of what went wrong."""


class Reloading:
    """The server; models that it starts with stay, whatever is reloaded.

    Attributes:
        folder: where it lies, and a fresh folder for each model of a test.
        started: what it printed before its ports were open.
    """

    def __init__(self, models: Path, folder: Path, client: GrpcClient) -> None:
        self._models = models
        self.folder = folder
        self._client = client
        self._stay = self._first_models()
        config = folder / "models.config"
        config.write_text(config_text(*self._stay))
        self.server = ModelServer(
            folder,
            f"--model_config_file={config}",
            "--retry_all_load_errors",
            "--max_num_load_retries=100000",
            "--load_retry_interval_micros=20000",
        )
        self.server.wait_for("Exporting HTTP/REST API at")
        self.started = self.server.output

    def _first_models(self) -> list[str]:
        """What a folder's names mean, and which of the versions found are aspired."""
        base = self.folder
        self.put("half_plus_two", "twice", 2)
        (base / "twice" / "2").rename(base / "twice" / "01")
        self.put("half_plus_three", "twice", 1)
        for number, name in ((3, "+3"), (4, " 4"), (5, "5.tmp"), (6, "v6"), (7, "0000007")):
            self.put("half_plus_two", "names", number)
            (base / "names" / str(number)).rename(base / "names" / name)
        for version in (1, 2, 10):
            self.put("half_plus_two", "newest", version)
        for version in (1, 3):
            self.put("half_plus_two", "chosen", version)
        self.put("half_plus_two", "labelled", 1)
        return [
            entry("twice", base / "twice"),
            entry("names", base / "names", "model_version_policy { all {} }"),
            entry("newest", base / "newest", "model_version_policy { latest { num_versions: 2 } }"),
            entry(
                "chosen",
                base / "chosen",
                "model_version_policy { specific { versions: 1 versions: 2 } }",
            ),
            entry("labelled", base / "labelled", "version_labels { key: 'first' value: 1 }"),
        ]

    def put(self, export: str, model: str, version: int) -> Path:
        """Publish a test model as a version of `model`."""
        return put(self._models / export, self.folder / model, version)

    def unput(self, model: str, version: int) -> None:
        """Take a version away: renamed, then deleted."""
        folder = self.folder / model / str(version)
        shutil.rmtree(folder.rename(folder.with_name(f"{version}.old")))

    def reload(self, *entries: str, metric_names: Sequence[str] = ()) -> Any:
        """Serve the first models and these, and no others; the answer or the refusal."""
        config = config_text(*self._stay, *entries)
        names = "".join(f" metric_names: '{name}'" for name in metric_names)
        return self.call("HandleReloadConfigRequest", f"config {{ {config} }}{names}")

    def call(self, method: str, request: str) -> Any:
        return self._client.call(self.server.address, method, request, timeout=_SECONDS)

    def entry(self, model: str, more: str = "") -> str:
        return entry(model, self.folder / model, more)

    def status(self, model: str) -> list[Version]:
        """All versions of a model, as GetModelStatus tells them; empty for an unknown one."""
        answer = self.call("GetModelStatus", f"model_spec {{ name: '{model}' }}")
        if isinstance(answer, list):
            assert answer == ["NOT_FOUND", f"Could not find any versions of model {model}"]
            return []
        return [
            (
                int(told["version"]),
                told["state"],
                told["status"].get("error_code", "OK"),
                told["status"].get("error_message", ""),
            )
            for told in answer["model_version_status"]
        ]

    def until(self, model: str, holds: Callable[[list[Version]], bool]) -> list[Version]:
        """The model's status, once it is so."""
        end = time.monotonic() + _SECONDS
        while not holds(status := self.status(model)):
            assert time.monotonic() < end, f"{status}\n{self.server.output}"
            time.sleep(0.02)
        return status

    def states(self, model: str) -> dict[int, str]:
        return {version: state for version, state, _, _ in self.status(model)}

    def until_states(self, model: str, **states: str) -> None:
        """Wait until the versions have these states: `until_states("m", v1="END")`."""
        wanted = {int(name[1:]): state for name, state in states.items()}
        self.until(model, lambda told: {v: s for v, s, _, _ in told}.items() >= wanted.items())

    def predict(self, target: str, body: Any = None) -> tuple[int, Any]:
        """Status and body of `{"instances": [2.0]}`, or of another body, at a REST target."""
        body = {"instances": [2.0]} if body is None else body
        status, text = self.server.rest(f"/v1/models/{target}:predict", json.dumps(body))
        return status, json.loads(text)
