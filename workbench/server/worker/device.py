"""The device of a worker: which GPU its process sees, and what TensorFlow takes of it.

CUDA decides once in a process's life, at its first use, which GPUs it shows. So a worker hides all
GPUs but its own before that.
"""

from __future__ import annotations

import os
import threading
import time

from workbench.ipc.channel import Channel
from workbench.ipc.frames import ConnectionLost

_REPORT_SECONDS = 1.0


def show_device(device: str) -> None:
    """Let CUDA see one GPU (``gpu:N``, as NVML counts them), or none (``host``)."""
    os.environ["CUDA_DEVICE_ORDER"] = "PCI_BUS_ID"
    os.environ["CUDA_VISIBLE_DEVICES"] = "" if device == "host" else device.partition(":")[2]


def report_allocator(channel: Channel) -> None:
    """Report to the server once a second what TensorFlow's allocator uses of the GPU."""

    def report() -> None:
        last = None
        while True:
            now = allocator_use()
            if now is None:
                return
            if now != last:
                try:
                    channel.send({"gpu_memory": now})
                except ConnectionLost:
                    return
                last = now
            time.sleep(_REPORT_SECONDS)

    threading.Thread(target=report, name="gpu-memory", daemon=True).start()


def allocator_use() -> tuple[int, int] | None:
    """Bytes that TensorFlow uses of the GPU, now and at most; None where there is none."""
    from tensorflow.python.framework import config

    try:
        info = config.get_memory_info("GPU:0")
        return int(info["current"]), int(info["peak"])
    except (ValueError, RuntimeError, KeyError):
        return None
