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
    add_when_busy,
    given,
)
from workbench.cli.experiments.result_printing import print_json
from workbench.facade import connect


def add(commands: Commands) -> None:
    """Add `workbench load [NAME] --rate R | --clients N | --replay FILE`."""
    one = add_command(
        commands,
        "load",
        "load a server with its present settings",
        _run,
        example="workbench load digits --rate 200 --seconds 10",
    )
    add_server(one)
    add_json(one)
    each = add_load(one, many=False)
    what = "replay the traffic in this file, with its own times and sizes, instead of a rate"
    each.add_argument("--replay", metavar="FILE", help=f"{what} (default: none)")
    what = "with --replay: 2 sends the same requests in half the time"
    one.add_argument("--speed", type=float, default=1.0, help=what)
    what = "how long, in seconds; a replay lasts as long as its traffic"
    one.add_argument("--seconds", type=float, default=5.0, help=what)
    add_when_busy(one)


def _run(arguments: argparse.Namespace) -> int:
    from workbench.experiments.load.load_server import load_server
    from workbench.experiments.traffic.recorded_traffic import Traffic

    server = connect(arguments.name)
    if arguments.replay is None:
        result = load_server(server, **given(arguments, *LOAD, "when_busy"))
    else:
        result = server.replay(
            Traffic.load(arguments.replay),
            speed=arguments.speed,
            where=arguments.where,
            progress=not arguments.json,
            when_busy=arguments.when_busy,
        )
    if arguments.json:
        print_json(result)
        return 0
    (point,) = result.points
    print(
        f"{result.where}, {result.loop}: offered {point.offered:.0f}, achieved "
        f"{point.achieved.estimate:.0f} requests/s: {point.verdict_text()}"
    )
    for name, found in point.latency.items():
        low, high = found.low * 1e3, found.high * 1e3
        print(f"{name:>6} {found.estimate * 1e3:9.3f} ms   [{low:.3f}, {high:.3f}]")
    print(
        f"queue {point.queue * 1e3:.3f} + run {point.run * 1e3:.3f} + rest "
        f"{point.overhead * 1e3:.3f} ms; {point.batch_rows:.1f} rows a batch; rejected "
        f"{point.rejected:.1%}, failed {point.failed:.1%}"
    )
    for note in [*result.notes(), *result.diagnoses()]:
        print(f"- {note}")
    return 0
