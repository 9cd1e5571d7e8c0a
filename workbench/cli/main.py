"""The `workbench` command."""

from __future__ import annotations

import argparse
import json
import os
import sys
import time
from collections.abc import Callable, Sequence
from typing import Any

import workbench
from workbench.cli import compare, experiments, lab, model_server
from workbench.client.serve import default_name
from workbench.core.status import ServingError
from workbench.facade import Server, connect, serve, servers
from workbench.processes import registry

Command = Callable[[argparse.Namespace], int]


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command; the exit code is 0, 1 for a refusal, 2 for a wrong call, 130 for Ctrl-C."""
    parser = _parser()
    arguments = parser.parse_args(argv)
    try:
        command: Command = arguments.command
        return command(arguments)
    except ServingError as error:
        print(f"workbench: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130
    except BrokenPipeError:
        # The reader (`| head`) has seen enough; Python would complain again at its exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="workbench", description="Serve models, watch them, and measure how they serve."
    )
    parser.add_argument("--version", action="version", version=workbench.__version__)
    commands = parser.add_subparsers(title="commands", required=True, metavar="COMMAND")

    one = commands.add_parser("serve", help="serve a SavedModel or a folder of numbered versions")
    one.add_argument("path", help="a SavedModel, a .keras file, or a folder of numbered versions")
    one.add_argument("--name", help="of the model and its server (default: the folder's name)")
    one.add_argument("--host", default="127.0.0.1", help="address to listen on")
    one.add_argument("--port", type=int, default=0, help="0 lets the system choose")
    one.add_argument("--no-token", action="store_true", help="answer without a bearer token")
    one.add_argument(
        "--allowed-host",
        action="append",
        default=[],
        metavar="NAME",
        help="a name that the Host header may have besides loopback's; may be given several times",
    )
    one.add_argument(
        "--transition",
        help="smooth (the default), unload_first or staged; the last two also with +hold",
    )
    one.add_argument(
        "--versions", type=_versions, help="how many of the latest, 'all', or a list like 1,3"
    )
    one.add_argument("--batching", type=_json, metavar="JSON", help="batching parameters")
    one.add_argument("--device", default="auto", help="auto, cpu, or gpu:0, gpu:1 ...")
    one.add_argument(
        "--memory-limit", metavar="SIZE", help="the most one version may take, like '1.5 GB'"
    )
    one.add_argument("--detach", action="store_true", help="return; the server goes on")
    one.add_argument(
        "--idle", type=float, metavar="SECONDS", help="with --detach: end after so long unused"
    )
    one.set_defaults(command=_serve)

    one = commands.add_parser("list", help="list the running servers")
    one.add_argument("--json", action="store_true")
    one.set_defaults(command=_list)

    one = commands.add_parser("status", help="show a server's models and versions")
    one.add_argument("name", nargs="?", help="default: the server started last")
    what = one.add_mutually_exclusive_group()
    what.add_argument("--json", action="store_true")
    what.add_argument(
        "--token", action="store_true", help="print the bearer token and nothing else"
    )
    one.set_defaults(command=_status)

    one = commands.add_parser("predict", help="ask a model")
    one.add_argument("name", nargs="?", help="default: the server started last")
    one.add_argument(
        "-d",
        "--data",
        required=True,
        metavar="JSON",
        help="the input as JSON ('[[1.0, 2.0]]' or '{\"x\": [1.0]}'), @FILE, or - for stdin",
    )
    one.add_argument("--model-version", type=int, help="default: the highest available")
    one.add_argument("--label")
    one.add_argument("--signature", default="serving_default")
    one.set_defaults(command=_predict)

    one = commands.add_parser("fit", help="whether a SavedModel would fit, without loading it")
    one.add_argument("path", help="a SavedModel")
    one.add_argument("name", nargs="?", help="default: the server started last")
    one.add_argument("--model", help="default: the server's first model")
    one.set_defaults(command=_fit)

    one = commands.add_parser("stop", help="stop a server")
    one.add_argument("name", nargs="?", help="default: the server started last")
    one.add_argument("--all", action="store_true")
    one.set_defaults(command=_stop)

    one = commands.add_parser("demo", help="versions, transitions and rollback, with a figure")
    one.add_argument("--output", default="out/demo.png", help="where the figure goes")
    one.set_defaults(command=_demo)

    experiments.register(commands)
    compare.register(commands)
    lab.register(commands)
    model_server.register(commands)
    return parser


def _serve(arguments: argparse.Namespace) -> int:
    name = arguments.name or default_name(arguments.path)
    server = serve(
        arguments.path,
        name,
        host=arguments.host,
        port=arguments.port,
        token=None if arguments.no_token else "",
        allowed_hosts=arguments.allowed_host,
        transition=arguments.transition,
        version_policy=arguments.versions,
        batching=arguments.batching,
        detach=arguments.detach,
        idle_seconds=arguments.idle,
        device=arguments.device,
        memory_limit=arguments.memory_limit,
    )
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
    """Print what has happened since the event `seen`; the last one there is now."""
    try:
        events = server.control.events(seen)
        if events["last_seq"] < seen:
            # The server process was replaced, and its log has begun anew.
            events = server.control.events()
    except ServingError:
        return seen  # it is being replaced just now, or has ended
    for event in events["events"]:
        if "line" in event:
            stamp = time.strftime("%H:%M:%S", time.localtime(event["wall"]))
            print(f"{stamp} {event['line']}", flush=True)
    return events["last_seq"]


def _list(arguments: argparse.Namespace) -> int:
    running = servers()
    rows = []
    for server in running:
        try:
            states = ", ".join(f"{v.version} {v.state}" for v in server.versions)
            address = registry.find(server.name).address
            rows.append({"name": server.name, "url": address, "versions": states})
        except ServingError as error:
            # One that is being replaced, or ends just now, does not hide the others.
            print(f"workbench: {error}", file=sys.stderr)
    if arguments.json:
        print(json.dumps(rows))
    elif not rows:
        print("No server is running.")
    else:
        _table(("NAME", "ADDRESS", "VERSIONS"), [tuple(row.values()) for row in rows])
    return 0


def _status(arguments: argparse.Namespace) -> int:
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
        _table(
            ("VERSION", "STATE", "MEMORY", "LOADED IN", "ERROR"),
            [
                (
                    str(v.version),
                    v.state,
                    "" if v.memory_bytes is None else f"{v.memory_bytes / 2**20:.0f} MB",
                    f"{v.load_seconds:.2f} s" if v.load_seconds else "",
                    v.error or "",
                )
                for v in view
            ]
            + [(str(v), "waiting", "", "", why) for v, why in sorted(view.waiting.items())],
        )
        for warning in model["warnings"]:
            print(f"warning: {warning}")
    return 0


def _predict(arguments: argparse.Namespace) -> int:
    text = arguments.data
    if text == "-":
        text = sys.stdin.read()
    elif text.startswith("@"):
        try:
            with open(text[1:], encoding="utf-8") as file:
                text = file.read()
        except OSError as error:
            print(f"workbench: {text[1:]}: {error.strerror}", file=sys.stderr)
            return 1
    try:
        data = json.loads(text)
    except json.JSONDecodeError as error:
        print(f"workbench: the data is not JSON: {error}", file=sys.stderr)
        return 1
    answer = connect(arguments.name).predict(
        data,
        version=arguments.model_version,
        label=arguments.label,
        signature=arguments.signature,
    )
    print(json.dumps(_plain(answer)))
    return 0


def _fit(arguments: argparse.Namespace) -> int:
    """0 where it fits under the model's transition, 1 where it does not."""
    server = connect(arguments.name)
    if arguments.model:
        server = Server(server.name, arguments.model)
    found = server.will_it_fit(arguments.path)
    print(found)
    return 0 if found else 1


