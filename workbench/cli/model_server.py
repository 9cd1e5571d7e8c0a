"""`workbench model-server`: what `tensorflow_model_server` does, with its flags, without Jupyter.

One supervising process in the foreground; the server process and the workers are below it and
end with it. Flags are read as TensorFlow Serving reads them: `--flag=value`, and `--flag` for
one that is true or false.
"""

from __future__ import annotations

import difflib
import sys
from collections.abc import Sequence
from importlib import metadata
from typing import Any, NamedTuple

import workbench
from workbench.cli.model_server_flags import FLAGS, IGNORED, REFUSED
from workbench.core.status import ServingError, failed_precondition, invalid_argument

_EXIT_REFUSED = 255


class Flags(NamedTuple):
    """What a command line says: the values of all flags, and what to say about it."""

    values: dict[str, Any]
    remarks: list[str]


def register(commands: Any) -> None:
    """Add the command to the parser's subparsers."""
    one = commands.add_parser(
        "model-server",
        help="serve as tensorflow_model_server does, with its flags",
        # Every argument is taken as it is: `read_flags` knows what it means.
        prefix_chars="\0",
        add_help=False,
    )
    one.add_argument("flags", nargs="*")
    one.set_defaults(command=lambda arguments: model_server(arguments.flags))


def model_server(arguments: Sequence[str]) -> int:
    """Serve until SIGTERM or Ctrl-C; 0 then, and 255 where there is nothing to serve."""
    if "--help" in arguments:
        print(usage(), end="")
        return 0
    try:
        values, remarks = read_flags(arguments)
        for remark in remarks:
            print(remark, file=sys.stderr)
        if values["version"]:
            print(f"TensorFlow ModelServer: serving-workbench {workbench.__version__}")
            print(f"TensorFlow Library: {metadata.version('tensorflow')}")
            return 0
        # The server's code is imported by this command alone.
        from workbench.cli.model_server_process import run, supervisor_spec
        from workbench.server.supervision.supervisor import Supervisor

        return run(Supervisor(supervisor_spec(values)))
    except ServingError as error:
        print(f"Failed to start server. Error: {error.code.name}: {error.message}", flush=True)
        return _EXIT_REFUSED


def read_flags(arguments: Sequence[str]) -> Flags:
    """Read a command line.

    An unknown argument is named and otherwise ignored, as TensorFlow Serving does.

    Raises:
        ServingError: INVALID_ARGUMENT, a value that is none for its flag; FAILED_PRECONDITION, a
            flag without which nothing would be as it was meant.
    """
    values: dict[str, Any] = {name: flag.default for name, flag in FLAGS.items()}
    remarks = []
    for argument in arguments:
        name, equals, text = argument.removeprefix("--").partition("=")
        if not argument.startswith("--") or name not in FLAGS.keys() | IGNORED.keys() | (
            REFUSED.keys()
        ):
            near = difflib.get_close_matches(name, [*FLAGS, *IGNORED, *REFUSED], 1, 0.8)
            hint = f" (did you mean --{near[0]}?)" if near else ""
            remarks.append(f"unknown argument: {argument}{hint}")
        elif name in IGNORED:
            remarks.append(f"--{name} has no effect here: {IGNORED[name]}")
        elif name in REFUSED:
            if text not in ("", "false") or not equals:
                raise failed_precondition(f"--{name} is not supported: {REFUSED[name]}")
        else:
            values[name] = _value(name, FLAGS[name].default, text if equals else None)
    return Flags(values, remarks)


def _value(name: str, default: Any, text: str | None) -> Any:
    if isinstance(default, bool):
        known = {None: True, "true": True, "1": True, "false": False, "0": False}
        if text not in known:
            raise invalid_argument(f"Couldn't interpret value {text} for flag {name}.")
        return known[text]
    if text is None:
        raise invalid_argument(f"Flag {name} needs a value: --{name}=...")
    try:
        return type(default)(text)
    except ValueError:
        raise invalid_argument(f"Couldn't interpret value {text} for flag {name}.") from None


def usage() -> str:
    """All flags, with their defaults and what they mean."""
    lines = ["usage: workbench model-server [--flag=value ...]", "", "Flags:"]
    for name, flag in FLAGS.items():
        default = str(flag.default).lower() if isinstance(flag.default, bool) else flag.default
        lines.append(f"  --{name}={default}")
        lines.append(f"        {flag.help}")
    lines += ["", "Flags of tensorflow_model_server that have no effect here:"]
    lines += [f"  --{name}: {why}" for name, why in IGNORED.items()]
    lines += ["", "Flags of tensorflow_model_server that are not supported:"]
    lines += [f"  --{name}: {why}" for name, why in REFUSED.items()]
    return "\n".join(lines) + "\n"
