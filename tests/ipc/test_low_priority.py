"""Work in a thread of low priority: what it gives, what it raises, and what is left of it."""

from __future__ import annotations

import os
import threading

import pytest

from workbench.ipc.low_priority import LOWEST, NICENESS, quiet_executor, quietly


def niceness() -> int:
    return os.getpriority(os.PRIO_PROCESS, threading.get_native_id())


def test_loud_work_is_done_as_usual() -> None:
    caller, own = threading.current_thread(), niceness()
    assert quietly(False, lambda: (threading.current_thread(), niceness())) == (caller, own)


def test_quiet_work_has_low_priority_and_so_have_the_threads_it_starts() -> None:
    own = niceness()
    low = max(own, NICENESS)

    def work() -> list[int]:
        seen = [niceness()]
        thread = threading.Thread(target=lambda: seen.append(niceness()))
        thread.start()
        thread.join()
        return seen

    assert quietly(True, work) == [low, low]
    assert niceness() == own
    assert not [t.name for t in threading.enumerate() if t.name.startswith("quiet")]


def test_what_is_short_and_frequent_has_the_lowest() -> None:
    executor = quiet_executor("aside")
    assert executor.submit(niceness).result() == max(niceness(), LOWEST)
    executor.shutdown()


@pytest.mark.parametrize("quiet", [False, True])
def test_what_it_raises_is_raised(quiet: bool) -> None:
    def fail() -> None:
        raise ValueError("no")

    with pytest.raises(ValueError, match="no"):
        quietly(quiet, fail)
