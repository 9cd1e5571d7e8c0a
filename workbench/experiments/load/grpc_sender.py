"""Sends the load generator's requests over gRPC.

Many connections share an HTTP/2 connection, as usual with gRPC. There are a few channels, because a
single one would be a bottleneck.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence

import grpc
import grpc.aio

from workbench.core.status import Code
from workbench.experiments.load.load_connection import Sender
from workbench.formats.http_status import HTTP_STATUS
from workbench.formats.wire.predict_message import answered_version

CHANNELS = 4


def status_of(code: grpc.StatusCode) -> int:
    """The HTTP status that the same answer has over REST."""
    return HTTP_STATUS[Code[code.name]]


class GrpcChannels:
    """The channels of a run, and the connections on them."""

    def __init__(
        self, address: tuple[str, int] | str, method: str, metadata: Mapping[str, str]
    ) -> None:
        target = f"unix:{address}" if isinstance(address, str) else f"{address[0]}:{address[1]}"
        # Without a pool of their own, channels to one address share one connection.
        options = [("grpc.use_local_subchannel_pool", 1), ("grpc.max_receive_message_length", -1)]
        self._channels = [grpc.aio.insecure_channel(target, options) for _ in range(CHANNELS)]
        self._method = method
        self._metadata = [(name.lower(), value) for name, value in metadata.items()]
        self._made = 0

    def connection(self, run: Sender) -> GrpcConnection:
        """A new connection on the next channel in turn."""
        channel = self._channels[self._made % CHANNELS]
        self._made += 1
        return GrpcConnection(run, channel, self._method, self._metadata)

    async def close(self) -> None:
        """Close all channels."""
        await asyncio.gather(*(channel.close() for channel in self._channels))


class GrpcConnection:
    """At most one request in flight."""

    def __init__(
        self,
        run: Sender,
        channel: grpc.aio.Channel,
        method: str,
        metadata: Sequence[tuple[str, str]],
    ) -> None:
        self._run = run
        self._channel = channel
        self._call: Callable[..., grpc.aio.UnaryUnaryCall] = channel.unary_unary(method)
        self._metadata = metadata
        self._asking: asyncio.Task[None] | None = None
        self.request: int | None = None
        """The number of the request that is in flight or being connected for."""
        self._gave_up = ""

    async def connect(self) -> None:
        """Wait until the channel is ready."""
        await self._channel.channel_ready()

    def send(self, request: int) -> None:
        """Send a request in a task of its own."""
        self.request = request
        self._asking = asyncio.get_running_loop().create_task(self._ask(request))

    def abandon(self, reason: str) -> None:
        """Fail the request in flight; its late answer must not be taken for another's."""
        if self._asking is not None:
            self._gave_up = reason
            self._asking.cancel()
        elif self.request is not None:  # It continues to connect for a later request.
            request, self.request = self.request, None
            self._run.failed(request, reason)

    async def _ask(self, request: int) -> None:
        run = self._run
        try:
            answer = await self._call(run.bytes_of(request), metadata=self._metadata)
        except grpc.aio.AioRpcError as error:
            self._asking = self.request = None
            # A refusal and a lost connection have the same code; after the latter the channel
            # is no longer ready.
            ready = self._channel.get_state() is grpc.ChannelConnectivity.READY
            if error.code() is grpc.StatusCode.UNAVAILABLE and not ready:
                run.lost(self, request, "ConnectionLost")
                return
            details = error.details() or ""
            run.refused(status_of(error.code()), details)
            run.answered(request, status_of(error.code()), len(details), 0)
        except asyncio.CancelledError:
            reason, self._gave_up = self._gave_up, ""
            self._asking = self.request = None
            run.lost(self, request, reason)
            return
        else:
            self._asking = self.request = None
            run.answered(request, 200, len(answer), answered_version(answer))
        run.idle(self)
        run.client_is_free()
