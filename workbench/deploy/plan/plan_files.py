"""Keeps a plan as a file that people can read, and reads it again."""

from __future__ import annotations

import json
import os
from pathlib import Path

from workbench.core.status import Code, ServingError, invalid_argument
from workbench.deploy.plan.plan import Plan


def plan_text(plan: Plan) -> str:
    """The plan as the text of its file: JSON, one setting a line."""
    return json.dumps(plan.to_json(), indent=2) + "\n"


def write_plan(plan: Plan, path: str | os.PathLike[str]) -> None:
    """Write a plan to a file."""
    Path(path).write_text(plan_text(plan), encoding="utf-8")


def read_plan(path: str | os.PathLike[str]) -> Plan:
    """The plan in a file.

    Raises:
        ServingError: NOT_FOUND, the file cannot be read; INVALID_ARGUMENT, it holds no plan.
    """
    try:
        text = Path(path).read_text(encoding="utf-8")
    except OSError as error:
        raise ServingError(Code.NOT_FOUND, f"{path} cannot be read: {error.strerror}") from error
    try:
        return Plan.from_json(json.loads(text))
    except ValueError as error:
        raise invalid_argument(f"{path} is not a plan: {error}") from error
