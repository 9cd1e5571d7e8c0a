"""`workbench tune`: finds batching parameters for a latency at a rate."""

from __future__ import annotations

import argparse

from workbench.cli.arguments import (
    Commands,
    add_command,
    add_json,
    add_request,
    add_server,
    add_when_busy,
    given,
)
from workbench.cli.experiments.result_printing import print_json
from workbench.facade import connect

_STATUS = {True: 0, False: 1, None: 3}
"""The exit status: met, not met, not sure yet."""


def add(commands: Commands) -> None:
    """Add `workbench tune [NAME] --p99-ms MS --rate R`."""
    one = add_command(
        commands,
        "tune",
        "find batching parameters for a latency at a rate; exits with 0 if it is met, 1 if not, "
        "and 3 if that is not sure yet",
        _run,
        example="workbench tune digits --p99-ms 20 --rate 500",
    )
    add_server(one)
    add_json(one)
    one.add_argument("--p99-ms", type=float, required=True, help="the p99 latency to keep, in ms")
    one.add_argument("--rate", type=float, required=True, help="requests per second")
    add_request(one)
    what = "seconds at most, calibration included"
    one.add_argument("--seconds", type=float, default=55.0, help=what)
    add_when_busy(one)
    one.add_argument("--apply", action="store_true", help="apply parameters that meet the latency")


def _run(arguments: argparse.Namespace) -> int:
    chosen = given(arguments, "p99_ms", "rate", "rows", "where", "seconds", "when_busy", "apply")
    result = connect(arguments.name).tune(**chosen, progress=not arguments.json)
    if arguments.json:
        print_json(result)
    else:
        print(result)
    return _STATUS[result.meets]
