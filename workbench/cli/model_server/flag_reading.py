"""Reads the command line of `workbench model-server`, in TensorFlow Serving's way: `--flag=value`,
and `--flag` for one that is true or false."""

from __future__ import annotations

import difflib
from collections.abc import Sequence
from typing import Any

from workbench.cli.model_server.flag_table import FLAGS, IGNORED, REFUSED
from workbench.core.status import failed_precondition, invalid_argument


def read_flags(arguments: Sequence[str]) -> tuple[dict[str, Any], list[str]]:
    """Read a command line: the values of all flags, and remarks for the user.

    An unknown argument is named and otherwise ignored, as TensorFlow Serving does.

    Raises:
        ServingError: INVALID_ARGUMENT, a value does not fit its flag; FAILED_PRECONDITION, a flag
            is not supported and cannot be ignored.
    """
    values: dict[str, Any] = {name: flag.default for name, flag in FLAGS.items()}
    known = [*FLAGS, *IGNORED, *REFUSED]
    remarks = []
    for argument in arguments:
        name, equals, text = argument.removeprefix("--").partition("=")
        if not argument.startswith("--") or name not in known:
            near = difflib.get_close_matches(name, known, 1, 0.8)
            hint = f" (did you mean --{near[0]}?)" if near else ""
            remarks.append(f"unknown argument: {argument}{hint}")
        elif name in IGNORED:
            remarks.append(f"--{name} has no effect here: {IGNORED[name]}")
        elif name in REFUSED:
            if text not in ("", "false") or not equals:
                raise failed_precondition(f"--{name} is not supported: {REFUSED[name]}")
        else:
            values[name] = _value(name, FLAGS[name].default, text if equals else None)
    return values, remarks


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


_EXAMPLE = "workbench model-server --model_name=digits --model_base_path=/models/digits"


def usage() -> str:
    """The help: all flags, with their defaults and meanings."""
    lines = ["usage: workbench model-server [--flag=value ...]", "", "Flags:"]
    for name, flag in FLAGS.items():
        default = str(flag.default).lower() if isinstance(flag.default, bool) else flag.default
        lines.append(f"  --{name}={default}")
        lines.append(f"        {flag.help}")
    for what, reasons in (("have no effect here", IGNORED), ("are not supported", REFUSED)):
        lines += ["", f"Flags of tensorflow_model_server that {what}:"]
        lines += [f"  --{name}: {why}" for name, why in reasons.items()]
    lines += ["", "example:", f"  {_EXAMPLE}"]
    return "\n".join(lines) + "\n"
