"""`workbench serve`: starts a server, and prints its events until Ctrl-C."""

from __future__ import annotations

import argparse
import time
from typing import Any

from workbench.cli.arguments import Commands, add_command, given, json_object, meaning
from workbench.client.publishing.interface import SignatureChange
from workbench.client.serve import default_name
from workbench.core.model_settings import MODEL_SETTINGS
from workbench.core.status import ServingError
from workbench.facade import Server, serve
from workbench.processes.server_options import SERVER_OPTIONS


def add(commands: Commands) -> None:
    """Add `workbench serve PATH`."""
    one = add_command(
        commands,
        "serve",
        "serve a SavedModel or a folder of numbered versions",
        _run,
        example="workbench serve models/digits --name digits --port 8501",
    )
    option = {name: meaning(declared) for name, declared in SERVER_OPTIONS.items()}
    model = {name: meaning(declared) for name, declared in MODEL_SETTINGS.items()}
    one.add_argument("path", help="a SavedModel, a .keras file, or a folder of numbered versions")
    one.add_argument("--name", help="of the model and its server (default: the folder's name)")
    one.add_argument("--host", default="127.0.0.1", help=option["host"])
    one.add_argument("--port", type=int, default=0, help=option["port"])
    one.add_argument("--no-token", action="store_true", help="answer without a bearer token")
    hosts = f"{option['allowed_hosts']}; may be given several times (default: none)"
    one.add_argument(
        "--allowed-host", dest="allowed_hosts", action="append", metavar="NAME", help=hosts
    )
    one.add_argument("--transition", help=f"{model['transition']} (default: smooth)")
    latest = "the number of latest versions to serve, 'all', or a list like 1,3 (default: 1)"
    one.add_argument(
        "--versions", dest="version_policy", type=_versions, metavar="VERSIONS", help=latest
    )
    batching = (
        """batching parameters, like '{"max_batch_size": 32}' (default: automatic batching)"""
    )
    one.add_argument("--batching", type=json_object, metavar="JSON", help=batching)
    one.add_argument("--device", default="auto", help=model["device"])
    limit = "the most host memory that one version may use, like '1.5 GB' (default: no limit)"
    one.add_argument("--memory-limit", metavar="SIZE", help=limit)
    change = "publish it also if it breaks the callers of the version that serves"
    one.add_argument("--allow-signature-change", action="store_true", help=change)
    one.add_argument("--detach", action="store_true", help="return, and let the server run")
    idle = f"with --detach: {option['idle_seconds']} (default: no limit)"
    one.add_argument("--idle", dest="idle_seconds", type=float, metavar="SECONDS", help=idle)


def _run(arguments: argparse.Namespace) -> int:
    name = arguments.name or default_name(arguments.path)
    try:
        server = serve(
            arguments.path,
            name,
            token=None if arguments.no_token else "",
            allow_signature_change=arguments.allow_signature_change,
            **given(arguments, "host", "port", "allowed_hosts", "detach", "idle_seconds"),
            **given(arguments, "transition", "version_policy", "batching"),
            **given(arguments, "device", "memory_limit"),
        )
    except SignatureChange as error:
        cure = "give it another name with --name, or add --allow-signature-change"
        raise SignatureChange(error.change, cure) from None
    print(server.outcome)
    if arguments.detach:
        print(f"Stop it with: workbench stop {name}")
        return 0
    print("Press Ctrl-C to stop it.", flush=True)
    seen = 0
    try:
        while server.running:
            seen = _print_events(server, seen)
            time.sleep(0.25)
    finally:
        server.stop()
    return 0


def _print_events(server: Server, seen: int) -> int:
    """Print the events after number `seen`; returns the number of the last one."""
    try:
        events = server.control.events(seen)
        if events["last_seq"] < seen:
            # The server process was replaced, and its log begins again.
            events = server.control.events()
    except ServingError:
        return seen  # it is being replaced just now, or has ended
    for event in events["events"]:
        if "line" in event:
            stamp = time.strftime("%H:%M:%S", time.localtime(event["wall"]))
            print(f"{stamp} {event['line']}", flush=True)
    return events["last_seq"]


def _versions(text: str) -> Any:
    if text in ("all", "latest"):
        return text
    try:
        numbers = [int(part) for part in text.split(",")]
    except ValueError:
        raise argparse.ArgumentTypeError(
            f"{text!r} is neither a number, nor 'all', nor a list like 1,3"
        ) from None
    return numbers if "," in text else numbers[0]
