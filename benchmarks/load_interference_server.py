"""The two servers of `benchmarks.load_interference`, and the models that they load.

    python -m benchmarks.load_interference_server export FOLDER
    python -m benchmarks.load_interference_server workers|one FOLDER

`workers` is the server's own core: a process for each version. `one` is one process with the same
HTTP front, in which version 1 is called where its request is read and version 2 is loaded by a
thread. Both serve the MLP in FOLDER/1, print their port, and obey the lines of their standard
input: ``load NAME`` loads FOLDER/NAME beside it and answers with the wall-clock times at which
that began and ended; ``unload`` takes it away again; ``quiet`` and ``loud`` say whether a worker
loads with low priority. They end when their input closes.
"""

from __future__ import annotations

import asyncio
import gc
import itertools
import json
import os
import shutil
import socket
import sys
import time
from collections.abc import Awaitable, Callable
from typing import Any

import numpy as np
import orjson
import uvloop

from workbench.core.model_settings import ModelConfig
from workbench.core.versions.version_policy import VersionPolicy
from workbench.server.engine.engine import ServerCore
from workbench.server.front.http.listener import HttpServer
from workbench.server.front.http.message import Reply, Request

SIZES = (784, 300, 100, 10)
WEIGHTS = 6, 16 * 2**20
"""So many variables of so many floats: 384 MiB."""
OPERATIONS = 1500
TARGET = "/v1/models/m:predict"
Load = Callable[[str], Awaitable[None]]


def export(folder: str) -> None:
    """1: the MLP; `weights` and `graph`: the same with large variables, with a large graph."""
    import tensorflow as tf

    random = np.random.default_rng(0)

    class MLP(tf.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layers = [
                tf.Variable(random.normal(0, 0.05, shape).astype(np.float32))
                for shape in itertools.pairwise(SIZES)
            ]
            self.more: list[Any] = []

        @tf.function(input_signature=[tf.TensorSpec([None, 784], tf.float32, "images")])
        def classify(self, images: Any) -> Any:
            x = images
            for weights in self.layers[:-1]:
                x = tf.nn.relu(x @ weights)
            return {"probabilities": tf.nn.softmax(x @ self.layers[-1])}

        @tf.function(input_signature=[tf.TensorSpec([None, 10], tf.float32, "x")])
        def deep(self, x: Any) -> Any:
            for weights in self.more:
                x = tf.nn.relu(x @ weights + 1.0) - tf.reduce_mean(x)
            return {"y": x}

    def save(model: MLP, name: str, **more: Any) -> None:
        signatures = {"serving_default": model.classify, **more}
        tf.saved_model.save(model, os.path.join(folder, name), signatures)

    model = MLP()
    save(model, "1")
    count, floats = WEIGHTS
    model.more = [tf.Variable(tf.ones([floats])) for _ in range(count)]
    save(model, "weights")
    model.more = [tf.Variable(tf.eye(10)) for _ in range(OPERATIONS)]
    save(model, "graph", deep=model.deep)


async def obey(load: Load, unload: Callable[[], Awaitable[None]], core: ServerCore | None) -> None:
    """Do what the lines of the standard input say, until it closes."""
    lines = asyncio.StreamReader()
    loop = asyncio.get_running_loop()
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(lines), sys.stdin)
    while line := (await lines.readline()).decode().split():
        times: list[float] = [time.monotonic()]
        if line[0] == "load":
            await load(line[1])
        elif line[0] == "unload":
            await unload()
        elif core is not None:
            quiet = line[0] == "quiet"
            core.manager.loader.quiet = lambda quiet=quiet: quiet  # type: ignore[misc]
        print(json.dumps([*times, time.monotonic()]), flush=True)


async def workers(folder: str) -> None:
    from workbench.server.front.codec.converter import CodecProcess
    from workbench.server.front.rest.rest import RestApi

    core = ServerCore()
    core.start()
    codec = CodecProcess()
    base = os.path.join(folder, "served")
    os.makedirs(base)
    os.symlink(os.path.join(folder, "1"), os.path.join(base, "1"))
    manager = core.manager
    only_one = VersionPolicy("specific", versions=(1,))
    manager.set_model(ModelConfig("m", base, version_policy=only_one))

    async def states(version: int, *wanted: str) -> None:
        manager.poll_soon("m", [version])
        while True:
            changed = manager.changed
            served = manager.models["m"].versions.get(version)
            if ("gone" if served is None else served.harness.state.value) in wanted:
                return
            await asyncio.wait_for(changed.wait(), 120)

    async def load(name: str) -> None:
        os.symlink(os.path.join(folder, name), os.path.join(base, "2"))
        manager.poll_soon("m", [2])
        manager.update("m", version_policy=VersionPolicy("specific", versions=(1, 2)))
        await states(2, "ready")

    async def unload() -> None:
        manager.update("m", version_policy=only_one)
        await states(2, "gone")
        os.remove(os.path.join(base, "2"))

    await states(1, "ready")
    http = HttpServer(RestApi(manager, core.scheduler, codec))
    try:
        await _listen(http)
        await obey(load, unload, core)
    finally:
        await http.stop(0)
        await codec.close()
        await core.stop(1.0)
        shutil.rmtree(base)


async def one(folder: str) -> None:
    import tensorflow as tf

    from workbench.server.worker.loaded_model import LoadedModel

    model = LoadedModel(os.path.join(folder, "1"), ("serve",), 1, lambda kind, data: None)
    model.read_graph()
    model.finish()
    second: list[Any] = []

    def answer(request: Request, reply: Reply) -> None:
        instances = np.asarray(orjson.loads(request.body)["instances"], np.float32)
        (output,) = model.run("serving_default", {"images": instances}).values()
        said = orjson.dumps({"predictions": output}, option=orjson.OPT_SERIALIZE_NUMPY)
        reply.send(200, said)

    async def load(name: str) -> None:
        path = os.path.join(folder, name)
        second.append(await asyncio.to_thread(tf.saved_model.load, path))

    async def unload() -> None:
        second.clear()
        gc.collect()

    http = HttpServer(answer)
    await _listen(http)
    await obey(load, unload, None)
    await http.stop(0)


async def _listen(http: HttpServer) -> None:
    sock = socket.create_server(("127.0.0.1", 0))
    await http.start(sock)
    print(sock.getsockname()[1], flush=True)


def main() -> None:
    mode, folder = sys.argv[1:]
    if mode == "export":
        export(folder)
    else:
        uvloop.run({"workers": workers, "one": one}[mode](folder))


if __name__ == "__main__":
    main()
