"""The tables of `docs/settings.md`, from the declarations in the code.

python -m docs.settings_tables docs/settings.md
"""

from __future__ import annotations

import sys
from collections.abc import Iterable
from dataclasses import MISSING, fields
from pathlib import Path
from typing import Any

from workbench.core.memory.memory_limits import MemoryLimits
from workbench.core.model_settings import ModelConfig
from workbench.core.setting_kinds import settings_of
from workbench.processes.server_options import ServerOptions


def page() -> str:
    """The page as it must be."""
    return "\n".join(
        [
            "# Settings",
            "",
            "This page is written by `python -m docs.settings_tables docs/settings.md`.",
            "",
            "## Of a model",
            "",
            "The control plane and a published model take these by name. *Changeable* settings can "
            "be changed while the model is served.",
            "",
            *_table(ModelConfig, changeable=True),
            "",
            "## Of a server",
            "",
            "A server keeps these from its start to its end. `wb.serve` has arguments for some of "
            "them, `workbench model-server` has flags ([compatibility](compatibility.md)).",
            "",
            *_table(ServerOptions, changeable=False),
            "",
            "## Of a server's memory",
            "",
            "`server.budget` and the control plane's `budget` take these by name, at any time.",
            "",
            *_table(MemoryLimits, changeable=False),
            "",
        ]
    )


def _table(cls: Any, *, changeable: bool) -> Iterable[str]:
    last = ["changeable"] if changeable else []
    yield _row(["name", "default", "allowed", "meaning", *last])
    yield _row(["---"] * (4 + len(last)))
    declared = settings_of(cls)
    for each in fields(cls):
        about = declared[each.name]
        mark = ["yes" if about.changeable else ""] if changeable else []
        yield _row(
            [f"`{each.name}`", _default(each, about), about.kind.allowed, about.meaning, *mark]
        )


def _default(field: Any, about: Any) -> str:
    if field.default is not MISSING:
        return f"`{field.default!r}`"
    if field.default_factory is MISSING:
        return "required"
    return f"`{about.kind.plain(field.default_factory())!r}`"


def _row(cells: list[str]) -> str:
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"


if __name__ == "__main__":
    Path(sys.argv[1]).write_text(page())
