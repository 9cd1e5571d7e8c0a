"""Changes that run into each other, under load: no request is lost, nothing hangs, nothing is left.

Where `unload_first` was asked for, a request may find no version; everything else is answered.
"""

from __future__ import annotations

import os
import random
import shutil
import signal
import socket
import struct
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

import workbench as wb
from tests.chaos.client import Client
from tests.soak.test_soak import state
from workbench.client.publishing import saving
from workbench.core.status import Code, ServingError
from workbench.processes import registry
from workbench.processes.launcher import reap_supervisors

pytestmark = [pytest.mark.slow, pytest.mark.timeout(180)]

NAME = "odd"
SECONDS = 60.0
REFUSED = {"REST 404", "gRPC NOT_FOUND"}


class Odd:
    """A server, and what is done to it from two sides at once."""

    def __init__(self, server: wb.Server, models: Path) -> None:
        self.server = server
        self.base = server.base_path
        self.models = models
        self.refusals: list[ServingError] = []
        self._published = 0

    def publish(self) -> None:
        self._published += 1
        export = ("half_plus_two", "half_plus_three")[self._published % 2]
        try:
            self.server.publish(self.models / export)
        except ServingError as error:
            self.refusals.append(error)

    @contextmanager
    def publishing(self, moment: str) -> Iterator[None]:
        """A publish in the background; the block runs in the moment of this event of its load."""
        since = self.server.control.describe_server()["last_seq"]
        publisher = threading.Thread(target=self.publish)
        publisher.start()
        try:
            self._await(moment, since)
            yield
        finally:
            publisher.join(SECONDS)
        assert not publisher.is_alive()

    def _await(self, kind: str, since: int) -> None:
        end = time.monotonic() + SECONDS
        while time.monotonic() < end:
            told = self.server.control.events(since)["events"]
            if any(event["kind"] == kind for event in told):
                return
            time.sleep(0.002)
        raise AssertionError(f"there was no {kind}")

    def kill(self, role: str) -> None:
        samples = self.server.control.memory()
        found = [s for s in samples if s["role"] == role]
        os.kill(max(found, key=lambda s: s["version"] or 0)["pid"], signal.SIGKILL)

    def until_settled(self) -> None:
        """One version serves, and nothing is on its way."""
        end = time.monotonic() + SECONDS
        while True:
            (model,) = self.server.status()["models"]
            states = Counter(v["state"] for v in model["versions"])
            if states["AVAILABLE"] == 1 and set(states) <= {"AVAILABLE", "END"}:
                return
            assert time.monotonic() < end, model
            time.sleep(0.05)


@pytest.fixture
def odd(models: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Odd]:
    monkeypatch.setenv("JUPYTER_RUNTIME_DIR", str(tmp_path / "r"))
    server = wb.serve(models / "half_plus_two", NAME, base_path=tmp_path / "versions")
    try:
        yield Odd(server, models)
    finally:
        server.stop()
        reap_supervisors()


def publish_during_rollback(odd: Odd) -> None:
    odd.publish()
    rollback = threading.Thread(target=odd.server.rollback)
    rollback.start()
    odd.publish()
    rollback.join(SECONDS)
    assert not rollback.is_alive()


def removed_while_it_loads(moment: str) -> Callable[[Odd], None]:
    def act(odd: Odd) -> None:
        with odd.publishing(moment):
            newest = max(saving.version_folders(odd.base))
            shutil.rmtree(odd.base / str(newest), ignore_errors=True)

    return act


def changes(before: str, moment: str, after: str) -> Callable[[Odd], None]:
    """The transition changes in the midst of one."""

    def act(odd: Odd) -> None:
        odd.server.transition = before
        with odd.publishing(moment):
            odd.server.transition = after
        odd.until_settled()
        odd.server.transition = "smooth"

    return act


def zygote_killed(moment: str) -> Callable[[Odd], None]:
    def act(odd: Odd) -> None:
        with odd.publishing(moment):
            odd.kill("zygote")

    return act


def everything_deleted_and_back(odd: Odd) -> None:
    away = odd.base.with_name("away")
    shutil.copytree(odd.base, away)
    shutil.rmtree(odd.base)
    time.sleep(1.5)
    odd.base.mkdir()
    time.sleep(1.5)
    shutil.copytree(away, odd.base, dirs_exist_ok=True)
    shutil.rmtree(away)


def callers_that_leave(odd: Odd) -> None:
    """At any byte of their request, orderly or not."""
    entry = registry.find(NAME)
    body = b'{"instances": [1.0]}'
    head = (
        f"POST /v1/models/{NAME}:predict HTTP/1.1\r\nHost: 127.0.0.1\r\n"
        f"Authorization: Bearer {entry.token}\r\nContent-Length: {len(body)}\r\n\r\n"
    )
    request = head.encode() + body
    chance = random.Random(1)
    for number in range(300):
        with socket.create_connection((entry.host, entry.port)) as sock:
            sock.sendall(request[: chance.randint(1, len(request))])
            if number % 3 == 0:
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))


def worker_and_zygote_killed(odd: Odd) -> None:
    odd.kill("worker")
    odd.kill("zygote")


STEPS: list[tuple[Callable[[Odd], None], bool]] = [
    (publish_during_rollback, False),
    (removed_while_it_loads("worker_started"), False),
    (removed_while_it_loads("reading_saved_model"), False),
    (changes("smooth", "loading", "unload_first"), True),
    (changes("staged", "staging", "smooth"), False),
    (changes("unload_first", "quiescing", "smooth"), True),
    (changes("staged+hold", "staged", "unload_first"), True),
    (zygote_killed("load_approved"), False),
    (zygote_killed("worker_started"), False),
    (everything_deleted_and_back, False),
    (callers_that_leave, False),
    (worker_and_zygote_killed, False),
]
"""And whether there may be a moment in which nothing serves."""


def test_changes_that_run_into_each_other(odd: Odd) -> None:
    for _ in range(2):
        odd.publish()
    odd.until_settled()
    assert odd.refusals == []
    time.sleep(1.0)
    before = state(odd.server)
    seen: set[int] = set()
    with Client(registry.find(NAME), NAME, (2.0, 3.0), 60.0) as client:
        for step, gap in STEPS:
            step(odd)
            odd.until_settled()
            time.sleep(0.3)
            said = Counter(
                f"{outcome.interface} {outcome.said}"
                for number in set(client.outcomes) - seen
                for outcome in client.outcomes[number]
            )
            seen = set(client.outcomes)
            assert said["REST fine"] + said["gRPC fine"] > 0, (step, said)
            assert set(said) <= {"REST fine", "gRPC fine", *(REFUSED if gap else ())}, (step, said)
    assert sorted(client.outcomes) == list(range(client.sent))
    assert all(len(outcomes) == 1 for outcomes in client.outcomes.values())
    # Who published what was taken away is told so; DATA_LOSS where the weights are gone and the
    # graph was still there.
    told = {Code.CANCELLED, Code.NOT_FOUND, Code.INVALID_ARGUMENT, Code.DATA_LOSS}
    assert {error.code for error in odd.refusals} <= told, odd.refusals
    end = time.monotonic() + SECONDS
    names = ("processes", "descriptors", "regions", "threads")
    while any(state(odd.server)[name] > before[name] for name in names):
        assert time.monotonic() < end, (before, state(odd.server))
        time.sleep(0.5)
