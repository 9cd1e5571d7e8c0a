"""Predicts what a fleet of servers does with a load, in virtual time.

The servers are those of `simulate`, driven by the same code, so a fleet of one with a balancer that
costs nothing gives the same result to the microsecond.
"""

from __future__ import annotations

import gc
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from workbench.core.batching.parameters import BatchingParameters
from workbench.core.fleet.balancing import POLICIES
from workbench.experiments.figure import Picture
from workbench.experiments.fleet.fleet_checks import FleetChecks
from workbench.experiments.fleet.fleet_operations import FleetOperations
from workbench.experiments.fleet.fleet_result import FleetResult, result_of
from workbench.experiments.fleet.fleet_setting import FleetSetting
from workbench.experiments.fleet.fleet_simulation import FleetSimulation
from workbench.experiments.showing import figures
from workbench.experiments.simulator.service_time import ServiceTime
from workbench.experiments.simulator.simulate import request_sizes
from workbench.load.arrivals import Seconds

if TYPE_CHECKING:
    import pandas as pd


def simulate_fleet(
    parameters: BatchingParameters,
    arrivals: Seconds,
    service: ServiceTime,
    slots: int,
    setting: FleetSetting,
    *,
    rows: int | NDArray[np.int64] = 1,
    seed: int = 0,
) -> FleetResult:
    """Send requests of `rows` rows at the times `arrivals` (shape (n,), in seconds, increasing) to
    a fleet. The same `seed` gives the same result.

    Args:
        parameters, service, slots: of each server, as in `simulate`.
        setting: the servers, the balancers before them, and what happens to them.
        rows: of all requests, or shape (n,), of each of them.

    Raises:
        ServingError: INVALID_ARGUMENT, as `simulate`.
    """
    times = np.rint(np.asarray(arrivals) * 1e6).astype(np.int64).tolist()
    sizes, mean = request_sizes(rows, len(times))
    with _no_garbage():
        simulation = FleetSimulation(parameters, service, slots, sizes, seed, times, setting)
        operations = FleetOperations(simulation, FleetChecks(simulation))
        simulation.run()
        return result_of(simulation, operations.wanted, parameters, slots, mean)


@contextmanager
def _no_garbage() -> Iterator[None]:
    """Millions of objects are made here, and none of them is garbage before the end. The collector
    would look at all of them again and again."""
    if not gc.isenabled():
        yield
        return
    gc.disable()
    try:
        yield
    finally:
        gc.enable()


@dataclass(frozen=True, eq=False)
class PolicyComparison:
    """The same requests, sent to the same fleet by several balancing policies.

    Attributes:
        results: by policy.
    """

    results: dict[str, FleetResult]

    @property
    def frame(self) -> pd.DataFrame:
        """A row for each policy; latencies are milliseconds."""
        import pandas as pd

        lines = []
        for policy, result in self.results.items():
            found = result.summary()
            latency = found["latency_s"]
            lines.append(
                {
                    "policy": policy,
                    "achieved_per_s": found["achieved_per_s"],
                    **{f"p{p:g}_ms": latency.get(p, np.nan) * 1e3 for p in (50.0, 90.0, 99.0)},
                    "longest_queue": found["longest_queue"],
                    "busiest_share": found["busiest_share"],
                    "batch_rows": found["batch_rows_mean"],
                    "failed_share": found["failed_share"],
                }
            )
        return pd.DataFrame(lines)

    def plot(self) -> Picture:
        """The results side by side, on the same axes."""
        return figures(self)

    def _repr_png_(self) -> bytes:
        return self.plot()._repr_png_()


def compare_policies(
    parameters: BatchingParameters,
    arrivals: Seconds,
    service: ServiceTime,
    slots: int,
    setting: FleetSetting,
    *,
    policies: Iterable[str] = tuple(POLICIES),
    rows: int | NDArray[np.int64] = 1,
    seed: int = 0,
) -> PolicyComparison:
    """`simulate_fleet` with each of these balancing policies in place of that of `setting`. All
    share their random numbers, so the results differ only by the policy.

    Raises:
        ServingError: INVALID_ARGUMENT, as `simulate_fleet`, or for an unknown policy.
    """
    return PolicyComparison(
        {
            policy: simulate_fleet(
                parameters,
                arrivals,
                service,
                slots,
                replace(setting, policy=policy),
                rows=rows,
                seed=seed,
            )
            for policy in policies
        }
    )
