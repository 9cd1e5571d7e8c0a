"""Lists the labs and how far each was run, read from the notebooks."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any, Literal

PACKAGE = Path(__file__).parents[1]
QUICKSTART = "00-quickstart.ipynb"
NUMBERED = "[0-9][0-9]-*.ipynb"
"""The pattern of the labs' file names; the quickstart is the first."""

State = Literal["new", "begun", "failed", "done", "unreadable"]
"""As last saved: no cell was run; not all were run; a cell failed; all were run without error."""

_ROW = re.compile(r"^\| *\d\d *\| *\[[^]]*\]\(([^)]+)\) *\| *(.*?) *\|$", re.MULTILINE)


def shipped() -> Path:
    """The folder of the labs that come with the package, which readers work on copies of: inside an
    installed package, beside it in a source tree."""
    inside = PACKAGE / "notebooks"
    return inside if inside.is_dir() else PACKAGE.parent / "notebooks"


def names(folder: Path) -> list[str]:
    """The file names of a folder's labs, in order."""
    return sorted(path.name for path in folder.glob(NUMBERED))


def ideas(folder: Path) -> dict[str, str]:
    """Each lab's idea in a few words, from the table in the folder's README; {} without one."""
    try:
        return dict(_ROW.findall((folder / "README.md").read_text()))
    except OSError:
        return {}


def read(text: str | bytes, name: str) -> tuple[str, State]:
    """A notebook's title, and how far it was run.

    Args:
        text: the notebook as JSON.
        name: of its file, for the error text.
    """
    try:
        cells: list[dict[str, Any]] = json.loads(text)["cells"]
        lines = [line for cell in cells for line in "".join(cell["source"]).splitlines()]
        title = next((line[2:] for line in lines if line.startswith("# ")), Path(name).stem)
        return title, _state([cell for cell in cells if cell["cell_type"] == "code"])
    except (ValueError, KeyError, TypeError):
        return f"{name} cannot be read", "unreadable"


def read_file(path: Path) -> tuple[str, State]:
    """As `read`, from a file."""
    try:
        return read(path.read_bytes(), path.name)
    except OSError:
        return f"{path.name} cannot be read", "unreadable"


def _state(code: list[dict[str, Any]]) -> State:
    if any(out["output_type"] == "error" for cell in code for out in cell["outputs"]):
        return "failed"
    run = [cell["execution_count"] is not None for cell in code]
    if not any(run):
        return "new"
    return "done" if run[-1] else "begun"
