"""`workbench stop`: stops one server, or all."""

from __future__ import annotations

import argparse

from workbench.cli.arguments import Commands, add_command, add_server
from workbench.facade import connect, servers


def add(commands: Commands) -> None:
    """Add `workbench stop [NAME] | --all`."""
    one = add_command(commands, "stop", "stop a server", _run, example="workbench stop digits")
    add_server(one)
    one.add_argument("--all", action="store_true", help="stop all servers")


def _run(arguments: argparse.Namespace) -> int:
    chosen = servers() if arguments.all else [connect(arguments.name)]
    for server in chosen:
        server.stop()
        print(f"Stopped {server.name}")
    return 0
