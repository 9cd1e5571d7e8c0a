"""All benchmarks, one after the other: `python -m benchmarks` (or `make bench`)."""

from __future__ import annotations

import pkgutil
import subprocess
import sys

import benchmarks

NOT_BENCHMARKS = frozenset(
    [
        "__main__",
        "classroom",
        "fleet",
        "fleet_application",
        "lab_page",
        "limits",
        "load_interference_server",
        "mlp",
        "peers",
        "transition_models",
        "tuning",
    ]
)
"""Parts of others, and those that take half an hour or much memory and are run by name."""


def main() -> int:
    failed = []
    for module in pkgutil.iter_modules(benchmarks.__path__):
        if module.name in NOT_BENCHMARKS:
            continue
        print(f"\n== {module.name}", flush=True)
        if subprocess.run([sys.executable, "-m", f"benchmarks.{module.name}"]).returncode:
            failed.append(module.name)
    if failed:
        print(f"\nfailed, or beyond a limit: {', '.join(failed)}")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
