"""Runs long work in threads of low priority, so that small requests keep the processor.

Loading a model keeps a processor busy, and more than one where restoring starts threads of its own;
so does a batch of many megabytes, or reading how much memory a process has. Other requests should
hardly notice. Threads inherit a low priority from the thread that starts them. A process may lower
a priority but not raise it again, so the low priority ends with its thread. Threads that outlive
the work, such as those of a session, must be started before it.

A low priority is a share of the processor. Linux grants it in timer ticks of up to four
milliseconds, during which a thread that is woken waits. On a busy processor, one small request in a
hundred meets a thread with a share of a tenth, so such threads determine p99. One in several
hundred meets a thread of `LOWEST`.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, suppress
from typing import TypeVar
from weakref import WeakSet

T = TypeVar("T")

NICENESS = 10
"""A tenth of the share of others that want the whole processor. With less, a busy server would
never finish loading, nor answer when all requests are large."""

LOWEST = 15
"""A thirtieth, for work that is frequent and short: at worst, half a second of it takes fifteen."""


class QuietThread:
    """A thread of low priority that is started at once: the number of threads of a process should
    not depend on its requests."""

    def __init__(self) -> None:
        self._executor = quiet_executor("quiet", NICENESS)
        self._executor.submit(lambda: None)

    def run(self, work: Callable[[], T]) -> T:
        """Do some work there and wait for it; exceptions are raised here."""
        return self._executor.submit(work).result()

    def close(self) -> None:
        """End the thread when its work is done, and wait for it."""
        self._executor.shutdown()


_executors: WeakSet[ThreadPoolExecutor] = WeakSet()


def quiet_executor(name: str, niceness: int = LOWEST) -> ThreadPoolExecutor:
    """An executor of one thread of low priority."""
    executor = ThreadPoolExecutor(1, name, initializer=lower_priority, initargs=(niceness,))
    _executors.add(executor)
    return executor


def start_quiet_threads() -> None:
    """Start the threads of all executors of this process, which else start with their first work:
    the number of threads of a process should not depend on its requests."""
    for executor in list(_executors):
        executor.submit(lambda: None)


def started_executor(threads: int, name: str) -> ThreadPoolExecutor:
    """An executor of that many threads of usual priority, all of them started at once."""
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
    with closing(QuietThread()) as thread:
        return thread.run(work)


def lower_priority(niceness: int) -> None:
    """Lower the calling thread's priority. Systems other than Linux only have a priority for the
    whole process, which stays as it is."""
    if hasattr(os, "sched_setaffinity"):
        thread = threading.get_native_id()
        before = os.getpriority(os.PRIO_PROCESS, thread)
        os.setpriority(os.PRIO_PROCESS, thread, max(before, niceness))


def lower_process(pid: int) -> None:
    """Lower the priority of all threads of a process before it ends: freeing its memory takes tens
    of milliseconds, which others should not notice. Does nothing when it is gone."""
    try:
        threads = [int(name) for name in os.listdir(f"/proc/{pid}/task")]
    except OSError:
        return
    for thread in threads:
        with suppress(OSError):
            os.setpriority(os.PRIO_PROCESS, thread, LOWEST)
