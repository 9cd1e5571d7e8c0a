"""`workbench status`: a server's models and versions."""

from __future__ import annotations

import argparse
import json

from workbench.cli.arguments import Commands, add_command, add_json, add_server
from workbench.client.display.tables import aligned
from workbench.facade import Server, connect


def add(commands: Commands) -> None:
    """Add `workbench status [NAME]`."""
    one = add_command(
        commands,
        "status",
        "show a server's models and versions",
        _run,
        example="workbench status digits",
    )
    add_server(one)
    what = one.add_mutually_exclusive_group()
    add_json(what)
    what.add_argument(
        "--token", action="store_true", help="print the bearer token and nothing else"
    )


def _run(arguments: argparse.Namespace) -> int:
    server = connect(arguments.name)
    if arguments.token:
        print(server.token or "")
        return 0
    if arguments.json:
        print(json.dumps(server.status()))
        return 0
    print(f"{server.name} at {server.address}")
    for model in server.status()["models"]:
        print(f"\n{model['name']}: {model['base_path']}, {model['transition']}")
        view = Server(server.name, model["name"]).versions
        rows = [("VERSION", "STATE", "MEMORY", "LOADED IN", "ERROR")]
        rows += [(str(v.version), v.state, v.memory, v.loaded_in, v.error or "") for v in view]
        rows += [(str(v), "waiting", "", "", why) for v, why in sorted(view.waiting.items())]
        print("\n".join(aligned(rows)))
        for warning in model["warnings"]:
            print(f"warning: {warning}")
    return 0
