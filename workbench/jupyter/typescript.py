"""Writes `extension/src/protocol/generated.ts`: Python's lists, words and types for the browser.

    python -m workbench.jupyter.typescript

The file is committed, because a build of the extension has Node and none of this package's
dependencies. A test fails while the file is out of date.
"""

from __future__ import annotations

import dataclasses
import importlib
import inspect
import json
import pkgutil
import re
import types
import typing
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import traitlets

from workbench import widgets
from workbench.client.control_answers import (
    ErrorDescription,
    LogEvent,
    ModelDescription,
    VersionDescription,
)
from workbench.client.display.pulse import BACKLOG_SECONDS
from workbench.core.status import Reason
from workbench.core.versions.policies import TRANSITIONS
from workbench.core.versions.states import PublicState
from workbench.experiments import face, looks
from workbench.experiments.fleet.fleet_server import Phase
from workbench.experiments.store.store import Experiment, RunningExperiment
from workbench.experiments.sweep import diagnosis
from workbench.experiments.sweep.explore import AXES
from workbench.experiments.sweep.point import STABLE
from workbench.jupyter.server_extension import route_answers as routes
from workbench.samples import labs
from workbench.widgets.fleet_explorer.fleet_choice import SLIDERS
from workbench.widgets.ledger import ledger_parts
from workbench.widgets.timeline.timeline import NOTE

FILE = Path(__file__).parents[2] / "extension" / "src" / "protocol" / "generated.ts"

_HEAD = """/** From Python; written by `python -m workbench.jupyter.typescript`. */

import type { Version } from './version';
"""


def source() -> str:
    """The whole file."""
    parts = [
        _HEAD,
        union("PublicState", "A version's state as clients see it.", _names(PublicState)),
        union("Face", "The views of the widgets.", faces()),
        union("LabState", "How far a lab was run.", typing.get_args(labs.State)),
        constant("TRANSITIONS", "How one version can replace another.", list(TRANSITIONS)),
        constant("AXES", "The sliders of a sweep explorer.", list(AXES)),
        constant("FLEET_SLIDERS", "The sliders of a fleet explorer.", list(SLIDERS)),
        union(
            "FleetPhase",
            "What a server of a simulated fleet does.",
            tuple(phase.value for phase in Phase),
        ),
        constant(
            "CLOSE_REASONS",
            "Why a batch was closed, in words; the keys are the server's.",
            {reason.value: word for reason, word in looks.CLOSE_REASONS.items()},
        ),
        constant(
            "DIAGNOSIS", "Thresholds of the diagnoses, as shares from 0 to 1.", diagnosis.THRESHOLDS
        ),
        constant(
            "SIGNATURE_CHANGE",
            "Why a version is not published that would break callers.",
            Reason.SIGNATURE_CHANGE.value,
        ),
        constant("HELD", "Another experiment holds the server.", Reason.HELD.value),
        constant("STABLE", "The verdict of a load that the server keeps up with.", STABLE),
        constant("KEPT_SECONDS", "How far back a timeline goes.", BACKLOG_SECONDS),
        constant("TIMELINE_NOTE", "What a timeline's latencies are.", NOTE),
        constant(
            "VERSION_COLOURS",
            "For light and for dark grounds.",
            {"light": looks.VERSIONS, "dark": looks.VERSIONS_DARK},
        ),
        constant(
            "FAILED_COLOUR",
            "Of requests and versions that failed.",
            {"light": looks.FAILED, "dark": looks.FAILED_DARK},
        ),
        constant(
            "PROCESS_COLOUR",
            "Of memory that belongs to no version.",
            {"light": looks.PROCESS, "dark": looks.PROCESS_DARK},
        ),
        constant(
            "STATE_LOOKS",
            "How much of its version's colour a state's bar has, and how it is hatched.",
            {state: look._asdict() for state, look in looks.STATES.items()},
        ),
        constant(
            "LEDGER_SHADES",
            "How much of its version's colour each kind of memory has.",
            ledger_parts.OF_A_VERSION,
        ),
        constant(
            "PROCESS_SHADES",
            "How dark a process without a version is, by its role.",
            ledger_parts.OF_THE_SERVER,
        ),
        constant("OTHER_PROCESS", "That of any other role.", ledger_parts.OTHER_PROCESS),
        constant(
            "UNATTRIBUTED",
            "That of memory that does not belong to this server.",
            ledger_parts.UNATTRIBUTED,
        ),
        interface(ledger_parts.Part),
        interface(ledger_parts.Device, "taken", "budget_at", "magnified_to", "summary"),
        interface(ErrorDescription),
        interface(VersionDescription, only=("version", "state", "error", "load_seconds", "notes")),
        interface(
            ModelDescription,
            only=("name", "transition", "batching", "labels", "versions", "waiting", "held"),
        ),
        *map(interface, (routes.Version, routes.Model, routes.Server, routes.Done, routes.Folder)),
        interface(routes.ModelAbout, only=("address", "snippets")),
        *map(interface, (routes.Ledger, LogEvent, routes.Log)),
        *map(interface, (Experiment, RunningExperiment, routes.Experiments)),
        *map(interface, (face.Table, face.Found, routes.Lab)),
    ]
    return "\n".join(parts)


