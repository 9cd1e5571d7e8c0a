"""A real Prometheus in a folder of its own, on loopback."""

from __future__ import annotations

import json
import math
import subprocess
import time
import urllib.error
import urllib.parse
import urllib.request
from pathlib import Path
from typing import Any

import yaml

from tests.children import WITH_TEST
from tests.conformance.model_server import free_ports

START_SECONDS = 60.0


class Prometheus:
    """It scrapes one server each second, with an exported job and exported rules."""

    def __init__(self, exported: Path, target_port: int, folder: Path, token: str = "") -> None:
        folder.mkdir()
        config = yaml.safe_load((exported / "prometheus" / "prometheus.yaml").read_text())
        config["global"] = {"scrape_interval": "1s", "evaluation_interval": "1s"}
        config["rule_files"] = [
            str(exported / "prometheus" / name) for name in config["rule_files"]
        ]
        (job,) = config["scrape_configs"]
        # There is no DNS of compose here.
        del job["dns_sd_configs"]
        job["static_configs"] = [{"targets": [f"127.0.0.1:{target_port}"]}]
        if token:
            (folder / "token").write_text(token)
            job["authorization"]["credentials_file"] = str(folder / "token")
        file = folder / "prometheus.yaml"
        file.write_text(yaml.safe_dump(config))
        (port,) = free_ports(1)
        self._url = f"http://127.0.0.1:{port}"
        self._log = folder / "prometheus.log"
        with self._log.open("wb") as log:
            self._process = subprocess.Popen(
                [
                    *WITH_TEST,
                    "prometheus",
                    f"--config.file={file}",
                    f"--storage.tsdb.path={folder / 'data'}",
                    f"--web.listen-address=127.0.0.1:{port}",
                ],
                stdout=log,
                stderr=log,
            )

    def __enter__(self) -> Prometheus:
        end = time.monotonic() + START_SECONDS
        while True:
            try:
                with urllib.request.urlopen(f"{self._url}/-/ready", timeout=5):
                    return self
            except OSError:
                if time.monotonic() > end or self._process.poll() is not None:
                    self.__exit__()
                    raise AssertionError(self._log.read_text()) from None
                time.sleep(0.1)

    def __exit__(self, *_: object) -> None:
        self._process.terminate()
        try:
            self._process.wait(START_SECONDS)
        finally:
            self._process.kill()
            self._process.wait()

    def ask(self, path: str, **arguments: str) -> Any:
        """The data of an answer of its API; raises `urllib.error.HTTPError` for a bad query."""
        url = f"{self._url}/api/v1/{path}?{urllib.parse.urlencode(arguments)}"
        with urllib.request.urlopen(url, timeout=30) as response:
            return json.load(response)["data"]

    def values(self, query: str) -> list[float]:
        """The values of a query now, those that are not a number left out."""
        found = (float(each["value"][1]) for each in self.ask("query", query=query)["result"])
        return [value for value in found if not math.isnan(value)]
