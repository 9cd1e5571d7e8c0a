"""The data plane of a server process: REST and gRPC over one serving core, and their settings."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from workbench.formats.config_files import METRICS_PATH
from workbench.processes.descriptors import connections_for, raise_limit
from workbench.server.engine.engine import ServerCore
from workbench.server.front.access import LOOPBACK_HOSTS, AccessPolicy
from workbench.server.front.codec.pool import CodecPool
from workbench.server.front.grpc.grpc_server import GrpcOptions, GrpcServer
from workbench.server.front.grpc.services import GrpcService
from workbench.server.front.http.client_limits import HttpLimits
from workbench.server.front.http.listener import HttpServer
from workbench.server.front.metrics.memory_gauges import memory_metrics
from workbench.server.front.reload import Reloader, follow_config_file
from workbench.server.front.rest.rest import RestApi


@dataclass(frozen=True)
class DataPlaneSettings:
    """What `workbench model-server`'s flags set, and other servers leave as it is.

    Attributes:
        rest_timeout_seconds: after which a predict request is answered with an error.
        enable_cors: let web pages of any origin call, and read the answers.
        allowed_hosts: names that the Host header may have on loopback besides loopback's own;
            ``*`` for any.
        allowed_origins: of web pages that may call; ``*`` for any.
        metrics_path: where REST shows the page for Prometheus; None for nowhere.
        grpc: fields of `GrpcOptions` but for host and port.
        model_defaults: settings of a model that a `ModelServerConfig` does not speak about.
        labels_for_unavailable: a new label may name a version that is not there.
        fail_if_zero_versions: a model without any version keeps the server from starting.
        check_method_names: a signature must have been saved for the method that asks for it.
        tensor_content: gRPC's answers carry `tensor_content` instead of typed fields.
        config_file: a `ModelServerConfig` file to be followed, every `config_file_seconds`.
    """

    rest_timeout_seconds: float = 30.0
    enable_cors: bool = False
    allowed_hosts: Sequence[str] = ()
    allowed_origins: Sequence[str] = ()
    metrics_path: str | None = METRICS_PATH
    grpc: Mapping[str, Any] = field(default_factory=dict)
    model_defaults: Mapping[str, Any] = field(default_factory=dict)
    labels_for_unavailable: bool = False
    fail_if_zero_versions: bool = False
    check_method_names: bool = False
    tensor_content: bool = False
    config_file: str = ""
    config_file_seconds: float = 0.0


class DataPlane:
    """REST and gRPC; both answer from the moment of `open` to that of `close`.

    Args:
        host, grpc_port: where gRPC listens; no port: nowhere.
        on_change: called when a client has changed the models.
    """

    def __init__(
        self,
        core: ServerCore,
        codec: CodecPool,
        settings: DataPlaneSettings,
        *,
        token: str | None,
        loopback: bool,
        host: str,
        grpc_port: int | None,
        on_change: Callable[[], None],
    ) -> None:
        self._core = core
        self._settings = settings
        self._rest = RestApi(
            core.manager,
            core.scheduler,
            codec,
            settings.rest_timeout_seconds,
            settings.enable_cors,
            settings.metrics_path,
            settings.check_method_names,
        )
        self._rest.metrics.metrics += memory_metrics(core.ledger, core.reservations.budget)
        limits = HttpLimits()
        connections = connections_for(raise_limit(), limits.max_connections)
        self._http = HttpServer(
            self._rest,
            replace(limits, max_connections=connections),
            access=AccessPolicy(
                token,
                LOOPBACK_HOSTS.union(settings.allowed_hosts)
                if loopback and "*" not in settings.allowed_hosts
                else None,
                ("*",) if settings.enable_cors else settings.allowed_origins,
            ),
        )
        self._reloader = Reloader(
            core.manager, on_change, settings.model_defaults, settings.labels_for_unavailable
        )
        service = GrpcService(
            core.manager,
            core.scheduler,
            self._reloader,
            self._rest.metrics,
            settings.check_method_names,
            settings.tensor_content,
        )
        options = GrpcOptions(host, grpc_port, **settings.grpc)
        self._grpc = GrpcServer(service.methods, options, token)
        self._follower: asyncio.Task[None] | None = None

    async def open(self, listening: socket.socket | None) -> None:
        """Answer requests: REST on a bound socket, if there is one, and gRPC.

        Raises:
            ServingError: FAILED_PRECONDITION, gRPC cannot listen where it should.
        """
        if self._grpc.insecure:
            self._core.events.add("grpc_insecure")
        for address in await self._grpc.start():
            self._core.events.add("grpc_ready", address=address)
        if listening is not None:
            await self._http.start(listening)
            host, port = listening.getsockname()[:2]
            # As the original, which always writes so; another address is told as it is.
            near = host in ("127.0.0.1", "::1", "0.0.0.0", "::")
            self._core.events.add("server_ready", address=f"{'localhost' if near else host}:{port}")
        if self._settings.config_file and self._settings.config_file_seconds > 0:
            self._follower = asyncio.get_running_loop().create_task(
                follow_config_file(
                    self._settings.config_file,
                    self._settings.config_file_seconds,
                    self._reloader,
                    lambda message: self._core.events.add("config_failed", message=message),
                )
            )

    async def close(self, drain_seconds: float) -> None:
        """Accept nothing more, and answer what is in progress for up to `drain_seconds`."""
        if self._follower is not None:
            self._follower.cancel()
        self._rest.draining = True
        await asyncio.gather(self._http.stop(drain_seconds), self._grpc.stop(drain_seconds))