def _stop(arguments: argparse.Namespace) -> int:
    chosen = servers() if arguments.all else [connect(arguments.name)]
    for server in chosen:
        server.stop()
        print(f"Stopped {server.name}")
    return 0


def _demo(arguments: argparse.Namespace) -> int:
    from workbench.samples.demo import run_demo

    return run_demo(arguments.output)


def _plain(value: Any) -> Any:
    """Arrays as lists, bytes and complex numbers as text, for JSON."""
    if isinstance(value, dict):
        return {name: _plain(array) for name, array in value.items()}
    if isinstance(value, bytes):
        return value.decode(errors="replace")
    if isinstance(value, complex):
        return str(value)
    if isinstance(value, list):
        return [_plain(each) for each in value]
    return _plain(value.tolist()) if hasattr(value, "tolist") else value


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    widths = [max(len(row[i]) for row in (head, *rows)) for i in range(len(head))]
    for row in (head, *rows):
        print(
            "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
        )


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


def _json(text: str) -> Any:
    try:
        data = json.loads(text)
    except json.JSONDecodeError as error:
        raise argparse.ArgumentTypeError(f"not JSON: {error}") from None
    if not isinstance(data, dict):
        raise argparse.ArgumentTypeError("not a JSON object")
    return data


if __name__ == "__main__":
    sys.exit(main())
