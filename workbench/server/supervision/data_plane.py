"""The data plane of a server process: REST and gRPC over one serving core."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable
from dataclasses import replace

from workbench.processes.descriptors import connections_for, raise_limit
from workbench.processes.server_options import ServerOptions
from workbench.server.engine.engine import ServerCore
from workbench.server.front.access import LOOPBACK_HOSTS, AccessPolicy
from workbench.server.front.codec.pool import CodecPool
from workbench.server.front.grpc.grpc_server import GrpcOptions, GrpcServer
from workbench.server.front.grpc.model_service import ModelService
from workbench.server.front.grpc.prediction_service import PredictionService
from workbench.server.front.http.client_limits import HttpLimits
from workbench.server.front.http.listener import HttpServer
from workbench.server.front.metrics.memory_gauges import memory_metrics
from workbench.server.front.reload import Reloader, follow_config_file
from workbench.server.front.rest.rest import RestApi


class DataPlane:
    """REST and gRPC. Both answer from `open` to `close`.

    Args:
        on_change: called when a client has changed the models.
    """

    def __init__(
        self,
        core: ServerCore,
        codec: CodecPool,
        options: ServerOptions,
        on_change: Callable[[], None],
    ) -> None:
        self._core = core
        self._options = options
        self._rest = RestApi(
            core.manager,
            core.scheduler,
            codec,
            options.rest_timeout_seconds,
            options.enable_cors,
            options.metrics_path,
            options.check_method_names,
        )
        self._rest.metrics.metrics += memory_metrics(core.ledger, core.reservations.budget)
        limits = HttpLimits()
        connections = connections_for(raise_limit(), limits.max_connections)
        self._http = HttpServer(
            self._rest,
            replace(limits, max_connections=connections),
            access=AccessPolicy(
                options.token,
                LOOPBACK_HOSTS.union(options.allowed_hosts)
                if options.loopback and "*" not in options.allowed_hosts
                else None,
                ("*",) if options.enable_cors else options.allowed_origins,
            ),
        )
        self._reloader = Reloader(
            core.manager, on_change, options.model_defaults, options.labels_for_unavailable
        )
        metrics = self._rest.metrics
        prediction = PredictionService(
            core.manager,
            core.scheduler,
            metrics,
            options.check_method_names,
            options.tensor_content,
        )
        models = ModelService(core.manager, self._reloader, metrics)
        grpc = GrpcOptions(
            options.host,
            options.grpc_port,
            options.grpc_socket_path,
            options.grpc_health,
            options.grpc_channel_arguments,
            options.grpc_tls,
        )
        self._grpc = GrpcServer({**prediction.methods, **models.methods}, grpc, options.token)
        self._follower: asyncio.Task[None] | None = None

    async def open(self, listening: socket.socket | None) -> None:
        """Answer requests: gRPC, and REST on the bound socket if there is one.

        Raises:
            ServingError: FAILED_PRECONDITION, gRPC cannot listen on its address.
        """
        if self._grpc.insecure:
            self._core.events.add("grpc_insecure")
        for address in await self._grpc.start():
            self._core.events.add("grpc_ready", address=address)
        if listening is not None:
            await self._http.start(listening)
            host, port = listening.getsockname()[:2]
            # TensorFlow Serving always writes "localhost". Another address is written as it is.
            near = host in ("127.0.0.1", "::1", "0.0.0.0", "::")
            self._core.events.add("server_ready", address=f"{'localhost' if near else host}:{port}")
        if self._options.config_file and self._options.config_file_seconds > 0:
            self._follower = asyncio.get_running_loop().create_task(
                follow_config_file(
                    self._options.config_file,
                    self._options.config_file_seconds,
                    self._reloader,
                    lambda message: self._core.events.add("config_failed", message=message),
                )
            )

    async def close(self, drain_seconds: float) -> None:
        """Accept no more requests, and finish those in progress within `drain_seconds`."""
        if self._follower is not None:
            self._follower.cancel()
        self._rest.draining = True
        await asyncio.gather(self._http.stop(drain_seconds), self._grpc.stop(drain_seconds))
