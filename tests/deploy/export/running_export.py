"""An exported folder, started as its README says, and the requests that it is asked."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tests.children import WITH_TEST
from tests.conformance.model_server import free_ports
from tests.conformance.process import Answer, ask
from workbench.facade import Server, connect

START_SECONDS = 100.0
REQUESTS: Mapping[str, Any] = {
    "pair": {
        "inputs": {
            "input_0": [[0.1, 0.2, 0.3], [1e-9, -7.5, 3e5]],
            "input_1": [[1.0, 2.0], [0.3, 1 / 3]],
        }
    },
    "words": {"instances": ["Straße", "two words", {"b64": "AP8="}]},
    "centred": {"instances": [0.1, 0.7, 12345.678]},
}


class RunningExport:
    """A server that ``serving/run.sh`` of an exported folder has started, of this package.

    Attributes:
        output: all that it has printed.
    """

    def __init__(self, folder: Path, models: Path, **variables: str) -> None:
        self._log = folder.with_name(f"{folder.name}.log")
        grpc_port, self.rest_port = free_ports(2)
        with self._log.open("wb") as log:
            self._process = subprocess.Popen(
                [*WITH_TEST, "sh", folder / "serving" / "run.sh"],
                env={
                    **os.environ,
                    "SERVER": f"{sys.executable} -m workbench.cli.main model-server",
                    "MODELS": str(models),
                    "GRPC_PORT": str(grpc_port),
                    "REST_PORT": str(self.rest_port),
                    **variables,
                },
                stdout=log,
                stderr=log,
            )
        self._name = f"model-server-{grpc_port}"

    @property
    def output(self) -> str:
        return self._log.read_text()

    def __enter__(self) -> RunningExport:
        end = time.monotonic() + START_SECONDS
        while "Exporting HTTP/REST API at" not in self.output:
            try:
                assert time.monotonic() < end, f"it does not start:\n{self.output}"
                assert self._process.poll() is None, f"it has ended:\n{self.output}"
            except AssertionError:
                self._end()
                raise
            time.sleep(0.05)
        return self

    def __exit__(self, *_: object) -> None:
        assert self._end() == 0, self.output

    def _end(self) -> int:
        if self._process.poll() is None:
            self._process.send_signal(signal.SIGTERM)
        try:
            return self._process.wait(START_SECONDS)
        finally:
            self._process.kill()
            self._process.wait()

    @property
    def server(self) -> Server:
        """It, as a notebook sees it."""
        return connect(self._name)


def headers_of(token: str | None) -> dict[str, str]:
    return {} if token is None else {"Authorization": f"Bearer {token}"}


def answer(
    port: int, model: str, place: str = "", body: Any = None, token: str | None = None
) -> Answer:
    """The answer to a prediction; `place` is a version or label in the path."""
    path = f"/v1/models/{model}{place}:predict"
    return ask(port, "POST", path, REQUESTS[model] if body is None else body, headers_of(token))


def rows(model: str, count: int) -> Any:
    """A request with so many rows."""
    if model == "pair":
        return {"inputs": {"input_0": [[1.0] * 3] * count, "input_1": [[2.0] * 2] * count}}
    return {"instances": (["a"] if model == "words" else [1.0]) * count}
