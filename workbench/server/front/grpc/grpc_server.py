"""The gRPC server of the data plane: `grpc.aio` without generated code.

Methods get a request's bytes and give back the answer's; `prediction_service` and `model_service`
know what these mean. Here is what every method shares: the bearer token, deadlines, errors as gRPC
statuses, health checks, reflection, and draining.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, TypeAlias

import grpc
import grpc.aio

from workbench.core.status import Code, ServingError, failed_precondition
from workbench.formats.wire.messages import message_class
from workbench.processes.tokens import TOKEN_HEADER, Token
from workbench.server.front.grpc.reflection import REFLECTION_METHODS, reflect

logger = logging.getLogger(__name__)

NEEDS_TOKEN = (
    "This server needs its bearer token: send the metadata 'authorization: Bearer <token>' or "
    "'x-workbench-token: <token>' (server.token in Python, `workbench status --token NAME` in a "
    "terminal)."
)
Method: TypeAlias = Callable[[bytes, "float | None"], Awaitable[bytes]]
"""Answers one request. The second argument is its time limit in seconds, None for none."""

_STATUS: dict[int, grpc.StatusCode] = {code.value[0]: code for code in grpc.StatusCode}
_ERROR_CHARACTERS = 1024
_PUSHBACK = "grpc-retry-pushback-ms"
_HEALTH = "/grpc.health.v1.Health/"
_HEALTH_SERVICES = frozenset(
    {
        "",
        "ModelService",
        "PredictionService",
        "tensorflow.serving.ModelService",
        "tensorflow.serving.PredictionService",
    }
)
_SERVING, _NOT_SERVING, _SERVICE_UNKNOWN = 1, 2, 3
_WATCH_SECONDS = 0.5


@dataclass(frozen=True)
class GrpcOptions:
    """How gRPC is served.

    Attributes:
        host, port: the address to listen on; None or 0: not on the network.
        socket_path: a unix socket to listen on as well.
        health: whether to offer the health service.
        channel_arguments: gRPC's own settings by name (``grpc.max_concurrent_streams`` ...).
        tls: `SSLConfig`'s fields, the keys and certificates being PEM text; None: no TLS.
    """

    host: str = "127.0.0.1"
    port: int | None = None
    socket_path: str = ""
    health: bool = True
    channel_arguments: Mapping[str, int | str] = field(default_factory=dict)
    tls: Mapping[str, Any] | None = None


class GrpcServer:
    """Serves methods, by their full names, until it is stopped.

    Args:
        methods: by their full names.
        token: the bearer token that every caller must send; None asks for none.
    """

    def __init__(
        self,
        methods: Mapping[str, Method],
        options: GrpcOptions,
        token: str | None = None,
    ) -> None:
        self._options = options
        self._server: grpc.aio.Server | None = None
        self.draining = False
        handlers = {name: _unary(method) for name, method in methods.items()}
        anonymous: dict[str, Any] = {}
        if options.health:
            handlers[_HEALTH + "Check"] = _unary(self._check_health)
            handlers[_HEALTH + "Watch"] = grpc.unary_stream_rpc_method_handler(self._watch_health)
            anonymous[_HEALTH + "Check"] = grpc.stream_unary_rpc_method_handler(self._check_all)
            anonymous[_HEALTH + "Watch"] = grpc.stream_stream_rpc_method_handler(self._watch_all)
        self._services = sorted({name.split("/")[1] for name in (*handlers, *REFLECTION_METHODS)})
        for name in REFLECTION_METHODS:
            handlers[name] = grpc.stream_stream_rpc_method_handler(self._reflect)
        self._router = _Router(handlers, anonymous, token)

    @property
    def insecure(self) -> bool:
        """Whether gRPC is served without TLS."""
        options = self._options
        return bool(options.port or options.socket_path) and options.tls is None

    async def start(self) -> list[str]:
        """Listen.

        Returns:
            The addresses, as gRPC writes them; an empty list if it is not to be served.

        Raises:
            ServingError: FAILED_PRECONDITION, an address cannot be used.
        """
        options = self._options
        addresses = []
        if options.port:
            host = f"[{options.host}]" if ":" in options.host else options.host
            addresses.append(f"{host}:{options.port}")
        if options.socket_path:
            addresses.append(f"unix:{options.socket_path}")
        if not addresses:
            return []
        settings: dict[str, int | str] = {
            # TensorFlow Serving's limit is the largest message there can be.
            "grpc.max_receive_message_length": -1,
            "grpc.max_send_message_length": -1,
            # No client can take everything, and idle connections make room.
            "grpc.max_concurrent_streams": 4096,
            "grpc.max_connection_idle_ms": 600_000,
            # For a connection that has not spoken gRPC yet (the default is 120 s).
            "grpc.server_handshake_timeout_ms": 10_000,
            # The supervisor keeps the port with a socket of its own while we are replaced.
            "grpc.so_reuseport": 1,
            **options.channel_arguments,
        }
        server = grpc.aio.server(handlers=(self._router,), options=list(settings.items()))
        for address in addresses:
            try:
                if options.tls is None or address.startswith("unix:"):
                    server.add_insecure_port(address)
                else:
                    server.add_secure_port(address, _credentials(options.tls))
            except RuntimeError as error:
                raise failed_precondition(f"gRPC cannot listen at {address}: {error}") from error
        await server.start()
        self._server = server
        return addresses

    async def stop(self, drain_seconds: float) -> None:
        """Accept nothing more, answer what is in progress for up to `drain_seconds`, then end."""
        self.draining = True
        if self._server is not None:
            await self._server.stop(drain_seconds)
            self._server = None

    # Health.

    def _health(self, request: bytes) -> int:
        asked = message_class("grpc.health.v1.HealthCheckRequest").FromString(request)
        if asked.service not in _HEALTH_SERVICES:
            return _SERVICE_UNKNOWN
        return _NOT_SERVING if self.draining else _SERVING

    async def _check_health(self, request: bytes, seconds: float | None) -> bytes:
        status = self._health(request)
        if status == _SERVICE_UNKNOWN:
            raise ServingError(Code.NOT_FOUND, "unknown service")
        return _health_response(status)

    async def _reflect(self, requests: Any, context: Any) -> None:
        async for request in requests:
            try:
                answer = reflect(request, self._services)
            except ServingError as error:
                await context.abort(_STATUS[error.code], error.message)
            await context.write(answer)

    async def _check_all(self, requests: Any, context: Any) -> bytes:
        """The health of the whole server, for callers without the token: theirs is not read."""
        return _health_response(self._health(b""))

    async def _watch_all(self, requests: Any, context: Any) -> None:
        await self._watch_health(b"", context)

    async def _watch_health(self, request: bytes, context: Any) -> None:
        sent = 0
        while True:
            status = self._health(request)
            if status != sent:
                await context.write(_health_response(status))
                sent = status
            await asyncio.sleep(_WATCH_SECONDS)


class _Router(grpc.GenericRpcHandler):  # type: ignore[misc]
    """Finds the handler of a method; refuses callers without the token.

    `anonymous` are the handlers for those.
    """

    def __init__(
        self, handlers: Mapping[str, Any], anonymous: Mapping[str, Any], token: str | None
    ) -> None:
        self._anonymous = anonymous
        self._handlers = handlers
        self._token = None if token is None else Token(token)
        # A handler of streams reads nothing until it asks: what a caller without the token sends
        # is not even buffered.
        self._refusal = grpc.stream_unary_rpc_method_handler(_refuse)

    def service(self, call: Any) -> Any:
        handler = self._handlers.get(call.method)
        if self._token is None:
            return handler
        for key, value in call.invocation_metadata:
            given = value if isinstance(value, bytes) else value.encode()
            if key == "authorization" and self._token.carried(given, None):
                return handler
            if key == TOKEN_HEADER and self._token.carried(None, given):
                return handler
        # Health has no secrets, and health checkers can seldom send a token.
        return self._anonymous.get(call.method, self._refusal)


async def _refuse(requests: Any, context: Any) -> bytes:
    await context.abort(grpc.StatusCode.UNAUTHENTICATED, NEEDS_TOKEN)
    raise AssertionError


def _unary(method: Method) -> Any:
    async def handle(request: bytes, context: Any) -> bytes:
        try:
            return await method(request, context.time_remaining())
        except ServingError as refused:
            error = refused
        except Exception:
            logger.exception("A gRPC request failed")
            error = ServingError(Code.INTERNAL, "Internal error; see the server's log")
        text = error.message
        if len(text) > _ERROR_CHARACTERS:
            text = text[:_ERROR_CHARACTERS] + "...TRUNCATED"
        later: tuple[tuple[str, str], ...] = ()
        if error.code is Code.UNAVAILABLE:
            # The second is what gRPC's own retries look at, where a client has turned them on.
            seconds = error.retry_after_seconds
            later = (("retry-after", str(seconds)), (_PUSHBACK, str(1000 * seconds)))
        await context.abort(_STATUS[error.code], text, later)
        raise AssertionError

    return grpc.unary_unary_rpc_method_handler(handle)


def _health_response(status: int) -> bytes:
    response = message_class("grpc.health.v1.HealthCheckResponse")(status=status)
    return bytes(response.SerializeToString())


def _credentials(tls: Mapping[str, Any]) -> grpc.ServerCredentials:
    authority = tls.get("custom_ca") or None
    return grpc.ssl_server_credentials(
        [(tls["server_key"].encode(), tls["server_cert"].encode())],
        None if authority is None else authority.encode(),
        bool(tls.get("client_verify")),
    )
