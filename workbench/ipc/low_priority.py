"""Long work beside small requests: the processor is theirs, and the work takes what is left.

A load keeps a processor busy for as long as it lasts, and more than one where restoring starts
threads of its own; so does a batch of many megabytes, or reading how much memory a process has.
Who serves at the same time should hardly notice. So all of this can be done in a thread of low
priority: the threads that it starts inherit that, and it ends with it, as a process may lower a
priority and not raise it again. Threads that outlive the work, those of a session, must have been
started before.

Low priority is a share, and Linux gives it in pieces of a timer's tick, up to four milliseconds
during which whoever was woken waits. A share of a tenth is therefore met by one small request in
a hundred on a busy processor: it is what p99 consists of. `LOWEST` is met by one in several
hundred.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

T = TypeVar("T")

NICENESS = 10
"""A tenth of what others get where they want all; lower, and a busy server would never load, nor
answer where all requests are large."""

LOWEST = 15
"""A thirtieth, for what comes often and is short: half a second becomes fifteen at worst."""


class QuietThread:
    """A thread of low priority, there from the beginning: how many threads a process has should not
    depend on what it was asked."""

    def __init__(self) -> None:
        self._executor = quiet_executor("quiet", NICENESS)
        self._executor.submit(lambda: None)

    def run(self, work: Callable[[], T]) -> T:
        """Do some work there, and wait for it; what it raises is raised here."""
        return self._executor.submit(work).result()

    def close(self) -> None:
        self._executor.shutdown()


def quiet_executor(name: str, niceness: int = LOWEST) -> ThreadPoolExecutor:
    """One thread of low priority, and what waits for it."""
    return ThreadPoolExecutor(1, name, initializer=lower_priority, initargs=(niceness,))


def started_executor(threads: int, name: str) -> ThreadPoolExecutor:
    """That many threads of usual priority, all of them there from the beginning."""
    executor = ThreadPoolExecutor(threads, name)
    all_there = threading.Barrier(threads + 1)
    for _ in range(threads):
        executor.submit(all_there.wait)
    all_there.wait()
    return executor


def quietly(quiet: bool, work: Callable[[], T]) -> T:
    """Do some work; where `quiet`, in a thread of low priority."""
    if not quiet:
        return work()
    thread = QuietThread()
    try:
        return thread.run(work)
    finally:
        thread.close()


def lower_priority(niceness: int) -> None:
    """Lower the calling thread's priority; other systems than Linux only know that of the
    process, and keep it."""
    if hasattr(os, "sched_setaffinity"):
        thread = threading.get_native_id()
        before = os.getpriority(os.PRIO_PROCESS, thread)
        os.setpriority(os.PRIO_PROCESS, thread, max(before, niceness))


def lower_process(pid: int, niceness: int = LOWEST) -> None:
    """Lower the priority of all threads of a process, before it ends: giving its memory back takes
    tens of milliseconds, which others should not notice. Nothing happens where it is gone."""
    try:
        threads = [int(name) for name in os.listdir(f"/proc/{pid}/task")]
    except OSError:
        return
    for thread in threads:
        try:
            os.setpriority(os.PRIO_PROCESS, thread, niceness)
        except OSError:
            pass
