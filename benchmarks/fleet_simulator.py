"""How quick the fleet simulator is: a million requests to a thousand servers, with each policy.

The servers are four fifths busy. They run batches of up to 16 requests, about 11 on average, as
servers of models do. Exits with 1 where a policy takes longer than the target, in processor time.

Requests that are not batched are the most work: each has its own turns of a server's loop. They are
measured too, with one policy and without a target, and once more with one server, to show how much
longer a fleet of one takes than `simulate`.

    python -m benchmarks.fleet_simulator
"""

from __future__ import annotations

import sys
import time

from workbench.core.batching.parameters import BatchingParameters
from workbench.core.fleet.balancing import POLICIES
from workbench.experiments.fleet.fleet_setting import FleetSetting
from workbench.experiments.fleet.simulate_fleet import simulate_fleet
from workbench.experiments.simulator.service_time import ServiceTime
from workbench.experiments.simulator.simulate import simulate
from workbench.load.arrivals import poisson

TARGET_SECONDS = 20.0
SERVERS, REQUESTS = 1000, 1_000_000
BATCHED = BatchingParameters(max_batch_size=16, max_enqueued_batches=100)
BATCH_TIMES, BATCHED_RATE = ServiceTime.linear(4000, 200), 1800.0
SINGLES = BatchingParameters(max_batch_size=1, max_enqueued_batches=1_000_000)
SINGLE_TIMES, SINGLE_RATE = ServiceTime.exponential(1000), 800.0
ONE, ROUNDS = 100_000, 5


def measured(
    label: str, policy: str, parameters: BatchingParameters, service: ServiceTime, rate: float
) -> float:
    """Seconds of processor time for a million requests, `rate` a second for each server."""
    arrivals = poisson(SERVERS * rate, seed=1, count=REQUESTS)
    started, used = time.perf_counter(), time.process_time()
    setting = FleetSetting(servers=SERVERS, policy=policy)
    result = simulate_fleet(parameters, arrivals, service, 1, setting)
    seconds, passed = time.process_time() - used, time.perf_counter() - started
    found = result.summary()
    print(
        f"{label}: {seconds:.1f} s of a processor (in {passed:.1f} s), "
        f"{seconds * 1e6 / REQUESTS:.1f} us a request; batches of {found['batch_rows_mean']:.1f}, "
        f"p99 {found['latency_s'][99.0] * 1e3:.1f} ms, longest queue {found['longest_queue']}",
        flush=True,
    )
    return seconds


def of_one() -> float:
    """How many times as long a fleet of one takes as the server alone: the median of rounds that
    take turns."""
    arrivals = poisson(SINGLE_RATE, seed=1, count=ONE)
    ratios = []
    for _ in range(ROUNDS):
        started = time.perf_counter()
        simulate(SINGLES, arrivals, SINGLE_TIMES, 1)
        between = time.perf_counter()
        simulate_fleet(SINGLES, arrivals, SINGLE_TIMES, 1, FleetSetting(servers=1))
        ratios.append((time.perf_counter() - between) / (between - started))
    return sorted(ratios)[ROUNDS // 2]


def main() -> int:
    slowest = max(
        measured(policy, policy, BATCHED, BATCH_TIMES, BATCHED_RATE) for policy in POLICIES
    )
    print(f"wanted: under {TARGET_SECONDS:.0f} s for each policy")
    measured("not batched, two_choices", "two_choices", SINGLES, SINGLE_TIMES, SINGLE_RATE)
    print(f"a fleet of one takes {of_one():.2f} times as long as the server alone")
    return int(slowest >= TARGET_SECONDS)


if __name__ == "__main__":
    sys.exit(main())
