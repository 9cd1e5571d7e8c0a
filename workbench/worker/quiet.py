"""Long work beside small requests: the processor is theirs, and the work takes what is left.

A load keeps a processor busy for as long as it lasts, and more than one where restoring starts
threads of its own; so does a batch of many megabytes. Who serves at the same time should hardly
notice. So all of this can be done in a thread of low priority: the threads that it starts inherit
that, and it ends with it, as a process may lower a priority and not raise it again. Threads that
outlive the work, those of a session, must have been started before.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

T = TypeVar("T")

# A tenth of what others get where they want all; lower, and a busy server would never load.
NICENESS = 10


class QuietThread:
    """A thread of low priority, there from its first piece of work on."""

    def __init__(self) -> None:
        self._executor = ThreadPoolExecutor(
            1, "quiet", initializer=lower_priority, initargs=(NICENESS,)
        )

    def run(self, work: Callable[[], T]) -> T:
        """Do some work there, and wait for it; what it raises is raised here."""
        return self._executor.submit(work).result()

    def close(self) -> None:
        self._executor.shutdown()


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
