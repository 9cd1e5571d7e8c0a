"""`workbench list`: the running servers."""

from __future__ import annotations

import argparse
import json
import sys

from workbench.cli.arguments import NO_SERVER, Commands, add_command, add_json
from workbench.client.display.tables import aligned
from workbench.core.status import ServingError
from workbench.facade import servers
from workbench.processes import registry


def add(commands: Commands) -> None:
    """Add `workbench list`."""
    one = add_command(
        commands, "list", "list the running servers", _run, example="workbench list --json"
    )
    add_json(one)


def _run(arguments: argparse.Namespace) -> int:
    rows = []
    for server in servers():
        try:
            states = ", ".join(f"{v.version} {v.state}" for v in server.versions)
            address = registry.find(server.name).address
            rows.append({"name": server.name, "url": address, "versions": states})
        except ServingError as error:
            # A server that is being replaced, or is ending, does not hide the others.
            print(f"workbench: {error}", file=sys.stderr)
    if arguments.json:
        print(json.dumps(rows))
    elif not rows:
        print(NO_SERVER)
    else:
        table = [("NAME", "ADDRESS", "VERSIONS"), *(tuple(row.values()) for row in rows)]
        print("\n".join(aligned(table)))
    return 0
