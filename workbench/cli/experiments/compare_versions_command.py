"""`workbench compare-versions`: compares the answers, latency and memory of two versions."""

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
    read_data,
)
from workbench.cli.experiments.result_printing import save_figure
from workbench.core.signature import DEFAULT_SIGNATURE
from workbench.facade import Server, connect


def add(commands: Commands) -> None:
    """Add `workbench compare-versions FIRST SECOND [NAME] --data FILE`."""
    one = add_command(
        commands,
        "compare-versions",
        "compare two versions: answers, latency, memory",
        _run,
        example="workbench compare-versions 1 2 digits --data x.npy --labels y.npy",
    )
    one.add_argument("first", type=int, help="a version")
    one.add_argument("second", type=int, help="the other version")
    add_server(one)
    one.add_argument(
        "--data", required=True, metavar="FILE", help="examples: .npy, .npz by input, or .json"
    )
    one.add_argument(
        "--labels", metavar="FILE", help="the right answers: .npy or .json (default: none)"
    )
    one.add_argument("--signature", default=DEFAULT_SIGNATURE, help="the signature to ask")
    one.add_argument(
        "--output", metavar="NAME", help="the output that is compared (default: the class)"
    )
    one.add_argument(
        "--pairs", type=int, default=500, help="pairs of requests for the latency (default: 500)"
    )
    default = partial(default_of, Server.compare_versions)
    alpha = "how often equal versions may be called different "
    one.add_argument("--alpha", type=float, help=f"{alpha}(default: {default('alpha')})")
    one.add_argument(
        "--margin",
        type=float,
        help="latencies that differ by less than this share (0.05: 5 %%) count as equal "
        f"(default: {default('margin')})",
    )
    one.add_argument("--seed", type=int, default=0, help="of the order of the requests")
    add_when_busy(one)
    add_plot(one)
    gate = "exit with 1 if a smaller share of the answers agrees, 0 to 1 (default: no limit)"
    one.add_argument("--at-least", type=float, metavar="SHARE", help=gate)
    add_json(one)


def _run(arguments: argparse.Namespace) -> int:
    found = connect(arguments.name).compare_versions(
        arguments.first,
        arguments.second,
        read_data(arguments.data),
        None if arguments.labels is None else read_data(arguments.labels),
        progress=not arguments.json,
        **given(arguments, "signature", "output", "pairs", "seed", "alpha", "margin", "when_busy"),
    )
    if arguments.plot:
        save_figure(found, arguments.plot)
    print(json.dumps(found.to_json(arrays=False)) if arguments.json else found)
    if arguments.at_least is not None:
        try:
            found.assert_agreement(at_least=arguments.at_least)
        except AssertionError as error:
            if not arguments.json:
                print(error)
            return 1
    return 0
