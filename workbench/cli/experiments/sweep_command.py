"""`workbench sweep`: measures batching settings under load."""

from __future__ import annotations

import argparse

from workbench.cli.arguments import (
    Commands,
    add_command,
    add_json,
    add_load,
    add_plot,
    add_server,
    numbers,
)
from workbench.cli.experiments.result_printing import print_frame, print_json, save_figure
from workbench.facade import connect


def add(commands: Commands) -> None:
    """Add `workbench sweep [NAME] --rate R,... | --clients N,...`."""
    one = add_command(commands, "sweep", "measure batching settings under load", _run)
    add_server(one)
    add_json(one)
    one.add_argument(
        "--timeout", type=numbers(int), metavar="MICROS,...", help="values of batch_timeout_micros"
    )
    one.add_argument(
        "--size", type=numbers(int), metavar="ROWS,...", help="values of max_batch_size"
    )
    one.add_argument(
        "--threads", type=numbers(int), metavar="SLOTS,...", help="values of num_batch_threads"
    )
    add_load(one, many=True)
    one.add_argument("--seconds", type=float, default=2.0, help="at most, for each point")
    one.add_argument("--p99-ms", type=float, help="recommend the fastest settings within this p99")
    add_plot(one)
    one.add_argument(
        "--parameters",
        metavar="FILE",
        help="write the best settings to this file, for TensorFlow Serving",
    )


def _run(arguments: argparse.Namespace) -> int:
    result = connect(arguments.name).sweep(
        batch_timeout_micros=arguments.timeout,
        max_batch_size=arguments.size,
        num_batch_threads=arguments.threads,
        rate=arguments.rate,
        clients=arguments.clients,
        rows=arguments.rows,
        where=arguments.where,
        arrivals=arguments.arrivals,
        seconds=arguments.seconds,
        seed=arguments.seed,
        progress=not arguments.json,
    )
    if arguments.plot:
        save_figure(result, arguments.plot)
    if arguments.json:
        print_json(result)
    else:
        print_frame(result.frame)
        if result.failure is not None:
            print(f"Ended early: {result.failure}")
        for sentence in result.diagnoses():
            print(f"- {sentence}")
    if arguments.parameters:
        result.to_batching_parameters(
            arguments.parameters, result.recommend(p99_ms=arguments.p99_ms)
        )
    if not arguments.json and (arguments.p99_ms is not None or arguments.parameters):
        print(result.recommend(p99_ms=arguments.p99_ms))
    if result.failure is not None:
        return 1
    return 130 if result.interrupted else 0
