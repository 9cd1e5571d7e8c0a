"""Two servers behind a real HAProxy against the fleet simulator.

Four balancing policies, each at 60 % and at 200 % of what two servers answer without batching, in
rounds in turns. The model waits without a processor (`timed_model`). The simulator gets the run
times that `calibrate` measured, and the way through HAProxy, measured with single requests. Exits
with 1 if the median error over all cells is above 10 % for throughput, p50 or p90, or 25 % for p99.

    python -m benchmarks.fleet_pair
"""

from __future__ import annotations

import contextlib
import random
import statistics
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path

import numpy as np

import workbench as wb
from benchmarks.timed_model import save_timed
from workbench.core.batching.parameters import BatchingParameters
from workbench.core.model_settings import ModelConfig
from workbench.deploy.balancer.balancer_process import BalancerProcess
from workbench.deploy.balancer.haproxy_config import BalancerSettings
from workbench.deploy.node.fleet_secret import new_secret, tokens_of
from workbench.deploy.node.owned_server import OwnedServer
from workbench.deploy.plan.plan import Plan, PlannedModel
from workbench.experiments.fleet.fleet_setting import FleetSetting
from workbench.experiments.fleet.simulate_fleet import simulate_fleet
from workbench.experiments.load.generator import LoadJob, LoadResult, run_load
from workbench.experiments.simulator.service_time import ServiceTime
from workbench.load.arrivals import Schedule

POLICIES = {
    "round_robin": "roundrobin",
    "random": "random(1)",
    "two_choices": "random(2)",
    "least_outstanding": "leastconn",
}
LOADS, ROUNDS, SECONDS = (0.6, 2.0), 5, 5.0
LIMITS = {"throughput": 0.10, "p50": 0.10, "p90": 0.10, "p99": 0.25}
PARAMETERS = BatchingParameters(
    max_batch_size=16, batch_timeout_micros=2000, max_enqueued_batches=1000, num_batch_threads=1
)
HOST, BODY = "127.0.0.1", b'{"instances":[[1,2,3,4]]}'


def main() -> int:
    with tempfile.TemporaryDirectory(prefix="wb-pair-") as folder, contextlib.ExitStack() as stack:
        base = save_timed(folder)
        service = _calibrated(base)
        tokens = tokens_of(new_secret(), "pair")
        model = PlannedModel(ModelConfig("timed", base, batching=PARAMETERS), (1,))
        servers = []
        for number in (1, 2):
            server = OwnedServer(f"pair-{number}", HOST, tokens, {"num_batch_threads": 1})
            stack.callback(server.stop)
            server.follow(Plan("pair", (model,)))
            servers.append(server.address)
        balancers = {}
        for policy, balance in POLICIES.items():
            port = random.SystemRandom().randrange(10_000, 30_000)
            settings = BalancerSettings(HOST, port, port + 1, port + 2, balance)
            balancer = stack.enter_context(BalancerProcess(settings))
            balancer.update(servers)
            balancers[policy] = port
        return _compare(balancers, tokens.data, service)


def _calibrated(base: str) -> ServiceTime:
    with wb.serve(Path(base), "timed", batching=PARAMETERS, num_batch_threads=1) as server:
        return server.calibrate(rows=1, keep=False, progress=False).service


def _compare(balancers: Mapping[str, int], token: str, service: ServiceTime) -> int:
    # Without batching, a server answers one request in the run time of one row.
    capacity = 2e6 / service.mean(1)
    way = _way_micros(next(iter(balancers.values())), token, service)
    print(f"a batch takes {service.mean(1) / 1e3:.1f} ms; the way takes {way} us")
    measured: dict[tuple[str, float], list[dict[str, float]]] = {}
    predicted: dict[tuple[str, float], list[dict[str, float]]] = {}
    for seed in range(ROUNDS):
        for share in LOADS:
            schedule = Schedule("poisson", capacity * share, SECONDS, seed=seed)
            for policy, port in balancers.items():
                cell = policy, share
                measured.setdefault(cell, []).append(_measured(_run(port, token, schedule)))
                setting = FleetSetting(
                    servers=2, policy=policy, to_server_micros=way // 2, from_server_micros=way // 2
                )
                found = simulate_fleet(
                    PARAMETERS, schedule.arrivals(), service, 1, setting, seed=seed
                ).summary()
                latency = found["latency_s"]
                predicted.setdefault(cell, []).append(
                    {"throughput": found["achieved_per_s"]}
                    | {f"p{level}": latency[float(level)] for level in (50, 90, 99)}
                )
    return _report(measured, predicted)


def _report(
    measured: Mapping[tuple[str, float], list[dict[str, float]]],
    predicted: Mapping[tuple[str, float], list[dict[str, float]]],
) -> int:
    errors: dict[str, list[float]] = {name: [] for name in LIMITS}
    for cell in measured:
        words = []
        for name in LIMITS:
            seen = statistics.median(each[name] for each in measured[cell])
            told = statistics.median(each[name] for each in predicted[cell])
            errors[name].append(told / seen - 1)
            unit = 1 if name == "throughput" else 1e3
            words.append(f"{name} {seen * unit:6.1f} {told / seen - 1:+5.0%}")
        print(f"{cell[0]:18} {cell[1]:4.0%}  {'   '.join(words)}")
    missed = 0
    for name, limit in LIMITS.items():
        middle = statistics.median(map(abs, errors[name]))
        missed += middle > limit
        print(f"median error of {name}: {middle:.1%} (wanted: {limit:.0%})")
    return 1 if missed else 0


def _run(port: int, token: str, schedule: Schedule) -> LoadResult:
    headers = {"Authorization": f"Bearer {token}", "Content-Type": "application/json"}
    job = LoadJob((HOST, port), "/v1/models/timed:predict", [BODY], schedule, headers, 256)
    return run_load(job)


def _measured(result: LoadResult) -> dict[str, float]:
    if not result.succeeded.all():
        raise SystemExit(f"requests failed: {result.failures} {result.first_error}")
    found = result.summary()
    quantiles = np.quantile(result.latency, [0.5, 0.9, 0.99]).tolist()
    return {"throughput": found["achieved_per_s"]} | dict(
        zip(("p50", "p90", "p99"), quantiles, strict=True)
    )


def _way_micros(port: int, token: str, service: ServiceTime) -> int:
    """From a caller to a server and back, beyond the server's own time: rare requests, measured and
    simulated."""
    schedule = Schedule("poisson", 10.0, SECONDS, seed=99)
    seen = float(np.median(_run(port, token, schedule).latency))
    alone = simulate_fleet(PARAMETERS, schedule.arrivals(), service, 1, FleetSetting(servers=2))
    return max(0, round((seen - float(np.median(alone.latency))) * 1e6))


if __name__ == "__main__":
    sys.exit(main())
