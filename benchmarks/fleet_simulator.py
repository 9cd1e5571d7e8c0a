"""How quick the fleet simulator is: a million requests to a thousand servers, with each policy.

Each server takes 1 ms on average for a request, and is busy for 80 % of the time. Requests are not
batched, which is the most work for the simulator: larger batches cost less a request. The same
requests to one server show how much longer a fleet of one takes than `simulate`. Exits with 1 where
a policy takes more processor time than the target.

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
ONE, ROUNDS = 100_000, 5
PARAMETERS = BatchingParameters(max_batch_size=1, max_enqueued_batches=1_000_000)
SERVICE = ServiceTime.exponential(1000)
RATE = 800.0


def of_one() -> float:
    """How many times as long a fleet of one takes as the server alone: the median of rounds that
    take turns."""
    arrivals = poisson(RATE, seed=1, count=ONE)
    ratios = []
    for _ in range(ROUNDS):
        started = time.perf_counter()
        simulate(PARAMETERS, arrivals, SERVICE, 1)
        between = time.perf_counter()
        simulate_fleet(PARAMETERS, arrivals, SERVICE, 1, FleetSetting(servers=1))
        ratios.append((time.perf_counter() - between) / (between - started))
    return sorted(ratios)[ROUNDS // 2]


def main() -> int:
    arrivals = poisson(SERVERS * RATE, seed=1, count=REQUESTS)
    slowest = 0.0
    for policy in POLICIES:
        setting = FleetSetting(servers=SERVERS, policy=policy)
        started, used = time.perf_counter(), time.process_time()
        result = simulate_fleet(PARAMETERS, arrivals, SERVICE, 1, setting)
        seconds, took = time.process_time() - used, time.perf_counter() - started
        slowest = max(slowest, seconds)
        found = result.summary()
        print(
            f"{policy}: {seconds:.1f} s of a processor in {took:.1f} s (wanted: under "
            f"{TARGET_SECONDS:.0f}), {seconds * 1e6 / REQUESTS:.1f} us a request; p99 "
            f"{found['latency_s'][99.0] * 1e3:.1f} ms, longest queue {found['longest_queue']}",
            flush=True,
        )
    print(f"a fleet of one takes {of_one():.2f} times as long as the server alone")
    return int(slowest >= TARGET_SECONDS)


if __name__ == "__main__":
    sys.exit(main())
