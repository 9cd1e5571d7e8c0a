"""The labs' routes: what was run, and a copy to work on."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest

from tests.jupyter.server_extension.conftest import NOTEBOOK, Api

README = "| 00 | [Quickstart](00-quickstart.ipynb) | the whole life |\n"


def run(path: Path) -> None:
    """As if it had been run to its end and saved."""
    book = json.loads(NOTEBOOK)
    book["cells"].append(
        {"cell_type": "code", "id": "two", "metadata": {}, "source": [], "execution_count": 1}
        | {"outputs": []}
    )
    path.write_text(json.dumps(book))


def lab(path: str | None, state: str, number: int = 0) -> dict[str, Any]:
    name, title, idea = [
        ("00-quickstart.ipynb", "Quickstart", "the whole life"),
        ("01-one.ipynb", "01-one.ipynb cannot be read", ""),
    ][number]
    return {"name": name, "title": title, "idea": idea, "path": path, "state": state}


async def test_the_list_tells_what_was_run(api: Api, jp_root_dir: Path, notebooks: Path) -> None:
    (notebooks / "README.md").write_text(README)
    (notebooks / "01-one.ipynb").write_text("{")
    assert await api("GET", "labs") == (200, {"labs": [lab(None, "new"), lab(None, "new", 1)]})

    copy = jp_root_dir / "00-quickstart.ipynb"
    copy.write_text(NOTEBOOK)
    _, answer = await api("GET", "labs")
    assert answer["labs"][0] == lab("00-quickstart.ipynb", "new")
    run(copy)
    _, answer = await api("GET", "labs")
    assert answer["labs"][0] == lab("00-quickstart.ipynb", "done")
    # What the folder of notebooks holds comes first, as for the quickstart's own route.
    (jp_root_dir / "notebooks").mkdir()
    (jp_root_dir / "notebooks" / "00-quickstart.ipynb").write_bytes(b"\xff\xfe")
    _, answer = await api("GET", "labs")
    assert answer["labs"][0] == lab("notebooks/00-quickstart.ipynb", "unreadable")


async def test_one_is_read_again_only_when_it_was_saved_again(
    api: Api, jp_root_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    copy = jp_root_dir / "00-quickstart.ipynb"
    run(copy)
    before = copy.stat()
    assert (await api("GET", "labs"))[1]["labs"][0]["state"] == "done"
    copy.write_text(NOTEBOOK)
    os.utime(copy, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert (await api("GET", "labs"))[1]["labs"][0]["state"] == "done"
    os.utime(copy)
    assert (await api("GET", "labs"))[1]["labs"][0]["state"] == "new"


async def test_a_lab_is_put_there_once(api: Api, jp_root_dir: Path) -> None:
    name = "00-quickstart.ipynb"
    path = {"path": f"notebooks/{name}"}
    assert await api("POST", "labs", {"name": name}) == (201, path)
    copy = jp_root_dir / "notebooks" / name
    assert json.loads(copy.read_text())["cells"] == json.loads(NOTEBOOK)["cells"]
    copy.write_text("the user's own")
    assert await api("POST", "labs", {"name": name}) == (200, path)
    assert copy.read_text() == "the user's own"


@pytest.mark.parametrize(
    ("name", "code", "message"),
    [
        (None, 400, "'name' must name a lab"),
        (["00-quickstart.ipynb"], 400, "'name' must name a lab"),
        ("../00-quickstart.ipynb", 404, "There is no lab '../00-quickstart.ipynb'"),
        ("README.md", 404, "There is no lab 'README.md'"),
    ],
)
async def test_what_is_no_lab(
    api: Api, jp_root_dir: Path, name: Any, code: int, message: str
) -> None:
    status, answer = await api("POST", "labs", {"name": name})
    assert (status, answer["message"]) == (code, message)
    assert os.listdir(jp_root_dir) == []
