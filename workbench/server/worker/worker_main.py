"""A worker: the process that owns one loaded version, from its load to its end.

It obeys one control channel (stage, load, open a lane, quit) and answers batches on its *lanes*. A
lane is a socket, two shared regions and a thread: it runs one batch at a time, so a worker
runs as many batches at once as it has lanes. Unloading is the end of this process.
"""

from __future__ import annotations

import base64
import ctypes
import gc
import os
import signal
import socket
import sys
import threading
import time
import traceback
from contextlib import suppress
from typing import Any, NoReturn

from workbench.core.status import Code, ServingError
from workbench.ipc.channel import Channel
from workbench.ipc.frames import (
    ConnectionLost,
    pack,
    receive_frame,
    send_frame,
    unpack,
)
from workbench.ipc.low_priority import QuietThread, quietly
from workbench.ipc.regions import Region
from workbench.processes.lifetime import ProcessId, die_with
from workbench.server.worker.device import report_allocator, show_device
from workbench.server.worker.loaded_model import LoadedModel, Progress
from workbench.server.worker.prefetch import PageCacheReader
from workbench.server.worker.replay import warm_up

LARGE_BYTES = 8 * 2**20
"""Larger batches run at a low priority, because they would delay the small ones beside them."""


def run_worker(control_fd: int, server: ProcessId) -> NoReturn:
    """The life of a worker; never returns into the zygote's code."""
    try:
        die_with(server)
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        _name_process("wb-worker")
        _obey(Channel(socket.socket(fileno=control_fd)))
    except ConnectionLost:
        os._exit(0)
    except BaseException:
        traceback.print_exc()
        sys.stderr.flush()
        os._exit(1)
    os._exit(0)


def _obey(channel: Channel) -> None:
    model: LoadedModel | None = None
    while True:
        order, _, fds = channel.receive()
        if order["op"] == "stage":
            model = _stage(channel, order)
        elif order["op"] == "load":
            model = _load(channel, order, model)
        elif order["op"] == "lane":
            threading.Thread(target=_run_lane, args=(model, *fds), daemon=True).start()
        elif order["op"] == "ping":
            channel.send({"pong": order["number"]})
        elif order["op"] == "quit":
            return


def _progress(channel: Channel) -> Progress:
    return lambda kind, data: channel.send({"progress": kind, "data": data})


def _read(channel: Channel, order: dict[str, Any]) -> LoadedModel:
    device, fraction = order.get("device", ("host", 0.0))
    show_device(device)
    model = LoadedModel(
        order["path"],
        order["tags"],
        order["intra_op_threads"],
        _progress(channel),
        # The smaller of the model's limit and the share that the budget had left.
        min(filter(None, (fraction, order.get("gpu_memory_fraction"))), default=0.0),
        order.get("op_libraries", ()),
    )
    if device != "host":
        channel.send({"context": device})
    quietly(order["quiet"], model.read_graph)
    return model


def _stage(channel: Channel, order: dict[str, Any]) -> LoadedModel | None:
    """Reads the graph, and the files with the variables into the page cache."""
    # One keeps the disk busy while the other keeps the processor busy.
    files = PageCacheReader(order["path"])
    try:
        model = _read(channel, order)
    except ServingError as error:
        _failed(channel, error)
        return None
    cached = files.result()
    gc.collect()
    _trim_heap()
    channel.send({"staged": {"seconds": model.seconds, **cached._asdict()}})
    return model


def _load(
    channel: Channel, order: dict[str, Any], staged: LoadedModel | None
) -> LoadedModel | None:
    """Loads a version, or completes the load of a staged one."""
    try:
        model = staged or _read(channel, order)
        quietly(order["quiet"], lambda: _finish(channel, order, model))
    except ServingError as error:
        _failed(channel, error)
        return None
    gc.collect()
    gc.freeze()
    _trim_heap()
    channel.send(
        {
            "loaded": {
                "signatures": {n: s.to_json() for n, s in model.signatures.items()},
                "metadata": model.metadata,
                "signature_def_map": base64.b64encode(model.signature_def_map).decode(),
                "seconds": model.seconds,
                "warmed": model.asked,
                "facts": {n: facts.to_json() for n, facts in model.facts.items()},
                "twins": model.twins,
            }
        }
    )
    if order.get("device", ("host",))[0] != "host":
        # From now on nothing else sends on this channel.
        report_allocator(channel)
    return model


def _finish(channel: Channel, order: dict[str, Any], model: LoadedModel) -> None:
    model.finish()
    restored = time.monotonic()
    if order["warm_up"]:
        warm_up(model, order["path"], order["warm_up_iterations"], _progress(channel))
    model.seconds["warmup"] = time.monotonic() - restored


def _failed(channel: Channel, error: ServingError) -> None:
    channel.send({"failed": error.message, "code": int(error.code)})


def _run_lane(model: LoadedModel, sock_fd: int, inputs_fd: int, outputs_fd: int) -> None:
    """Answer batches, one at a time, until the server closes the lane."""
    sock = socket.socket(fileno=sock_fd)
    sock.setblocking(True)
    inputs, outputs = Region(inputs_fd), Region(outputs_fd)
    aside = QuietThread()

    def run() -> tuple[dict[str, Any], bytes]:
        started = time.perf_counter()
        fed = unpack(header["t"], payload, inputs)
        results = model.run(header["s"], fed, header["o"])
        ran = time.perf_counter() - started
        descriptors, data = pack({name: [a] for name, a in results.items()}, outputs)
        return {"t": descriptors, "us": round(ran * 1e6)}, data

    try:
        while True:
            header, payload = receive_frame(sock)
            try:
                large = sum(nbytes for *_, nbytes in header["t"]) > LARGE_BYTES
                answer = aside.run(run) if large or "q" in header else run()
            except ServingError as error:
                send_frame(sock, {"code": int(error.code), "message": error.message})
                continue
            except Exception as error:
                # A failed batch must not end the lane.
                send_frame(sock, {"code": int(Code.INTERNAL), "message": repr(error)})
                continue
            send_frame(sock, *answer)
    except ConnectionLost:
        pass
    finally:
        aside.close()
        sock.close()
        inputs.close()
        outputs.close()


def _trim_heap() -> None:
    """Return the memory that only loading needed to the system; otherwise glibc keeps it."""
    with suppress(AttributeError):
        ctypes.CDLL(None).malloc_trim(0)


def _name_process(name: str) -> None:
    """Set the name that `ps` and `top` show."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(15, name.encode(), 0, 0, 0)
