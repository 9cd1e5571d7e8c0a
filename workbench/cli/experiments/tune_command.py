"""`workbench tune`: finds batching parameters for a latency at a rate."""

from __future__ import annotations

import argparse

from workbench.cli.arguments import (
    Commands,
    add_command,
    add_json,
    add_request,
    add_server,
    given,
)
from workbench.cli.experiments.result_printing import print_frame, print_json
from workbench.facade import connect


def add(commands: Commands) -> None:
    """Add `workbench tune [NAME] --p99-ms MS --rate R`."""
    one = add_command(
        commands,
        "tune",
        "find batching parameters for a latency at a rate",
        _run,
        example="workbench tune digits --p99-ms 20 --rate 500",
    )
    add_server(one)
    add_json(one)
    one.add_argument("--p99-ms", type=float, required=True, help="the p99 latency to keep, in ms")
    one.add_argument("--rate", type=float, required=True, help="requests per second")
    add_request(one)
    one.add_argument("--apply", action="store_true", help="apply the best parameters")


def _run(arguments: argparse.Namespace) -> int:
    chosen = given(arguments, "p99_ms", "rate", "rows", "where", "apply")
    result = connect(arguments.name).tune(**chosen, progress=not arguments.json)
    if arguments.json:
        print_json(result)
    else:
        print_frame(result.frame)
        print(result)
    return 0 if result.meets else 1
