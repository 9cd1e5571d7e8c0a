"""The `workbench` command."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence

import workbench
from workbench.cli import deploy, experiments, labs, model_server, servers
from workbench.cli.arguments import NO_SERVER, Command
from workbench.core.status import Reason, ServingError

_SAID: dict[Reason | None, str] = {Reason.NO_SERVER: NO_SERVER}
"""The refusals whose cure is another one in a terminal than in Python."""


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command; returns 0, 1 for a refusal, 2 for wrong arguments, or 130 for Ctrl-C."""
    parser = _parser()
    arguments = parser.parse_args(argv)
    try:
        command: Command = arguments.command
        return command(arguments)
    except ServingError as error:
        print(f"workbench: {_SAID.get(error.reason, error)}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130
    except BrokenPipeError:
        # The reader (`| head`) has ended; Python would complain again at its exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="workbench", description="Serve models, watch them, and measure how they serve."
    )
    parser.add_argument("--version", action="version", version=workbench.__version__)
    commands = parser.add_subparsers(title="commands", required=True, metavar="COMMAND")
    for group in (servers, experiments, deploy, labs, model_server):
        for command in group.COMMANDS:
            command.add(commands)
    return parser


if __name__ == "__main__":
    sys.exit(main())
