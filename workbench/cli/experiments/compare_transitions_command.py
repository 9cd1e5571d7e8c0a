"""`workbench compare-transitions`: loads a version under each policy, with the same traffic."""

from __future__ import annotations

import argparse
import json
from functools import partial

from workbench.cli.arguments import (
    Commands,
    add_command,
    add_json,
    add_plot,
    add_server,
    add_when_busy,
    default_of,
    given,
    names,
    read_data,
)
from workbench.cli.experiments.result_printing import save_figure
from workbench.core.status import invalid_argument
from workbench.facade import Server, connect


def add(commands: Commands) -> None:
    """Add `workbench compare-transitions PATH [NAME] --data FILE`."""
    what = "load a version under each transition policy, with the same traffic"
    one = add_command(
        commands,
        "compare-transitions",
        what,
        _run,
        example="workbench compare-transitions models/new digits --data one.npy --repeats 3",
    )
    default_is = partial(default_of, Server.compare_transitions)
    one.add_argument("model", metavar="PATH", help="the next version, a SavedModel")
    add_server(one)
    one.add_argument(
        "--data", required=True, metavar="FILE", help="an example: .npy or .json, as a batch"
    )
    default = "those to compare (default: smooth, unload_first, unload_first+hold, staged)"
    one.add_argument("--policies", type=names, metavar="NAME,...", help=default)
    one.add_argument("--rate", type=float, default=100.0, help="requests per second")
    one.add_argument(
        "--arrivals",
        choices=("poisson", "constant", "bursty"),
        default="poisson",
        help="how requests arrive",
    )
    one.add_argument(
        "--repeats",
        type=int,
        help="runs of each policy; 3 for a quick look (default: until --precision is reached)",
    )
    precision = f"(default: {default_is('precision')}, which is 10 %%)"
    one.add_argument(
        "--precision", type=float, help=f"the relative precision of the gap to reach {precision}"
    )
    one.add_argument(
        "--most-repeats",
        type=int,
        help=f"runs of each policy at most (default: {default_is('most_repeats')})",
    )
    cached = "whether the new version's files are cached beforehand"
    one.add_argument("--disk", type=names, default="warm", metavar="warm,cold", help=cached)
    one.add_argument(
        "--lead",
        dest="lead_seconds",
        type=float,
        help=f"seconds of traffic before and after (default: {default_is('lead_seconds')})",
    )
    one.add_argument("--seed", type=int, default=0, help="of the traffic and the order")
    add_when_busy(one)
    add_plot(one)
    add_json(one)


def _run(arguments: argparse.Namespace) -> int:
    from workbench.load.arrivals import Schedule

    try:
        load = Schedule(arguments.arrivals, arguments.rate, 1.0, arguments.seed)
    except ValueError as error:
        raise invalid_argument(str(error)) from error
    found = connect(arguments.name).compare_transitions(
        arguments.model,
        read_data(arguments.data),
        load=load,
        progress=not arguments.json,
        **given(arguments, "rate", "repeats", "disk", "seed", "policies"),
        **given(arguments, "precision", "most_repeats", "lead_seconds", "when_busy"),
    )
    if arguments.plot:
        save_figure(found, arguments.plot)
    print(json.dumps(found.to_json(recordings=False)) if arguments.json else found)
    return 130 if found.interrupted else 0
