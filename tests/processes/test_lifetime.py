"""Telling processes apart, waiting for their ends, and ending with an owner."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator

import pytest

from tests.descriptors import assert_none_left, open_descriptors
from workbench.processes import lifetime
from workbench.processes.lifetime import (
    ProcessId,
    describe_exit,
    open_pidfd,
    reap,
    wait_for_end,
    wait_gone,
)

NEVER = 2**22 - 3  # a pid that is not in use (checked below)


@pytest.fixture
def child() -> Iterator[subprocess.Popen[bytes]]:
    """A process that sleeps until it is ended."""
    process = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(100)"])
    yield process
    process.kill()
    process.wait(10)


def test_a_process_is_told_apart_by_its_start() -> None:
    me = ProcessId.me()
    assert me == ProcessId.of(os.getpid())
    assert me.alive()
    impostor = ProcessId(me.pid, me.started - 1)
    assert not impostor.alive()
    impostor.kill()  # is not me: nothing happens
    assert ProcessId.of(NEVER) is None


def test_a_killed_child_is_gone_before_and_after_it_is_reaped(
    child: subprocess.Popen[bytes],
) -> None:
    process = ProcessId.of(child.pid)
    assert process is not None
    assert process.alive()
    assert not wait_gone(process, 0.0)
    process.kill(signal.SIGTERM)
    assert wait_gone(process, 10.0)
    assert ProcessId.of(child.pid) is None  # a zombie now
    status = reap(child.pid)
    assert status is not None
    assert describe_exit(status) == "killed by SIGTERM"
    assert reap(child.pid) is None
    process.kill()


def test_a_living_child_and_a_stranger_are_not_reaped(child: subprocess.Popen[bytes]) -> None:
    assert reap(child.pid) is None
    assert reap(1) is None


def test_the_end_of_a_process_can_be_waited_for(child: subprocess.Popen[bytes]) -> None:
    process = ProcessId.of(child.pid)
    assert process is not None
    pidfd = open_pidfd(process)
    assert pidfd is not None
    ended: list[str] = []

    def wait(what: ProcessId | int, name: str) -> None:
        wait_for_end(what)
        ended.append(name)

    threads = [
        threading.Thread(target=wait, args=(process, "by identity")),
        threading.Thread(target=wait, args=(pidfd, "by pidfd")),
    ]
    for thread in threads:
        thread.start()
    assert ended == []
    child.kill()
    for thread in threads:
        thread.join(10)
    assert sorted(ended) == ["by identity", "by pidfd"]
    os.close(pidfd)


def test_without_pidfds_the_end_is_polled_for(
    child: subprocess.Popen[bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delattr(os, "pidfd_open")
    monkeypatch.setattr(lifetime, "_POLL_SECONDS", 0.001)
    process = ProcessId.of(child.pid)
    assert process is not None
    assert open_pidfd(process) is None
    thread = threading.Thread(target=wait_for_end, args=(process,))
    thread.start()
    child.kill()
    thread.join(10)
    assert not thread.is_alive()


def test_no_pidfd_of_a_process_that_is_gone_or_another() -> None:
    me = ProcessId.me()
    before = open_descriptors()
    assert open_pidfd(ProcessId(NEVER, 1.0)) is None
    assert open_pidfd(ProcessId(me.pid, me.started + 1)) is None
    assert_none_left(before)
    wait_for_end(ProcessId(NEVER, 1.0))  # returns at once


@pytest.mark.parametrize("by_pidfd", [False, True])
def test_a_process_ends_with_its_owner_however_busy_it_is(by_pidfd: bool) -> None:
    # The owner starts a child that binds itself to it, and is then killed.
    script = """
import os, sys, time
from workbench.processes.lifetime import ProcessId, die_with, open_pidfd
owner = ProcessId.me()
read, write = os.pipe()
if os.fork() == 0:
    die_with(open_pidfd(owner) if BY_PIDFD else owner, lambda: os.write(1, b"last words\\n"))
    os.write(write, b"x")
    try:
        time.sleep(100)
    finally:
        os.write(1, b"finally\\n")
os.read(read, 1)
os.kill(os.getpid(), 9)
""".replace("BY_PIDFD", str(by_pidfd))
    # The pipe ends when the child has, too.
    done = subprocess.run([sys.executable, "-c", script], stdout=subprocess.PIPE, timeout=30)
    assert (done.returncode, done.stdout) == (-signal.SIGKILL, b"last words\n")


@pytest.mark.parametrize(
    ("status", "words"),
    [
        (None, "ended, its exit status is not known"),
        (0, "exit code 0"),
        (3 << 8, "exit code 3"),
        (signal.SIGSEGV, "killed by SIGSEGV"),
        (signal.SIGKILL, "killed by SIGKILL (by a user, or by the system because memory ran out)"),
        (63, "killed by signal 63"),
    ],
)
def test_exits_in_words(status: int | None, words: str) -> None:
    assert describe_exit(status) == words


def test_a_subreaper_adopts_and_reaps_orphans() -> None:
    script = """
import os, time
from workbench.processes.lifetime import become_subreaper, describe_exit, reap
become_subreaper()
read, write = os.pipe()
middle = os.fork()
if middle == 0:
    orphan = os.fork()
    if orphan == 0:
        time.sleep(100)
    os.write(write, str(orphan).encode())
    os._exit(0)
orphan = int(os.read(read, 20))
os.waitpid(middle, 0)
os.kill(orphan, 9)
end = time.monotonic() + 10
while (status := reap(orphan)) is None and time.monotonic() < end:
    time.sleep(0.01)
print(describe_exit(status))
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, timeout=30)
    assert done.stdout.startswith(b"killed by SIGKILL"), done.stderr


def test_waiting_is_bounded() -> None:
    started = time.monotonic()
    assert not wait_gone(ProcessId.me(), 0.05)
    assert time.monotonic() - started >= 0.05
