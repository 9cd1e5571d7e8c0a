"""A server that is simulated: windows of load as a real one would have measured them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import numpy as np

from workbench.core.batching.parameters import BatchingParameters
from workbench.experiments.load.measure import Window
from workbench.experiments.simulator.calibration import Calibration
from workbench.experiments.simulator.service_time import ServiceTime
from workbench.load.arrivals import poisson


def calibration(base: float = 1000.0, row: float = 100.0, spread: float = 0.2) -> Calibration:
    """A model whose batches run for `base + row * rows` microseconds, give or take `spread`."""
    random = np.random.default_rng(0)
    samples = {
        (1, rows): (base + row * rows) * random.uniform(1 - spread, 1 + spread, 200)
        for rows in (1, 2, 4, 8)
    }
    return Calibration(ServiceTime.from_samples(samples), "m", 1, slots=2, rows=1)


def noisy(of: Calibration, seed: int, error: float = 0.05) -> Calibration:
    """The same model as another calibration would have found it."""
    factor = 1 + error * np.random.default_rng(seed).standard_normal()
    return replace(of, service=replace(of.service, micros=of.service.micros * factor))


def window(
    of: Calibration,
    parameters: BatchingParameters,
    load: Mapping[str, float],
    seconds: float,
    seed: int,
) -> Window:
    """One window of an open loop."""
    arrivals = poisson(load["rate"], seed=seed, duration=seconds)
    run = of.simulate(parameters, arrivals, seed)
    answered = run.answered
    sizes, counts = np.unique(run.sizes, return_counts=True)
    queued = run.queued * 1e6
    ran = (run.ended - run.started) * 1e6
    rejected = int((~answered).sum())
    return Window(
        seconds=seconds,
        sent=len(arrivals),
        latency=run.latency,
        batch=run.batch[answered],
        ended=run.done[answered],
        answered=int((run.done <= seconds).sum()),
        failures={"rejected": rejected} if rejected else {},
        send_delay_p99=0.0,
        limited=False,
        batches={
            "batches": len(run.sizes),
            "rows": int(run.sizes.sum()),
            "requests": int(answered.sum()),
            "rejected": rejected,
            "queued_micros": float(queued.sum()),
            "request_run_micros": float(ran[run.batch[answered]].sum()),
            "slot_micros": float(ran.sum()),
            "sizes": dict(zip(map(str, sizes.tolist()), counts.tolist(), strict=True)),
            "reasons": run.reason_counts,
        },
        version=1,
    )
