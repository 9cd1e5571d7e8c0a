"""What it costs to find out whether a model's rows are independent of one another.

    python -m benchmarks.row_proof [--quick]

For each model of the zoo (`tests/zoo`) whose rows are independent: following its graph, and running
the same rows together and alone, beside the rest of its load; for a ResNet-50 the same, without a
limit. The limit for each model of the zoo is 100 ms beyond the load.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from tests.servers import Server
from tests.zoo.rowwise import ROWWISE
from tests.zoo.rowwise_keras import ROWWISE_KERAS
from workbench.server.engine.trial import trial

LIMIT_SECONDS = 0.1
_RESNET = "resnet50"
_EXPORT_RESNET = f"""
import sys, keras
keras.applications.ResNet50(weights=None).export(sys.argv[1] + "/{_RESNET}", verbose=False)
"""


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--quick", action="store_true", help="five models")
    names = [specimen.name for specimen in [*ROWWISE, *ROWWISE_KERAS]]
    if parser.parse_args().quick:
        names = names[:: len(names) // 4]
    with tempfile.TemporaryDirectory() as folder:
        _run("-m", "tests.zoo.models_main", folder, *names)
        _run("-c", _EXPORT_RESNET, folder)
        proofs = _proofs(Path(folder), [*names, _RESNET])
    for name, (graph, run, load) in sorted(proofs.items(), key=lambda each: sum(each[1][:2])):
        print(
            f"{name:32} graph {graph * 1e3:6.1f} ms, run {run * 1e3:7.1f} ms, "
            f"load {load * 1e3:6.0f} ms: {(graph + run) / load:5.1%} of it"
        )
    beyond = [name for name in names if sum(proofs[name][:2]) > LIMIT_SECONDS]
    print(f"beyond {LIMIT_SECONDS * 1e3:.0f} ms: {', '.join(beyond) or 'none'}")
    return int(bool(beyond))


def _run(*arguments: str) -> None:
    quiet = {**os.environ, "CUDA_VISIBLE_DEVICES": "", "TF_CPP_MIN_LOG_LEVEL": "2"}
    subprocess.run(
        [sys.executable, *arguments],
        check=True,
        env=quiet,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )


def _proofs(models: Path, names: list[str]) -> dict[str, tuple[float, float, float]]:
    """For each model the seconds of following its graph, of the runs, and of the rest of its
    load."""
    runs: list[float] = []
    independent = trial.independent

    async def timed(*arguments: Any) -> Any:
        started = time.monotonic()
        try:
            return await independent(*arguments)
        finally:
            runs.append(time.monotonic() - started)

    trial.independent = timed  # type: ignore[attr-defined]
    found = {}
    with Server(models) as server, tempfile.TemporaryDirectory() as folder:
        for name in names:
            base, before = Path(folder, name), len(runs)

            async def load(name: str = name, base: Path = base) -> tuple[float, float]:
                served = (await server.serve(base, name))[1]
                graph = served.breakdown["facts"]
                return graph, served.load_seconds - served.breakdown["trial"] - graph

            graph, rest = server.run(load())
            found[name] = graph, sum(runs[before:]), rest
            server.clear()
    return found


if __name__ == "__main__":
    sys.exit(main())
