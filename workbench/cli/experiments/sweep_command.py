"""`workbench sweep`: measures batching settings under load."""

from __future__ import annotations

import argparse

from workbench.cli.arguments import (
    LOAD,
    Commands,
    add_command,
    add_json,
    add_load,
    add_plot,
    add_server,
    add_when_busy,
    given,
    numbers,
)
from workbench.cli.experiments.result_printing import print_json, save_figure
from workbench.facade import connect

_PARAMETERS = (
    ("--timeout", "MICROS,...", "batch_timeout_micros"),
    ("--size", "ROWS,...", "max_batch_size"),
    ("--threads", "SLOTS,...", "num_batch_threads"),
)


def add(commands: Commands) -> None:
    """Add `workbench sweep [NAME] --rate R,... | --clients N,...`."""
    one = add_command(
        commands,
        "sweep",
        "measure batching settings under load",
        _run,
        example="workbench sweep digits --timeout 0,1000,5000 --size 8,32 --rate 200,800",
    )
    add_server(one)
    add_json(one)
    for flag, values, parameter in _PARAMETERS:
        what = f"values of {parameter} (default: the server's)"
        one.add_argument(flag, dest=parameter, type=numbers(int), metavar=values, help=what)
    add_load(one, many=True)
    what = "seconds of load for each point, on average (default: 2 to 12, by the rate)"
    one.add_argument("--seconds", type=float, help=what)
    p99 = "the wanted p99 in milliseconds: each point meets it or does not (default: none)"
    one.add_argument("--p99-ms", type=float, help=p99)
    add_when_busy(one)
    add_plot(one)
    one.add_argument(
        "--parameters",
        metavar="FILE",
        help="write the best settings to this file, for TensorFlow Serving (default: no file)",
    )


def _run(arguments: argparse.Namespace) -> int:
    parameters = (parameter for _, _, parameter in _PARAMETERS)
    result = connect(arguments.name).sweep(
        **given(arguments, *parameters, *LOAD, "p99_ms", "when_busy"),
        progress=not arguments.json,
    )
    if arguments.plot:
        save_figure(result, arguments.plot)
    if arguments.json:
        print_json(result)
    else:
        print(result)
    if arguments.parameters:
        result.to_batching_parameters(arguments.parameters)
    if result.failure is not None:
        return 1
    return 130 if result.interrupted else 0
