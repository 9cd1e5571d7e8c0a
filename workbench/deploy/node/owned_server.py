"""A workbench server that a node's engine owns: it ends when the engine's process ends."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from workbench.core.status import ServingError
from workbench.deploy.node.fleet_secret import FleetTokens
from workbench.deploy.node.plan_following import follow
from workbench.deploy.plan.plan import Plan
from workbench.deploy.programs.owned_folder import make_owned_folder
from workbench.deploy.remote.remote_control import RemoteAddress, RemoteControl
from workbench.processes.launcher import SubprocessLauncher, reap_supervisors
from workbench.processes.lifetime import ProcessId, wait_gone
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
        owner = ProcessId.me()
        self._folder = make_owned_folder(_PREFIX)
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
        with _runtime(self._folder):
            entry = SubprocessLauncher().launch(StartRequest(wanted, owner))
        self._supervisor = entry.supervisor
        self.address = RemoteAddress(name, host, entry.port, entry.grpc_port, entry.control_port)
        self.control = RemoteControl(self.address, tokens.data, tokens.control)

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
        with contextlib.suppress(ServingError):
            self.control.shut_down()
        if not wait_gone(self._supervisor, _STOP_SECONDS):
            self._supervisor.kill(signal.SIGTERM)
            wait_gone(self._supervisor, _STOP_SECONDS)
        reap_supervisors()
        shutil.rmtree(self._folder, ignore_errors=True)


@contextlib.contextmanager
def _runtime(folder: Path) -> Iterator[None]:
    """Have a server that starts now keep its files in a folder of its own."""
    before = os.environ.get(_RUNTIME)
    os.environ[_RUNTIME] = str(folder)
    try:
        yield
    finally:
        del os.environ[_RUNTIME]
        if before is not None:
            os.environ[_RUNTIME] = before
