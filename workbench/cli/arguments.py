"""Arguments that several commands share, with the help texts of declared settings."""

from __future__ import annotations

import argparse
import inspect
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeAlias

from workbench.core.setting_kinds import Setting
from workbench.core.status import invalid_argument

Commands: TypeAlias = "argparse._SubParsersAction[argparse.ArgumentParser]"
Command = Callable[[argparse.Namespace], int]
NO_SERVER = "No server is running: start one with `workbench serve PATH`"


class _Help(argparse.RawDescriptionHelpFormatter):
    """Help that states the default of each option, or that it is required."""

    def _get_help_string(self, action: argparse.Action) -> str:
        text = action.help or ""
        if not action.option_strings or "default:" in text:
            return text
        if action.required:
            return f"{text} (required)"
        known = action.default is not None and action.default is not argparse.SUPPRESS
        return f"{text} (default: %(default)s)" if known and action.nargs != 0 else text


def add_command(
    commands: Commands, name: str, what: str, run: Command, *, example: str
) -> argparse.ArgumentParser:
    """Add a command. `run` runs it and returns the exit code; `what` describes it in a phrase;
    `example` is a call of it, with the arguments that are used most."""
    one = commands.add_parser(
        name,
        help=what,
        description=f"{what[0].upper()}{what[1:]}.",
        epilog=f"example:\n  {example}",
        formatter_class=_Help,
    )
    one.set_defaults(command=run)
    return one


def add_server(one: argparse.ArgumentParser) -> None:
    """The name of a server that runs, for `facade.connect`."""
    one.add_argument("name", nargs="?", help="the server; default: the one started last")


def add_json(one: Any) -> None:
    """The flag `--json`; `one` is a parser or a group of one."""
    one.add_argument("--json", action="store_true", help="print JSON")


LOAD = ("rate", "clients", "rows", "where", "arrivals", "seconds", "seed")
"""The arguments of `add_load`, by name."""


def add_load(one: argparse.ArgumentParser, *, many: bool) -> Any:
    """The arguments of a load: of several rates or numbers of clients, or of one, which must be
    given. Returns the group of those of which one may be given."""
    rate, clients = (numbers(float), numbers(int)) if many else (float, int)
    each = one.add_mutually_exclusive_group(required=not many)
    lists = ", or several like 100,200" if many else ""
    default = "500" if many else "none; this or another kind of load is required"
    each.add_argument("--rate", type=rate, help=f"requests per second{lists} (default: {default})")
    each.add_argument(
        "--clients",
        type=clients,
        help=f"clients that each wait for an answer before they ask again{lists} (default: none)",
    )
    add_request(one)
    one.add_argument(
        "--arrivals",
        choices=("poisson", "constant", "bursty", "ramp"),
        default="poisson",
        help="how requests arrive, with --rate",
    )
    one.add_argument("--seed", type=int, default=0, help="of the random arrivals")
    return each


def add_request(one: argparse.ArgumentParser) -> None:
    """The kind of a load's requests."""
    one.add_argument(
        "--where",
        choices=("engine", "rest", "grpc"),
        default="engine",
        help="where the load enters (default: engine, inside the server process)",
    )
    one.add_argument("--rows", type=int, default=1, help="examples in each request")


def add_when_busy(one: argparse.ArgumentParser) -> None:
    """What to do while another experiment holds the server."""
    one.add_argument(
        "--when-busy",
        choices=("refuse", "wait", "take over"),
        default="refuse",
        help="while another experiment holds the server",
    )


def add_plot(one: argparse.ArgumentParser, when: str = "") -> None:
    """The file for a figure."""
    what = f"{when}write the figure to this .png, .svg or .pdf (default: no figure)"
    one.add_argument("--plot", metavar="FILE", help=what)


def names(text: str) -> list[str]:
    """The type of an argument that is a list of names."""
    return text.split(",")


def numbers(kind: Callable[[str], Any]) -> Callable[[str], list[Any]]:
    """The type of an argument that is a list of numbers."""

    def parse(text: str) -> list[Any]:
        try:
            return [kind(part) for part in text.split(",")]
        except ValueError:
            raise argparse.ArgumentTypeError(
                f"{text!r} is not a comma-separated list of numbers (for example 1,10,100)"
            ) from None

    return parse


def json_object(text: str) -> dict[str, Any]:
    """The type of an argument that is a JSON object."""
    try:
        data = json.loads(text)
    except json.JSONDecodeError as error:
        raise argparse.ArgumentTypeError(f"not JSON: {error}") from None
    if not isinstance(data, dict):
        raise argparse.ArgumentTypeError("not a JSON object")
    return data


def meaning(declared: Setting) -> str:
    """The meaning of a declared setting, as plain text for the help of its flag."""
    return declared.meaning.replace("`", "")


def default_of(method: Callable[..., Any], argument: str) -> Any:
    """The default of a method's argument, for the help of an option that leaves it to the
    method."""
    return inspect.signature(method).parameters[argument].default


def given(arguments: argparse.Namespace, *names: str) -> dict[str, Any]:
    """Those of the arguments `names` that are not None. The callee has the defaults of the
    others."""
    values = {name: getattr(arguments, name) for name in names}
    return {name: value for name, value in values.items() if value is not None}


def read_data(file: str) -> Any:
    """Examples or labels from a .npy, .npz or .json file.

    Raises:
        ServingError: INVALID_ARGUMENT, it cannot be read.
    """
    import numpy as np

    path = Path(file)
    try:
        if path.suffix == ".json":
            return json.loads(path.read_text())
        # Never pickled objects: a data file must not run code.
        data = np.load(path, allow_pickle=False)
    except (OSError, ValueError) as error:
        raise invalid_argument(f"{file} cannot be read: {error}") from error
    return dict(data) if path.suffix == ".npz" else data
