"""The documentation: it builds as a site, its links lead somewhere, and its examples are true.

On the pages that teach, every ```python block is run, in order and in one process a page; where an
```output block follows, what was printed must be that. `...` in it stands for anything.
"""

from __future__ import annotations

import doctest
import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
DOCS = ROOT / "docs"
EXECUTED = [
    DOCS / "tutorial.md",
    DOCS / "fleet-simulator.md",
    *sorted((DOCS / "how-to").glob("*.md")),
]
NOT_RUN = {"serve-on-a-gpu.md", "to-ray.md"}
"""They need what not every machine has, say so, and their blocks are marked ```py."""
_BLOCK = re.compile(r"^```(\w+)\n(.*?)^```$", re.M | re.S)
_SECONDS = 200

_RUN = """
import contextlib, io, json, sys
names = {"__name__": "__main__"}
printed = []
for number, block in enumerate(json.load(sys.stdin)):
    with contextlib.redirect_stdout(io.StringIO()) as out:
        exec(compile(block, f"<block {number + 1}>", "exec"), names)
    printed.append(out.getvalue())
json.dump(printed, sys.stdout)
"""


def examples(page: Path) -> list[tuple[str, str | None]]:
    """The blocks of a page that are run, each with the output that it shows, if it does."""
    found: list[tuple[str, str | None]] = []
    for match in _BLOCK.finditer(page.read_text()):
        if match[1] == "python":
            found.append((match[2], None))
        elif match[1] == "output":
            assert found, f"{page.name} shows an output before any code"
            assert found[-1][1] is None, f"{page.name} shows two outputs of one block"
            found[-1] = (found[-1][0], match[2])
    return found


def differs(wanted: str, printed: str) -> str:
    """What is wrong with what was printed; empty where nothing is."""
    flags = doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE
    if doctest.OutputChecker().check_output(wanted, printed, flags):
        return ""
    return f"expected:\n{wanted}\nprinted:\n{printed}"


def test_the_comparison_of_outputs() -> None:
    assert differs("version 1: ... MB\n", "version 1: AVAILABLE  20 MB\n") == ""
    assert differs("live: 2\n", "live: 3\n") == "expected:\nlive: 2\n\nprinted:\nlive: 3\n"


@pytest.mark.parametrize("page", EXECUTED, ids=lambda page: page.stem)
def test_pages_have_examples_that_parse(page: Path) -> None:
    found = examples(page)
    assert bool(found) == (page.name not in NOT_RUN)
    for block, _ in found:
        compile(block, page.name, "exec")


@pytest.mark.slow
@pytest.mark.timeout(_SECONDS + 20)
@pytest.mark.parametrize(
    "page", [page for page in EXECUTED if page.name not in NOT_RUN], ids=lambda page: page.stem
)
def test_examples_print_what_the_page_shows(page: Path, tmp_path: Path) -> None:
    folders = {name: str(tmp_path / name) for name in ("JUPYTER_RUNTIME_DIR", "JUPYTER_DATA_DIR")}
    for folder in folders.values():
        os.mkdir(folder)
    found = examples(page)
    done = subprocess.run(
        [sys.executable, "-c", _RUN],
        input=json.dumps([block for block, _ in found]),
        env={**os.environ, **folders, "TF_CPP_MIN_LOG_LEVEL": "3"},
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=_SECONDS,
    )
    assert done.returncode == 0, done.stderr
    printed = json.loads(done.stdout)
    wrong = [
        differs(wanted, out)
        for (_, wanted), out in zip(found, printed, strict=True)
        if wanted is not None
    ]
    assert "\n".join(filter(None, wrong)) == ""
    assert os.listdir(folders["JUPYTER_RUNTIME_DIR"]) == []


@pytest.mark.slow
@pytest.mark.timeout(200)
def test_the_site_builds_and_every_link_leads_somewhere(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", str(tmp_path / "site")],
        env={**os.environ, "NO_MKDOCS_2_WARNING": "1"},
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=180,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    reference = (tmp_path / "site" / "reference" / "index.html").read_text()
    for name in ("serve", "Server", "compare_transitions", "half_copied", "PredictThenReveal"):
        assert f'.{name}"' in reference, name
    for page in (tmp_path / "site").rglob("*.html"):
        fetched = re.findall(
            r'(?:<script[^>]*src|<link[^>]*href)="(https?://[^"]+)"', page.read_text()
        )
        assert not [url for url in fetched if "github" not in url], page
