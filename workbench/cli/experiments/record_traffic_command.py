"""`workbench record-traffic`: records when requests come to a server, and how large they are."""

from __future__ import annotations

import argparse
from pathlib import Path

from workbench.cli.arguments import Commands, add_command, add_json, add_plot, add_server
from workbench.cli.experiments.result_printing import print_json, save_figure
from workbench.facade import connect


def add(commands: Commands) -> None:
    """Add `workbench record-traffic [NAME] --seconds S --out FILE`."""
    what = "record when requests come and how large they are, without their contents"
    one = add_command(
        commands,
        "record-traffic",
        what,
        _run,
        example="workbench record-traffic digits --seconds 60 --out traffic.json",
    )
    add_server(one)
    add_json(one)
    one.add_argument(
        "--seconds", type=float, default=60.0, help="how long, in seconds; Ctrl-C ends it earlier"
    )
    one.add_argument(
        "--out", metavar="FILE", help="write the traffic to this .json or .csv file (default: none)"
    )
    add_plot(one)


def _run(arguments: argparse.Namespace) -> int:
    from workbench.experiments.traffic.recorded_traffic import is_csv

    if arguments.out:
        # A wrong name is refused before anything is recorded.
        is_csv(Path(arguments.out))
    server = connect(arguments.name)
    traffic = server.record_traffic(seconds=arguments.seconds, progress=not arguments.json)
    if arguments.out:
        traffic.save(arguments.out)
    if arguments.plot:
        save_figure(traffic, arguments.plot)
    if arguments.json:
        print_json(traffic)
    else:
        print(traffic)
    return 0
