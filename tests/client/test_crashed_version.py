"""What a notebook sees while the only version of its model is away after a crash."""

from __future__ import annotations

import os
import signal
import threading
import time
from typing import Any

import pytest

import workbench as wb
from workbench.client.asking import lookup
from workbench.core.status import Code, ServingError, unavailable
from workbench.core.versions.outage import OVERDUE_SECONDS

WAIT_SECONDS = 60.0


def crash(server: wb.Server) -> None:
    """Kill the version's worker until it is set aside."""
    end = time.monotonic() + WAIT_SECONDS
    killed: set[int] = set()
    while time.monotonic() < end:
        (version,) = server.describe()["versions"]
        if version["quarantine"] is not None:
            return
        pid = version["pid"]
        if pid is not None and pid not in killed:
            killed.add(pid)
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                pass
        time.sleep(0.01)
    raise AssertionError("it was not set aside")


def until_it_serves(server: wb.Server) -> None:
    end = time.monotonic() + WAIT_SECONDS
    while server.versions[1].state != "AVAILABLE":
        assert time.monotonic() < end, server.versions
        time.sleep(0.05)


def test_predict_waits_for_it(server: wb.Server) -> None:
    answers: list[Any] = []
    ended = threading.Event()

    def ask() -> None:
        # A client that knows nothing of the model yet, each time.
        while not ended.is_set():
            try:
                answer: Any = wb.Server(server.name, server.model).predict([1.0])
                answers.append(answer.tolist())
            except ServingError as error:
                answers.append(error)

    caller = threading.Thread(target=ask)
    caller.start()
    try:
        crash(server)
        until_it_serves(server)
        time.sleep(0.2)
    finally:
        ended.set()
        caller.join(WAIT_SECONDS)
    # One that was in the worker at two deaths may hear of it.
    lost = {"The worker process ended while it ran this request"}
    assert {a.message for a in answers if isinstance(a, ServingError)} <= lost
    assert [a for a in answers if not isinstance(a, ServingError)][-1] == [2.5]


def test_predict_says_why_where_it_cannot_wait(server: wb.Server) -> None:
    """Its folder is gone, so nothing says when it is back."""
    folder, away = server.base_path / "1", server.base_path / "1.away"
    folder.rename(away)
    try:
        crash(server)
        time.sleep(OVERDUE_SECONDS + 1.5)
        began = time.monotonic()
        for asking in (server, wb.Server(server.name, server.model)):
            for version in (None, 1):
                with pytest.raises(ServingError) as raised:
                    asking.predict([1.0], version=version)
                assert raised.value.code is Code.UNAVAILABLE
                assert raised.value.message.startswith(
                    f"Version 1 of {server.model} crashed and is started again as soon as it can "
                    "be loaded: "
                )
        assert time.monotonic() - began < 10
        assert server.versions[1].state == "END"
    finally:
        away.rename(folder)
    until_it_serves(server)
    answer: Any = server.predict([1.0])
    assert answer.tolist() == [2.5]


def test_without_signatures_there_is_only_the_reason() -> None:
    told = {"version": 2, "message": "Version 2 of m crashed", "signatures": {}}
    data = {"name": "m", "versions": [], "waiting": {}, "outages": [told]}
    for version in (None, 2):
        with pytest.raises(ServingError) as raised:
            lookup.signatures_of(data, version)
        assert raised.value == unavailable("Version 2 of m crashed")
    with pytest.raises(ServingError) as raised:
        lookup.signatures_of(data, 1)
    assert raised.value.code is Code.NOT_FOUND
