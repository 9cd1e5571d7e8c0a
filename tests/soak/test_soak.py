"""Versions come and go under load, again and again; in the end everything is as it was.

`make soak` takes twenty minutes; the short run is part of `make test-full`.
"""

from __future__ import annotations

import os
import threading
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import psutil
import pytest

import workbench as wb
from workbench.experiments.load.generator import LoadResult, run_load
from workbench.experiments.load.measure import load_job
from workbench.experiments.load.server_load import Payload
from workbench.facade import Server
from workbench.load.arrivals import Schedule
from workbench.processes import registry

FLIP_SECONDS = 3.0
LOAD = 0.7
"""Of what the model can do, measured before."""

INPUTS = {"x": np.ones(1, np.float32), "steps": np.full(1, 20, np.int32)}
"""Some milliseconds of work a request, so that the model is what is busy."""


def state(server: Server) -> dict[str, float]:
    """Descriptors, regions, threads and memory of the server's whole process tree, from its
    supervisor down."""
    pids = server.memory()
    supervisor = psutil.Process(registry.find(server.name).supervisor.pid)
    processes = [supervisor, *supervisor.children(recursive=True)]
    return {
        "regions": sum(regions(process.pid) for process in processes),
        "processes": len(processes),
        "descriptors": sum(p.num_fds() for p in processes),
        "threads": sum(p.num_threads() for p in processes),
        "pss": float(pids["pss"].sum()),
    }


def settled(server: Server, before: dict[str, float], seconds: float = 60.0) -> dict[str, float]:
    """The server's state once it holds as much as before; work under way may hold a descriptor
    for a moment.

    Raises:
        AssertionError: it still holds more, or less, after that time.
    """
    names = ("processes", "descriptors", "regions", "threads")
    end = time.monotonic() + seconds
    while True:
        now = state(server)
        if all(now[name] == before[name] for name in names):
            return now
        assert time.monotonic() < end, (before, now)
        time.sleep(0.5)


def regions(pid: int) -> int:
    """Anonymous memory regions that a process holds open."""
    held = 0
    for fd in os.listdir(f"/proc/{pid}/fd"):
        try:
            held += os.readlink(f"/proc/{pid}/fd/{fd}").startswith("/memfd:")
        except FileNotFoundError:
            continue
    return held


def capacity(server: Server) -> float:
    """Requests a second that are answered when there is always one more waiting."""
    result = run_load(load_job(server, Payload([INPUTS], 1), 16, 3.0, "rest"))
    assert result.succeeded.all(), result.summary()
    return len(result.intended) / result.sent_until_s


def soak(models: Path, runtime: Path, seconds: float, patch: pytest.MonkeyPatch) -> None:
    patch.setenv("JUPYTER_RUNTIME_DIR", str(runtime))
    model = str(models / "slow")
    with wb.serve(model, "soak") as server:
        # The first changes fill caches and pools; what counts is what comes after them.
        for _ in range(3):
            server.publish(model)
        rate = LOAD * capacity(server)
        time.sleep(1.0)
        before = state(server)

        stop = threading.Event()
        results: list[LoadResult] = []
        schedule = Schedule("poisson", rate=rate, duration_s=seconds + 60, seed=1)
        job = load_job(server, Payload([INPUTS], 1), schedule, seconds + 60, "rest")
        job = replace(job, timeout_s=30.0)
        load = threading.Thread(target=lambda: results.append(run_load(job, None, stop)))
        load.start()
        end = time.monotonic() + seconds
        flips = 0
        while time.monotonic() < end:
            if flips % 2:
                server.rollback()
            else:
                server.publish(model)
            flips += 1
            time.sleep(FLIP_SECONDS)
        stop.set()
        load.join(60)
        (result,) = results
        assert result.succeeded.all(), result.summary()

        after = settled(server, before)
    assert flips > 2
    # Statistics grow by some kilobytes; a leaked worker would be tens of megabytes.
    assert before["pss"] * 0.95 < after["pss"] < before["pss"] * 1.05, (before, after)


@pytest.mark.slow
@pytest.mark.alone
@pytest.mark.timeout(360)
def test_a_short_soak(models: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    soak(models, tmp_path / "runtime", 120.0, monkeypatch)


@pytest.mark.soak
@pytest.mark.timeout(1800)
def test_twenty_minutes(models: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    soak(models, tmp_path / "runtime", 1200.0, monkeypatch)
