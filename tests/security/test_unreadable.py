"""A server whose user may not read its model's folder any more, or parts of it.

Nothing is unreadable for the system's superuser, so the server runs as another user, and these
tests are for `root`, who takes the right to read away and gives it back.
"""

from __future__ import annotations

import json
import shutil
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.security.nobody import ONLY_ROOT, SECONDS, script_of_nobody

pytestmark = [pytest.mark.slow, *ONLY_ROOT]

CURE = "Let user nobody, who runs the server, read it and enter the folders above it."

SCRIPT = """
import json, os, signal, sys
import workbench as wb
with wb.serve(sys.argv[1] + "/base", "unreadable", timeout=50) as server:
    for line in sys.stdin:
        if line == "kill\\n":
            samples = server.control.memory()
            (pid,) = [s["pid"] for s in samples if s["role"] == "worker"]
            os.kill(pid, signal.SIGKILL)
        (model,) = server.status()["models"]
        try:
            said = server.predict([1.0]).tolist()
        except wb.ServingError as error:
            said = error.code.name
        print(json.dumps({
            "said": said,
            "versions": {v["version"]: v["state"] for v in model["versions"]},
            "waiting": model["waiting"],
            "warnings": model["warnings"],
        }), flush=True)
"""


class Foreign:
    """The other user's server, and the folder that it serves."""

    def __init__(self, base: Path, script: subprocess.Popen[str]) -> None:
        self.base = base
        self._script = script

    def ask(self, line: str = "") -> dict[str, Any]:
        assert self._script.stdin is not None
        assert self._script.stdout is not None
        self._script.stdin.write(line + "\n")
        self._script.stdin.flush()
        answer = self._script.stdout.readline()
        assert answer, "the script has ended"
        told: dict[str, Any] = json.loads(answer)
        return told

    def until(self, holds: Callable[[dict[str, Any]], bool], said: Any = None) -> dict[str, Any]:
        """Ask until it holds; every answer on the way is `said`, where that is given."""
        end = time.monotonic() + SECONDS
        while True:
            told = self.ask()
            assert said is None or told["said"] == said, told
            if holds(told):
                return told
            assert time.monotonic() < end, told
            time.sleep(0.1)


@pytest.fixture(scope="module")
def foreign(models: Path) -> Iterator[Foreign]:
    with script_of_nobody(models / "half_plus_two", "base/1", SCRIPT) as (home, script):
        yield Foreign(home / "base", script)


def put(foreign: Foreign, models: Path, export: str, version: int, unreadable: str) -> Path:
    """A new version of which the server's user cannot read one file or folder."""
    beside = foreign.base / f"{version}.tmp"
    shutil.copytree(models / export, beside)
    hidden = beside / unreadable
    hidden.chmod(0o000)
    beside.rename(foreign.base / str(version))
    return foreign.base / str(version) / unreadable


@pytest.mark.parametrize("mode", [0o000, 0o644], ids=["unlisted", "not-entered"])
def test_a_base_path_that_may_not_be_read(foreign: Foreign, mode: int) -> None:
    """Where it may be listed and not entered, its versions are what cannot be read."""
    base = foreign.base
    serving = foreign.until(lambda told: not told["warnings"])
    versions = serving["versions"]
    base.chmod(mode)
    told = foreign.until(lambda told: bool(told["warnings"]), serving["said"])
    newest = max(versions, key=int)
    assert told["warnings"] == [
        f"Could not find base path {base} for servable unreadable with error "
        f"PERMISSION_DENIED: {base}; Permission denied. {CURE}"
        if mode == 0
        else f"Version {newest} of servable unreadable stays as it is: {base}/{newest} cannot be "
        f"read: Permission denied. {CURE}"
    ]
    assert told["versions"] == versions
    base.chmod(0o755)
    told = foreign.until(lambda told: not told["warnings"], serving["said"])
    assert told["versions"] == versions


@pytest.mark.parametrize("part", ["", "saved_model.pb", "variables/variables.data-00000-of-00001"])
def test_a_version_that_serves_and_may_not_be_read(foreign: Foreign, part: str) -> None:
    hidden = foreign.base / "1" / part
    before = hidden.stat().st_mode & 0o777
    foreign.until(lambda told: not told["warnings"])
    hidden.chmod(0o000)
    told = foreign.until(lambda told: bool(told["warnings"]), [2.5])
    assert told["warnings"] == [
        f"Version 1 of servable unreadable stays as it is: {hidden} cannot be read: Permission "
        f"denied. {CURE}"
    ]
    assert (told["versions"], told["waiting"]) == ({"1": "AVAILABLE"}, {})
    hidden.chmod(before)
    foreign.until(lambda told: not told["warnings"], [2.5])


def test_a_worker_that_dies_while_its_files_may_not_be_read(foreign: Foreign) -> None:
    """There is nothing to start it again from; with its files it comes back by itself."""
    foreign.until(lambda told: not told["warnings"])
    version = foreign.base / "1"
    version.chmod(0o000)
    foreign.until(lambda told: bool(told["warnings"]), [2.5])
    foreign.ask("kill")
    # It crashed and is not gone: requests wait for it as long as they can.
    told = foreign.until(lambda told: told["said"] in ("UNAVAILABLE", "DEADLINE_EXCEEDED"))
    assert f"{version} cannot be read: Permission denied. {CURE}" in told["warnings"][0]
    version.chmod(0o755)
    foreign.until(lambda told: told["said"] == [2.5] and told["versions"] == {"1": "AVAILABLE"})


@pytest.mark.parametrize(
    ("version", "part"),
    [
        (2, "."),
        (3, "variables/variables.index"),
        (4, "variables/variables.data-00000-of-00001"),
    ],
)
def test_a_new_version_that_may_not_be_read(
    foreign: Foreign, models: Path, version: int, part: str
) -> None:
    """The one that serves goes on, and the new one follows as soon as it can be read."""
    before = foreign.until(lambda told: not told["warnings"])
    hidden = put(foreign, models, ("half_plus_two", "half_plus_three")[version % 2], version, part)
    number = str(version)
    told = foreign.until(lambda told: "cannot" in told["waiting"].get(number, ""), before["said"])
    assert told["waiting"] == {number: f"{hidden} cannot be read: Permission denied. {CURE}"}
    assert told["versions"] == before["versions"]
    hidden.chmod(0o755)
    told = foreign.until(lambda told: told["versions"].get(number) == "AVAILABLE")
    told = foreign.until(
        lambda told: {s for v, s in told["versions"].items() if v != number} == {"END"}
    )
    assert told["said"] == [2.5 + version % 2]
    assert (told["waiting"], told["warnings"]) == ({}, [])
