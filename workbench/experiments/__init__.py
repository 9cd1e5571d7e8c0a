"""Measurements of a server, kept and repeatable.

`load` sends requests, `recording` records what happens to them while something is done to the
server. `simulator` predicts batching, `sweep` measures and tunes it. `transitions` compares
policies, `versions` compares two versions. `store` keeps every result, `figure` draws in notebooks
with the `looks` that the browser has too,
and `face` shows a stored result.
"""

__all__ = [
    "load",
    "recording",
    "simulator",
    "sweep",
    "transitions",
    "versions",
    "store",
    "figure",
    "looks",
]
