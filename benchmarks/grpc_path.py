"""What gRPC costs: predictions per second of a served MLP against a bare `grpc.aio` echo.

    python -m benchmarks.grpc_path [--seconds 2] [--callers 32] [--channels 4]

The echo is a `grpc.aio` server with one handler that gives back the bytes of a prepared answer:
no message objects, no model. Both get the same request of 784 floats from the same callers,
which wait for each answer before they ask again; they are measured in turns, and the ratio is
the median over pairs of neighbouring rounds.
"""

from __future__ import annotations

import argparse
import asyncio
import multiprocessing
import statistics
import tempfile
import time
from multiprocessing.connection import Connection as Pipe

import grpc
import grpc.aio
import numpy as np
import uvloop

import workbench as wb
from benchmarks.mlp import save_mlp
from workbench.formats.wire.protobuf import field
from workbench.formats.wire.tensor_proto import decode_tensor, encode_tensor, encode_tensors

METHOD = "/tensorflow.serving.PredictionService/Predict"
NAME = "bench-grpc"
ROUNDS = 5
INPUT = np.random.default_rng(0).random((1, 784), np.float32)
REQUEST = field(1, field(1, NAME.encode())) + encode_tensors(2, {"x": INPUT})
ANSWER = encode_tensors(1, {"y": np.zeros((1, 10), np.float32)})


def echo(pipe: Pipe) -> None:
    """The bare server, in a process of its own; says its port."""

    async def serve() -> None:
        async def handle(request: bytes, context: object) -> bytes:
            return ANSWER

        handlers = {"Predict": grpc.unary_unary_rpc_method_handler(handle)}
        server = grpc.aio.server()
        service = METHOD.split("/")[1]
        server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(service, handlers),))
        pipe.send(server.add_insecure_port("127.0.0.1:0"))
        await server.start()
        await server.wait_for_termination()

    uvloop.run(serve())


async def requests_per_second(
    address: str, token: str, seconds: float, callers: int, channels: int
) -> float:
    # Channels to one address share a connection unless they are told not to.
    options = [("grpc.use_local_subchannel_pool", 1)]
    opened = [grpc.aio.insecure_channel(address, options) for _ in range(channels)]
    metadata = (("authorization", f"Bearer {token}"),)
    answered = 0

    async def ask(channel: grpc.aio.Channel) -> None:
        nonlocal answered
        call = channel.unary_unary(METHOD)
        while time.perf_counter() < end:
            await call(REQUEST, metadata=metadata)
            answered += 1

    end = time.perf_counter() + seconds
    await asyncio.gather(*(ask(opened[i % channels]) for i in range(callers)))
    for channel in opened:
        await channel.close()
    return answered / seconds


def tensor_costs() -> None:
    """Microseconds for one tensor of 784 floats."""
    message = encode_tensor(INPUT)
    for name, work in (
        ("decode", lambda: decode_tensor(message)),
        ("encode", lambda: encode_tensor(INPUT)),
    ):
        best = min(_timed(work) for _ in range(7))
        print(f"{name} 784 floats: {best * 1e6:.1f} us")


def _timed(work: object, times: int = 1000) -> float:
    assert callable(work)
    started = time.perf_counter()
    for _ in range(times):
        work()
    return (time.perf_counter() - started) / times


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=2.0)
    parser.add_argument("--callers", type=int, default=32)
    parser.add_argument("--channels", type=int, default=4)
    chosen = parser.parse_args()
    tensor_costs()
    spawn = multiprocessing.get_context("spawn")
    ours, theirs = spawn.Pipe()
    peer = spawn.Process(target=echo, args=(theirs,), daemon=True)
    peer.start()
    bare_address = f"127.0.0.1:{ours.recv()}"
    rates: dict[str, list[float]] = {"bare echo": [], "workbench": []}
    with tempfile.TemporaryDirectory() as folder, wb.serve(save_mlp(folder), NAME) as server:
        assert server.grpc_address is not None
        assert server.token is not None
        targets = {"bare echo": bare_address, "workbench": server.grpc_address}

        def measure(name: str, seconds: float) -> float:
            assert server.token is not None
            return uvloop.run(
                requests_per_second(
                    targets[name], server.token, seconds, chosen.callers, chosen.channels
                )
            )

        for name in targets:
            measure(name, chosen.seconds / 4)
        for _ in range(ROUNDS):
            for name, values in rates.items():
                values.append(measure(name, chosen.seconds))
    peer.terminate()
    peer.join()
    for name, values in rates.items():
        print(f"{name}: {statistics.median(values):,.0f} requests/s")
    ratio = statistics.median(
        one / bare for one, bare in zip(rates["workbench"], rates["bare echo"], strict=True)
    )
    print(f"workbench / bare echo: {ratio:.0%}")


if __name__ == "__main__":
    main()
