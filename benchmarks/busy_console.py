"""REST latency while an endless loop runs in the serving kernel's console.

    python -m benchmarks.busy_console [--quick]

The kernel holds no traffic, so its interpreter may be as busy as it likes: what is left is that
the loop takes a core from the machine. Rounds with and without the loop alternate, so that a slow
minute of the machine harms both alike.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import statistics
import sys
import tempfile

import numpy as np
from jupyter_client.blocking import BlockingKernelClient

import workbench as wb
from benchmarks.limits import Limits
from benchmarks.mlp import save_mlp
from workbench.experiments.load.generator import LoadJob, run_load
from workbench.load.arrivals import Schedule
from workbench.processes import paths, registry
from workbench.processes.kernel_launcher import KernelLauncher

RATE = 300.0
"""Requests a second: far from saturation, as latency is what is asked about."""


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="one short round")
    rounds, seconds = (1, 2.0) if parser.parse_args().quick else (6, 5.0)
    with (
        tempfile.TemporaryDirectory() as folder,
        wb.serve(save_mlp(folder), "bench-console", launcher=KernelLauncher()) as server,
    ):
        entry = registry.find(server.name)
        console = BlockingKernelClient()
        console.load_connection_file(str(paths.runtime_folder() / f"kernel-{entry.kernel_id}.json"))
        console.start_channels()
        console.wait_for_ready(timeout=30)

        def p99(seed: int) -> float:
            job = LoadJob(
                (entry.host, entry.port),
                f"/v1/models/{server.model}:predict",
                [json.dumps({"instances": np.zeros((1, 784)).tolist()}).encode()],
                Schedule("poisson", rate=RATE, duration_s=seconds, seed=seed),
                {"Authorization": f"Bearer {entry.token}"},
            )
            result = run_load(job)
            assert result.succeeded.all(), result.summary()
            return float(np.percentile(result.latency, 99))

        p99(0)
        idle, busy = [], []
        for seed in range(1, rounds + 1):
            idle.append(p99(seed))
            loop = console.execute("while True: pass")
            busy.append(p99(seed))
            os.kill(entry.supervisor.pid, signal.SIGINT)
            while (reply := console.get_shell_msg(timeout=30))["parent_header"]["msg_id"] != loop:
                pass
            assert reply["content"]["ename"] == "KeyboardInterrupt", reply
        console.stop_channels()
    before, during = statistics.median(idle), statistics.median(busy)
    limits = Limits()
    limits.row(
        f"p99 at {RATE:.0f} requests/s beside a busy console",
        f"{during / before:.2f} times ({before * 1e3:.1f} -> {during * 1e3:.1f} ms)",
        f"at most 1.5 times (medians of {rounds} rounds)",
        during / before <= 1.5,
    )
    return limits.exit_code()


if __name__ == "__main__":
    sys.exit(main())
