"""A notebook with every live view open under traffic: scripting in each frame, by Chromium's
tracing, and the CPU of the notebook's kernel.

    python -m benchmarks.live_notebook [--quick]
"""

from __future__ import annotations

import argparse
import sys

import numpy as np

from benchmarks.lab_page import lab_page
from benchmarks.limits import Limits
from tests.browser.live_notebook import RATE, EveryView, traffic

FRAMES = 50.0
KERNEL_CPU = 0.05


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="five seconds")
    seconds = 5.0 if parser.parse_args().quick else 20.0
    with lab_page() as (lab, browser, page, models):
        every = EveryView(lab, browser, page, models)
        with traffic(lab, seconds + 60):
            page.wait_for_timeout(10_000)
            cost = every.watch(seconds)
        every.close()
    limits = Limits()
    middle, high = np.percentile(cost.scripting_ms, [50, 99])
    print(f"{cost.frames} frames in {seconds:.0f} s, {RATE:.0f} requests/s")
    limits.row(
        "scripting in a frame, median and p99",
        f"{middle:.1f} and {high:.1f} ms",
        f"p99 at most {1000 / FRAMES:.0f} ms: {FRAMES:.0f} frames/s",
        high <= 1000 / FRAMES,
    )
    limits.row(
        "CPU of the notebook's kernel",
        f"{cost.kernel_cpu:.1%} of a core",
        f"at most {KERNEL_CPU:.0%}",
        cost.kernel_cpu <= KERNEL_CPU,
    )
    return limits.exit_code()


if __name__ == "__main__":
    sys.exit(main())
