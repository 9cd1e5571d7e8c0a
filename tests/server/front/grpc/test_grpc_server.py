"""What every gRPC method shares, over real sockets: token, errors, deadlines, health, draining."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import grpc
import grpc.aio
import pytest

from workbench.core.status import Code, ServingError
from workbench.core.versions.outage import OutOfService
from workbench.formats.wire.messages import message_class
from workbench.server.front.grpc.grpc_server import NEEDS_TOKEN, GrpcOptions, GrpcServer

WAIT_SECONDS = 30.0
_HEALTH = "/grpc.health.v1.Health/"


async def _echo(request: bytes, seconds: float | None) -> bytes:
    return request + (b" none" if seconds is None else b" limited")


async def _refuse(request: bytes, seconds: float | None) -> bytes:
    raise ServingError(Code[request.decode()], "no: " + "x" * 2000)


async def _fail(request: bytes, seconds: float | None) -> bytes:
    raise RuntimeError("a secret detail")


METHODS = {"/s/Echo": _echo, "/s/Refuse": _refuse, "/s/Fail": _fail}


def with_server(
    work: Callable[[GrpcServer, grpc.aio.Channel], Awaitable[None]],
    folder: Path,
    token: str | None = None,
    methods: Any = METHODS,
    **options: Any,
) -> None:
    """Run `work` with a server on a unix socket and a channel to it."""

    async def run() -> None:
        server = GrpcServer(methods, GrpcOptions(socket_path=f"{folder}/s", **options), token)
        assert await server.start() == [f"unix:{folder}/s"]
        try:
            async with grpc.aio.insecure_channel(f"unix:{folder}/s") as channel:
                await asyncio.wait_for(work(server, channel), WAIT_SECONDS)
        finally:
            await server.stop(0)

    asyncio.run(run())


async def refused(call: Any) -> tuple[str, str]:
    with pytest.raises(grpc.aio.AioRpcError) as error:
        await call
    return error.value.code().name, error.value.details()


def test_bytes_in_and_out_with_the_time_left(tmp_path: Path) -> None:
    async def work(server: GrpcServer, channel: grpc.aio.Channel) -> None:
        echo = channel.unary_unary("/s/Echo")
        assert await echo(b"a") == b"a none"
        assert await echo(b"a", timeout=10) == b"a limited"
        large = b"x" * (8 * 1024 * 1024)
        code, _ = await refused(echo(large))
        # Our limit is none, the client's own default is 4 MB.
        assert code == "RESOURCE_EXHAUSTED"

    with_server(work, tmp_path)


@pytest.mark.parametrize("said", [b"", b"PRI * HTTP/2.0\r\n"], ids=["nothing", "half a preface"])
def test_a_connection_that_does_not_speak_is_closed(said: bytes, tmp_path: Path) -> None:
    async def work(server: GrpcServer, channel: grpc.aio.Channel) -> None:
        reader, writer = await asyncio.open_unix_connection(f"{tmp_path}/s")
        writer.write(said)
        # What the server says first is its settings; then it waits for ours, and ends that.
        await asyncio.wait_for(reader.read(), 5)
        writer.close()
        assert await channel.unary_unary("/s/Echo")(b"a") == b"a none"

    with_server(work, tmp_path, channel_arguments={"grpc.server_handshake_timeout_ms": 300})


@pytest.mark.parametrize("code", [code for code in Code if code is not Code.OK])
def test_every_code_and_long_texts(code: Code, tmp_path: Path) -> None:
    async def work(server: GrpcServer, channel: grpc.aio.Channel) -> None:
        name, details = await refused(channel.unary_unary("/s/Refuse")(code.name.encode()))
        assert (name, details) == (code.name, "no: " + "x" * 1020 + "...TRUNCATED")

    with_server(work, tmp_path)


def test_what_nobody_foresaw_is_told_without_details(tmp_path: Path) -> None:
    async def work(server: GrpcServer, channel: grpc.aio.Channel) -> None:
        assert await refused(channel.unary_unary("/s/Fail")(b"")) == (
            "INTERNAL",
            "Internal error; see the server's log",
        )
        code, _ = await refused(channel.unary_unary("/s/Other")(b""))
        assert code == "UNIMPLEMENTED"

    with_server(work, tmp_path)


def test_the_token(tmp_path: Path) -> None:
    async def work(server: GrpcServer, channel: grpc.aio.Channel) -> None:
        echo = channel.unary_unary("/s/Echo")
        needs = ("UNAUTHENTICATED", NEEDS_TOKEN)
        assert await refused(echo(b"")) == needs
        assert await refused(echo(b"", metadata=(("authorization", "Bearer no"),))) == needs
        assert await echo(b"a", metadata=(("authorization", "Bearer secret"),)) == b"a none"
        assert await refused(echo(b"", metadata=(("x-workbench-token", "no"),))) == needs
        assert await echo(b"a", metadata=(("x-workbench-token", "secret"),)) == b"a none"
        both = (("authorization", "token hub"), ("x-workbench-token", "secret"))
        assert await echo(b"a", metadata=both) == b"a none"
        health = channel.unary_unary(_HEALTH + "Check")
        assert (
            message_class("grpc.health.v1.HealthCheckResponse").FromString(await health(b"")).status
            == 1
        )

    with_server(work, tmp_path, token="secret")


def test_health(tmp_path: Path) -> None:
    request = message_class("grpc.health.v1.HealthCheckRequest")
    response = message_class("grpc.health.v1.HealthCheckResponse")

    async def work(server: GrpcServer, channel: grpc.aio.Channel) -> None:
        check = channel.unary_unary(
            _HEALTH + "Check",
            request_serializer=request.SerializeToString,
            response_deserializer=response.FromString,
        )
        for service in ("", "ModelService", "PredictionService"):
            assert (await check(request(service=service))).status == 1
        assert await refused(check(request(service="no"))) == ("NOT_FOUND", "unknown service")
        watch = channel.unary_stream(_HEALTH + "Watch", response_deserializer=response.FromString)
        stream = watch(b"")
        assert (await stream.read()).status == 1
        server.draining = True
        assert (await stream.read()).status == 2
        assert (await check(request())).status == 2
        stream.cancel()

    with_server(work, tmp_path)


def test_health_is_offered_where_it_is_wanted(tmp_path: Path) -> None:
    async def work(server: GrpcServer, channel: grpc.aio.Channel) -> None:
        code, _ = await refused(channel.unary_unary(_HEALTH + "Check")(b""))
        assert code == "UNIMPLEMENTED"

    with_server(work, tmp_path, health=False)


def test_what_is_in_progress_is_answered_while_it_drains(tmp_path: Path) -> None:
    began, go_on = asyncio.Event(), asyncio.Event()

    async def slow(request: bytes, seconds: float | None) -> bytes:
        began.set()
        await go_on.wait()
        return b"done"

    async def work(server: GrpcServer, channel: grpc.aio.Channel) -> None:
        call = channel.unary_unary("/s/Slow")(b"")
        answer = asyncio.ensure_future(call)
        await began.wait()
        stopping = asyncio.ensure_future(server.stop(WAIT_SECONDS))
        await asyncio.sleep(0)
        go_on.set()
        assert await answer == b"done"
        await stopping
        code, _ = await refused(channel.unary_unary("/s/Slow")(b""))
        assert code == "UNAVAILABLE"

    with_server(work, tmp_path, methods={"/s/Slow": slow})


def test_where_it_listens(tmp_path: Path) -> None:
    async def run() -> None:
        assert await GrpcServer({}, GrpcOptions()).start() == []
        unusable = GrpcServer({}, GrpcOptions(socket_path=f"{tmp_path}/no/such/folder/s"))
        with pytest.raises(ServingError) as error:
            await unusable.start()
        assert error.value.code is Code.FAILED_PRECONDITION
        assert error.value.message.startswith(
            f"gRPC cannot listen at unix:{tmp_path}/no/such/folder/s: "
        )

    asyncio.run(run())


def test_what_is_unavailable_says_when_to_try_again(tmp_path: Path) -> None:
    async def work(server: GrpcServer, channel: grpc.aio.Channel) -> None:
        told = {}
        for code in (b"UNAVAILABLE", b"NOT_FOUND"):
            with pytest.raises(grpc.aio.AioRpcError) as error:
                await channel.unary_unary("/s/Refuse")(code)
            told[code] = dict(error.value.trailing_metadata())
        assert told[b"UNAVAILABLE"]["retry-after"] == "1"
        assert "retry-after" not in told[b"NOT_FOUND"]

    with_server(work, tmp_path)


def test_the_time_of_another_attempt_is_the_errors(tmp_path: Path) -> None:
    async def crashed(request: bytes, seconds: float | None) -> bytes:
        raise OutOfService("Version 1 of m crashed", 7)

    async def work(server: GrpcServer, channel: grpc.aio.Channel) -> None:
        with pytest.raises(grpc.aio.AioRpcError) as error:
            await channel.unary_unary("/s/Crashed")(b"")
        assert dict(error.value.trailing_metadata())["retry-after"] == "7"

    with_server(work, tmp_path, methods={"/s/Crashed": crashed})