def faces() -> tuple[str, ...]:
    """The names of the views of all widgets: the default of each class's `face`."""
    names = [found.name for found in pkgutil.walk_packages(widgets.__path__, "workbench.widgets.")]
    parts = [part for name in names for part in vars(importlib.import_module(name)).values()]
    found = [vars(part).get("face") for part in parts if inspect.isclass(part)]
    views = {each.default_value for each in found if isinstance(each, traitlets.Unicode)}
    return tuple(sorted(views - {""}))


def constant(name: str, about: str, value: Any) -> str:
    """A constant; `about` is its comment."""
    text = _literal(value)
    fixed = "" if isinstance(value, int | float) else " as const"
    return f"/** {about} */\nexport const {name} = {text}{fixed};\n"


def union(name: str, about: str, values: tuple[str, ...]) -> str:
    """A type whose values are these strings."""
    return f"/** {about} */\nexport type {name} = {_either([_literal(v) for v in values])};\n"


def interface(owner: type, *computed: str, only: tuple[str, ...] = ()) -> str:
    """The fields of a dataclass or a TypedDict, and the values of its `computed` methods and
    properties; with `only`, those fields alone. The comment is the first line of its docstring;
    those of the fields are its `Attributes`."""
    hints = typing.get_type_hints(owner, vars(inspect.getmodule(owner)))
    for each in computed:
        member = getattr(owner, each)
        function = member.fget if isinstance(member, property) else member
        hints[each] = typing.get_type_hints(function)["return"]
    doc = inspect.getdoc(owner) or ""
    abouts = dict(_ATTRIBUTE.findall(doc.partition("\nAttributes:")[2]))
    optional = getattr(owner, "__optional_keys__", ())
    body = ""
    for name in only or hints:
        if name in abouts:
            text = " ".join(abouts[name].split())
            body += f"  /** {text[0].upper()}{text[1:]} */\n"
        mark = "?" if name in optional else ""
        body += f"  readonly {name}{mark}: {_type(hints[name], name)};\n"
    about = doc.partition("\n")[0]
    return f"/** {about} */\nexport interface {_interface_name(owner)} {{\n{body}}}\n"


_ATTRIBUTE = re.compile(r"^    (\w+): (.*(?:\n     .*)*)", re.MULTILINE)


def _interface_name(owner: type) -> str:
    return f"I{owner.__name__.lstrip('_')}"


def _names(enumeration: Any) -> tuple[str, ...]:
    return tuple(member.name for member in enumeration)


def _literal(value: Any) -> str:
    if isinstance(value, str):
        return "'" + json.dumps(value, ensure_ascii=False)[1:-1].replace("'", "\\'") + "'"
    if isinstance(value, Mapping):
        items = [f"{_key(name)}: {_literal(each)}" for name, each in value.items()]
        return _enclosed("{ ", items, " }")
    if isinstance(value, list | tuple):
        return _enclosed("[", list(map(_literal, value)), "]")
    return json.dumps(value)


def _enclosed(begin: str, items: list[str], end: str) -> str:
    """On one line if it is short, otherwise one item a line."""
    line = begin + ", ".join(items) + end
    if len(line) < 70:
        return line
    inner = ",\n".join(items).replace("\n", "\n  ")
    return f"{begin.strip()}\n  {inner}\n{end.strip()}"


def _key(name: str) -> str:
    return name if name.isidentifier() else _literal(name)


def _either(texts: list[str]) -> str:
    return " | ".join(dict.fromkeys(texts))


_TYPES: Mapping[Any, str] = {
    str: "string",
    int: "number",
    float: "number",
    bool: "boolean",
    types.NoneType: "null",
    Any: "unknown",
    labs.State: "LabState",
}
# Fields whose type is narrower in TypeScript; versions are kept exact there.
_FIELD_TYPES = {
    ("version", int): "Version",
    ("versions", int): "Version",
    ("labels", int): "Version",
    ("state", str): "PublicState",
    ("devices", dict[str, Any]): "IDevice",
}


def _type(hint: Any, field: str = "") -> str:
    """A Python type in TypeScript."""
    if (field, hint) in _FIELD_TYPES:
        return _FIELD_TYPES[field, hint]
    if hint in _TYPES:
        return _TYPES[hint]
    if dataclasses.is_dataclass(hint) or typing.is_typeddict(hint):
        return _interface_name(hint)
    origin, args = typing.get_origin(hint), typing.get_args(hint)
    if origin in (types.UnionType, typing.Union):
        return _either([_type(each, field) for each in args])
    if origin is typing.Literal:
        return _either([_literal(each) for each in args])
    if origin is list or (origin is tuple and args[1:] == (...,)):
        each = _type(args[0], field)
        return f"readonly ({each})[]" if " " in each else f"readonly {each}[]"
    if origin is dict and args[0] is str:
        return f"Readonly<Record<string, {_type(args[1], field)}>>"
    raise TypeError(f"{field} is of type {hint}: teach `_type` its TypeScript form")


if __name__ == "__main__":
    FILE.write_text(source())
    print(f"{FILE} is up to date.")
