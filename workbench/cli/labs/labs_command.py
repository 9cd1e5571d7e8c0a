"""`workbench labs`: the labs in order, with a mark for each that was run."""

from __future__ import annotations

import argparse
from pathlib import Path

from workbench.cli.arguments import Commands, add_command
from workbench.cli.labs.lab_command import find_notebooks
from workbench.core.status import failed_precondition
from workbench.samples import labs as lessons


def add(commands: Commands) -> None:
    """Add `workbench labs`."""
    one = add_command(
        commands,
        "labs",
        "list the labs, with a mark for each that was run",
        _run,
        example="workbench labs --folder ~/course",
    )
    one.add_argument("--folder", default=".", help="their folder (default: this one)")


def _run(arguments: argparse.Namespace) -> int:
    """A lab is marked when its last cell was run and no cell failed."""
    folder = Path(arguments.folder).resolve()
    found = find_notebooks(folder)
    if found is None:
        raise failed_precondition(
            f"There are no labs in {folder}: run `workbench lab`, or give --folder"
        )
    for name in lessons.names(found):
        title, state = lessons.read_file(found / name)
        print(f"[{'x' if state == 'done' else ' '}] {name[:2]}  {title}")
    return 0
