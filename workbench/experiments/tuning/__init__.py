"""Finding batching parameters for a latency at a rate.

`candidates` simulates settings and puts them in order. `tune` measures the first few until one is
known to meet the latency (`tune_result`, drawn by `tune_figure`).
"""

__all__ = ["candidates", "tune", "tune_result", "tune_figure"]
