"""A workbench server that a node's engine owns: it ends when the engine's process ends."""

from __future__ import annotations

import contextlib
import os
import shutil
import tempfile
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from workbench.client.control_client import ControlClient
from workbench.client.server import ServerClient
from workbench.core.status import ServingError
from workbench.deploy.node.fleet_secret import FleetTokens
from workbench.deploy.node.plan_following import follow
from workbench.deploy.plan.plan import Plan
from workbench.deploy.remote.remote_control import RemoteAddress
from workbench.processes.launcher import SubprocessLauncher
from workbench.processes.lifetime import ProcessId
from workbench.processes.server_options import ServerOptions, StartRequest

LOAD_SECONDS = 600.0
"""The most time that one version may take to load on a node."""
_RUNTIME = "JUPYTER_RUNTIME_DIR"
_PREFIX = "wb-node-"
_STOP_SECONDS = 8.0


class OwnedServer:
    """One server on this node. It keeps its files in a folder of its own, so that it appears in no
    list of the user's own servers.

    Args:
        name: unique in the fleet.
        host: the node's own address; the server binds to no other.
        tokens: of the fleet.
        options: that all servers of the fleet share (`Plan.options`).

    Raises:
        ServingError: it could not be started.
    """

    def __init__(
        self, name: str, host: str, tokens: FleetTokens, options: Mapping[str, Any]
    ) -> None:
        _sweep()
        owner = ProcessId.me()
        self._folder = Path(tempfile.mkdtemp(prefix=f"{_PREFIX}{owner.pid}-{int(owner.started)}-"))
        # This process serves nothing else.
        os.environ[_RUNTIME] = str(self._folder)
        self._name, self._host = name, host
        wanted = ServerOptions.from_json(
            {
                **options,
                "name": name,
                "host": host,
                "token": tokens.data,
                "control_port": 0,
                "control_token": tokens.control,
            }
        )
        entry = SubprocessLauncher().launch(StartRequest(wanted, owner))
        self._supervisor = entry.supervisor
        self._started = time.time()
        self.control = ControlClient(name)
        self.address = RemoteAddress(name, host, entry.port, entry.grpc_port, entry.control_port)

    def follow(
        self,
        plan: Plan,
        timeout: float = LOAD_SECONDS,
        abandoned: Callable[[], bool] = lambda: False,
    ) -> None:
        """Serve as planned; see `plan_following.follow`."""
        follow(self.control, plan, timeout, abandoned)

    @property
    def supervised(self) -> bool:
        """Whether its supervisor lives, which replaces a server process that dies."""
        return self._supervisor.alive()

    def counts(self) -> dict[str, float]:
        """What its models have done since they were loaded: `answered`, `failed` and `rejected`
        requests, and how many are `queued` now. Zeros while its server process is replaced."""
        total = {"answered": 0.0, "failed": 0.0, "rejected": 0.0, "queued": 0.0}
        with contextlib.suppress(ServingError):
            for model in self.control.describe_models():
                for version in model["versions"]:
                    requests = version.get("requests", {})
                    total["answered"] += requests.get("answered", 0)
                    total["failed"] += requests.get("failed", 0)
                    total["queued"] += requests.get("pending", 0)
                    total["rejected"] += version.get("batches", {}).get("rejected", 0)
        return total

    def stop(self) -> None:
        """End the server; requests in progress are answered."""
        server = ServerClient(self._name, self._name)
        with contextlib.suppress(ServingError):
            server.stop(_STOP_SECONDS)
        shutil.rmtree(self._folder, ignore_errors=True)


def _sweep() -> None:
    """Remove the folders of owners that were killed; their servers have ended with them."""
    for folder in Path(tempfile.gettempdir()).glob(f"{_PREFIX}*-*-*"):
        parts = folder.name.removeprefix(_PREFIX).split("-")
        with contextlib.suppress(ValueError, OSError):
            if (
                not ProcessId(int(parts[0]), float(parts[1])).alive()
                and folder.stat().st_uid == os.getuid()
            ):
                shutil.rmtree(folder, ignore_errors=True)
