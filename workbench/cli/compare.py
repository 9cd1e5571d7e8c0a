"""`workbench compare-versions | compare-transitions`, from the command line."""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

from workbench.core.signature import DEFAULT_SIGNATURE
from workbench.core.status import invalid_argument
from workbench.facade import connect


def register(commands: Any) -> None:
    """Add the commands to argparse's subparsers."""
    one = commands.add_parser(
        "compare-versions", help="compare two versions: answers, latency, memory"
    )
    one.add_argument("first", type=int)
    one.add_argument("second", type=int)
    one.add_argument("name", nargs="?", help="of the server; default: the one started last")
    one.add_argument(
        "--data", required=True, metavar="FILE", help="examples: .npy, .npz by input, or .json"
    )
    one.add_argument("--labels", metavar="FILE", help="the right answers: .npy or .json")
    one.add_argument("--signature", default=DEFAULT_SIGNATURE)
    one.add_argument("--output", metavar="NAME", help="the output that is the answer")
    one.add_argument("--pairs", type=int, default=500, help="of requests, for the latency")
    one.add_argument("--alpha", type=float, help="how often equals may be called different")
    one.add_argument(
        "--margin", type=float, help="latencies nearer than this (0.05: 5 %%) are as good as equal"
    )
    one.add_argument("--seed", type=int, default=0)
    one.add_argument("--plot", metavar="FILE", help="where the figure goes (.png, .svg, .pdf)")
    one.add_argument(
        "--at-least", type=float, metavar="SHARE", help="exit with 1 if fewer answers agree"
    )
    one.add_argument("--json", action="store_true")
    one.set_defaults(command=_compare_versions)

    one = commands.add_parser(
        "compare-transitions", help="bring a version in under each policy, on the same traffic"
    )
    one.add_argument("model", metavar="PATH", help="the next version, a SavedModel")
    one.add_argument("name", nargs="?", help="of the server; default: the one started last")
    one.add_argument(
        "--data", required=True, metavar="FILE", help="an example: .npy or .json, as a batch"
    )
    one.add_argument(
        "--policies",
        metavar="NAME,...",
        help="default: smooth, unload_first, unload_first+hold, staged",
    )
    one.add_argument("--rate", type=float, default=100.0, help="requests a second")
    one.add_argument("--arrivals", choices=("poisson", "constant", "bursty"), default="poisson")
    one.add_argument("--repeats", type=int, help="of each policy; default: until it is certain")
    one.add_argument("--precision", type=float, help="of the gap, until it is certain")
    one.add_argument("--most-repeats", type=int, help="the end, certain or not")
    one.add_argument("--disk", default="warm", metavar="warm,cold", help="where files come from")
    one.add_argument("--lead", type=float, help="seconds before and after")
    one.add_argument("--seed", type=int, default=0)
    one.add_argument("--plot", metavar="FILE", help="where the figure goes (.png, .svg, .pdf)")
    one.add_argument("--json", action="store_true")
    one.set_defaults(command=_compare_transitions)


def _compare_versions(arguments: argparse.Namespace) -> int:
    from workbench.experiments.versions.compare_versions import compare_versions

    found = compare_versions(
        connect(arguments.name),
        arguments.first,
        arguments.second,
        _read(arguments.data),
        None if arguments.labels is None else _read(arguments.labels),
        signature=arguments.signature,
        output=arguments.output,
        pairs=arguments.pairs,
        seed=arguments.seed,
        progress=not arguments.json,
        **_given(alpha=arguments.alpha, margin=arguments.margin),
    )
    if arguments.plot:
        found.plot().savefig(arguments.plot, dpi=200)
    print(json.dumps(found.to_json(arrays=False)) if arguments.json else found)
    if arguments.at_least is not None:
        try:
            found.assert_agreement(at_least=arguments.at_least)
        except AssertionError as error:
            if not arguments.json:
                print(error)
            return 1
    return 0


def _compare_transitions(arguments: argparse.Namespace) -> int:
    from workbench.experiments.transitions.compare_transitions import compare_transitions
    from workbench.load.arrivals import Schedule

    try:
        load = Schedule(arguments.arrivals, arguments.rate, 1.0, arguments.seed)
    except ValueError as error:
        raise invalid_argument(str(error)) from error
    found = compare_transitions(
        connect(arguments.name),
        arguments.model,
        _read(arguments.data),
        rate=arguments.rate,
        load=load,
        repeats=arguments.repeats,
        disk=arguments.disk.split(","),
        seed=arguments.seed,
        progress=not arguments.json,
        **_given(
            policies=arguments.policies and arguments.policies.split(","),
            precision=arguments.precision,
            most_repeats=arguments.most_repeats,
            lead_seconds=arguments.lead,
        ),
    )
    if arguments.plot:
        found.plot().savefig(arguments.plot, dpi=200)
    print(json.dumps(found.to_json(recordings=False)) if arguments.json else found)
    return 130 if found.interrupted else 0


def _given(**settings: Any) -> dict[str, Any]:
    """Those that were given; what was not has its default where it is used."""
    return {name: value for name, value in settings.items() if value is not None}


def _read(file: str) -> Any:
    import numpy as np

    path = Path(file)
    try:
        if path.suffix == ".json":
            return json.loads(path.read_text())
        # Never pickled objects: a data file is not to run code.
        data = np.load(path, allow_pickle=False)
    except (OSError, ValueError) as error:
        raise invalid_argument(f"{file} cannot be read: {error}") from error
    return dict(data) if path.suffix == ".npz" else data
