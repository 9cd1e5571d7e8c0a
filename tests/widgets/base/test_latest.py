"""Of a flood only the last is done; nothing stays behind."""

from __future__ import annotations

import threading

from workbench.widgets.base.latest import Latest

WAIT_SECONDS = 30.0


def test_of_a_flood_the_first_and_the_last_are_done_and_the_others_are_told_so() -> None:
    begun, go_on, ended = threading.Event(), threading.Event(), threading.Event()
    done: list[int] = []
    skipped: list[int] = []

    def do(value: int) -> None:
        begun.set()
        assert go_on.wait(WAIT_SECONDS)
        done.append(value)
        if value == 199:
            ended.set()

    latest: Latest[int] = Latest(do, skipped.append, "test-latest")
    latest.push(0)
    assert begun.wait(WAIT_SECONDS)
    for value in range(1, 200):
        latest.push(value)
    go_on.set()
    assert ended.wait(WAIT_SECONDS)

    assert done == [0, 199]
    assert skipped == list(range(1, 199))


def test_what_comes_after_a_rest_is_done_too() -> None:
    latest: Latest[threading.Event] = Latest(threading.Event.set, lambda _: None, "test-latest")
    for _ in range(2):
        done = threading.Event()
        latest.push(done)
        assert done.wait(WAIT_SECONDS)
