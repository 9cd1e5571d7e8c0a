"""`workbench demo`: versions, transitions and rollback in a terminal, with a figure."""

from __future__ import annotations

import argparse

from workbench.cli.arguments import Commands, add_command


def add(commands: Commands) -> None:
    """Add `workbench demo`."""
    one = add_command(
        commands,
        "demo",
        "show versions, transitions and rollback in a figure",
        _run,
        example="workbench demo --output demo.png",
    )
    one.add_argument("--output", default="out/demo.png", help="the file of the figure")


def _run(arguments: argparse.Namespace) -> int:
    from workbench.samples.demo import run_demo

    return run_demo(arguments.output)
