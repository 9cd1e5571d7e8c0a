"""The device of a worker: what CUDA is told before it is first used."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from workbench.server.worker.device import show_device

_IMPORT_SECONDS = 100


@pytest.mark.parametrize(("device", "shown"), [("host", ""), ("gpu:0", "0"), ("gpu:12", "12")])
def test_one_gpu_or_none_is_shown(monkeypatch: pytest.MonkeyPatch, device: str, shown: str) -> None:
    for name in ("CUDA_VISIBLE_DEVICES", "CUDA_DEVICE_ORDER"):
        monkeypatch.setenv(name, "as it was")
    show_device(device)
    # As NVML counts them, by their place on the bus.
    assert os.environ["CUDA_DEVICE_ORDER"] == "PCI_BUS_ID"
    assert os.environ["CUDA_VISIBLE_DEVICES"] == shown


def test_without_a_gpu_the_allocator_has_nothing_to_say() -> None:
    code = (
        "from workbench.server.worker.device import *; show_device('host'); print(allocator_use())"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        env={**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3"},
        capture_output=True,
        text=True,
        timeout=_IMPORT_SECONDS,
    )
    assert done.stdout.strip() == "None", done.stderr
