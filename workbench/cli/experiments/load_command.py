"""`workbench load`: loads a server with its present settings."""

from __future__ import annotations

import argparse

from workbench.cli.arguments import (
    LOAD,
    Commands,
    add_command,
    add_json,
    add_load,
    add_server,
    given,
)
from workbench.cli.experiments.result_printing import print_json
from workbench.facade import connect


def add(commands: Commands) -> None:
    """Add `workbench load [NAME] --rate R | --clients N`."""
    one = add_command(
        commands,
        "load",
        "load a server with its present settings",
        _run,
        example="workbench load digits --rate 200 --seconds 10",
    )
    add_server(one)
    add_json(one)
    add_load(one, many=False)
    one.add_argument("--seconds", type=float, default=5.0, help="how long, in seconds")


def _run(arguments: argparse.Namespace) -> int:
    from workbench.experiments.load.load_server import load_server

    result = load_server(connect(arguments.name), **given(arguments, *LOAD))
    if arguments.json:
        print_json(result)
        return 0
    (point,) = result.points
    print(
        f"{result.where}, {result.loop}: offered {point.offered:.0f}, achieved "
        f"{point.achieved.estimate:.0f} requests/s: {point.verdict}"
    )
    for name, found in point.latency.items():
        low, high = found.low * 1e3, found.high * 1e3
        print(f"{name:>6} {found.estimate * 1e3:9.3f} ms   [{low:.3f}, {high:.3f}]")
    print(
        f"queue {point.queue * 1e3:.3f} + run {point.run * 1e3:.3f} + rest "
        f"{point.overhead * 1e3:.3f} ms; {point.batch_rows:.1f} rows a batch; rejected "
        f"{point.rejected:.1%}"
    )
    return 0
