"""Loading beside a version that serves: the processor is its, and loading takes what is left.

A load keeps a processor busy for as long as it lasts, and more than one where restoring starts
threads of its own. Who serves at the same time should hardly notice. So all of this can be done in
a thread of low priority: the threads that it starts inherit that, and it ends with it, as a process
may lower a priority and not raise it again. Threads that outlive the load, those of a session, must
have been started before.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")

# A tenth of what others get where they want all; lower, and a busy server would never load.
NICENESS = 10


def quietly(quiet: bool, work: Callable[[], T]) -> T:
    """Do some work; where `quiet`, in a thread of low priority."""
    if not quiet:
        return work()
    results: list[T] = []
    errors: list[BaseException] = []

    def run() -> None:
        lower_priority(NICENESS)
        try:
            results.append(work())
        except BaseException as error:
            errors.append(error)

    thread = threading.Thread(target=run, name="quiet-load")
    thread.start()
    thread.join()
    for error in errors:
        raise error
    return results[0]


def lower_priority(niceness: int) -> None:
    """Lower the calling thread's priority; other systems than Linux only know that of the
    process, and keep it."""
    if hasattr(os, "sched_setaffinity"):
        thread = threading.get_native_id()
        before = os.getpriority(os.PRIO_PROCESS, thread)
        os.setpriority(os.PRIO_PROCESS, thread, max(before, niceness))
