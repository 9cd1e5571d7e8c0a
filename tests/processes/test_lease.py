"""A lease: one holder, seen by others, asked to leave, and lost with its process."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from workbench.processes.lease import Lease, ask_to_leave, holder_of, take

_HOLD = """
import sys
from pathlib import Path
from workbench.processes.lease import take
lease = take(Path(sys.argv[1]), "another", "a sweep")
print("held" if lease else "refused", flush=True)
sys.stdin.read()
"""


def held(path: Path, name: str = "me") -> Lease:
    lease = take(path, name, "a sweep")
    assert lease is not None
    return lease


def another(path: Path) -> subprocess.Popen[str]:
    process = subprocess.Popen(
        [sys.executable, "-c", _HOLD, str(path)],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    assert process.stdout is not None
    assert process.stdout.readline() == "held\n"
    return process


def test_one_at_a_time_and_the_next_one_after_it(tmp_path: Path) -> None:
    path = tmp_path / "lock"
    first = held(path)
    assert take(path, "second", "tuning") is None
    first.expect_end(first.holder.since + 60)
    seen = holder_of(path)
    assert seen is not None
    assert (seen.name, seen.purpose, seen.alive()) == ("me", "a sweep", True)
    assert 50 < (seen.seconds_left or 0) <= 60

    first.release()

    second = held(path, "second")
    assert second.holder.ident != first.holder.ident
    second.release()


def test_the_holder_is_asked_to_leave(tmp_path: Path) -> None:
    path = tmp_path / "lock"
    lease = held(path)
    assert lease.asked_to_leave() is None
    seen = holder_of(path)
    assert seen is not None
    ask_to_leave(path, seen, "the next one")
    assert lease.asked_to_leave() == "the next one"
    lease.release()
    # The request was for that lease only.
    again = held(path)
    assert again.asked_to_leave() is None
    again.release()
    assert [each.name for each in tmp_path.iterdir()] == ["lock"]


def test_a_lease_ends_with_its_process(tmp_path: Path) -> None:
    path = tmp_path / "lock"
    process = another(path)
    assert take(path, "me", "a sweep") is None
    process.kill()
    process.communicate(timeout=10)
    held(path).release()


def test_a_forked_child_does_not_keep_the_lease_of_a_dead_process(tmp_path: Path) -> None:
    path = tmp_path / "lock"
    process = subprocess.Popen(
        [
            sys.executable,
            "-c",
            "import os, sys, time\n"
            "from pathlib import Path\n"
            "from workbench.processes.lease import take\n"
            "lease = take(Path(sys.argv[1]), 'dead', 'a sweep')\n"
            "child = os.fork()\n"
            "if child == 0:\n"
            "    sys.stdin.read()\n"
            "    os._exit(0)\n"
            "os._exit(0)\n",
            str(path),
        ],
        stdin=subprocess.PIPE,
    )
    assert process.wait(timeout=20) == 0
    held(path).release()
    process.communicate(timeout=10)


def test_a_lock_that_cannot_be_read_names_nobody(tmp_path: Path) -> None:
    assert holder_of(tmp_path / "none") is None
    (tmp_path / "lock").write_text("{")
    assert holder_of(tmp_path / "lock") is None
    held(tmp_path / "lock").release()
