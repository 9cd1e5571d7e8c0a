"""`workbench predict`: asks a model, and prints its answer as JSON."""

from __future__ import annotations

import argparse
import json
import sys
from typing import Any

from workbench.cli.arguments import Commands, add_command, add_server, given
from workbench.core.signature import DEFAULT_SIGNATURE
from workbench.facade import connect


def add(commands: Commands) -> None:
    """Add `workbench predict [NAME] --data JSON`."""
    one = add_command(
        commands,
        "predict",
        "ask a model",
        _run,
        example="workbench predict digits --data '[[1.0, 2.0]]'",
    )
    add_server(one)
    data = "the input as JSON ('[[1.0, 2.0]]' or '{\"x\": [1.0]}'), @FILE, or - for stdin"
    one.add_argument("-d", "--data", required=True, metavar="JSON", help=data)
    highest = "the version's number (default: the highest available)"
    one.add_argument("--model-version", dest="version", type=int, metavar="N", help=highest)
    one.add_argument("--label", help="the version's label (default: none)")
    one.add_argument("--signature", default=DEFAULT_SIGNATURE, help="the signature to ask")


def _run(arguments: argparse.Namespace) -> int:
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
        data, **given(arguments, "version", "label", "signature")
    )
    print(json.dumps(answer, default=_plain))
    return 0


def _plain(value: Any) -> Any:
    """An array as lists, bytes and a complex number as text, for JSON."""
    if isinstance(value, bytes):
        return value.decode(errors="replace")
    return str(value) if isinstance(value, complex) else value.tolist()
