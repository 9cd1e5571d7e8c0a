"""`workbench fit`: whether a SavedModel would fit into the memory of a server."""

from __future__ import annotations

import argparse

from workbench.cli.arguments import Commands, add_command, add_server
from workbench.facade import Server, connect


def add(commands: Commands) -> None:
    """Add `workbench fit PATH [NAME]`."""
    one = add_command(
        commands,
        "fit",
        "check whether a SavedModel would fit, without loading it",
        _run,
        example="workbench fit models/new digits",
    )
    one.add_argument("path", help="a SavedModel")
    add_server(one)
    one.add_argument(
        "--model",
        help="the model that it would be the next version of (default: the server's first)",
    )


def _run(arguments: argparse.Namespace) -> int:
    """0 if it fits under the model's transition policy, 1 if it does not."""
    server = connect(arguments.name)
    if arguments.model:
        server = Server(server.name, arguments.model)
    found = server.will_it_fit(arguments.path)
    print(found)
    return 0 if found else 1
