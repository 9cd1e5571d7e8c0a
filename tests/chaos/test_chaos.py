"""Two minutes of load from a real client, while everything that can be killed is killed.

The account in the end: every request that was sent has exactly one outcome, every answer is the
caller's own, and every failure is one that `docs/reliability.md` allows for what happened then.
"""

from __future__ import annotations

import os
import signal
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import pytest

import workbench as wb
from tests.chaos import table
from tests.chaos.client import Client, Outcome
from workbench.core.status import ServingError
from workbench.processes import registry
from workbench.processes.launcher import reap_supervisors

pytestmark = [pytest.mark.slow, pytest.mark.timeout(400)]

NAME = "chaos"
RATE = 200.0
SECONDS = 60.0
RETURN_SECONDS = 90.0
# x/2 + 2 and x/2 + 3: two models whose answers cannot be told apart by their form.
OFFSETS = (2.0, 3.0)


class Happening(NamedTuple):
    """What was done to the server, by its name in the table, from when until it was over (monotonic
    seconds)."""

    what: str
    began: float
    ended: float


class Chaos:
    """A server and what is done to it."""

    def __init__(self, models: Path, server: wb.Server) -> None:
        self.models = models
        self.server = server
        self.happened: list[Happening] = []
        self.flips = 0

    @contextmanager
    def note(self, what: str) -> Iterator[None]:
        began = time.monotonic()
        try:
            yield
        finally:
            self.happened.append(Happening(what, began, time.monotonic()))

    def pid(self, role: str) -> int:
        """The newest process of that role."""
        samples = self.server.control.memory()
        found = [s for s in samples if s["role"] == role]
        return int(max(found, key=lambda s: s["version"] or 0)["pid"])

    def publish(self, transition: str = "smooth") -> None:
        name = ("half_plus_three", "half_plus_two")[self.flips % 2]
        self.flips += 1
        with self.note(f"a version is published, {transition}"):
            self.server.publish(str(self.models / name))

    def roll_back(self) -> None:
        with self.note("a version is rolled back, smooth"):
            self.server.rollback()

    def until_the_zygote_is_up(self) -> None:
        """A new one imports TensorFlow first, which takes as long as the machine is busy."""
        end = time.monotonic() + RETURN_SECONDS
        while True:
            pid = self.server.control.describe_server()["zygote_pid"]
            events = self.server.control.events()["events"]
            if any(e["kind"] == "zygote_started" and e["data"]["pid"] == pid for e in events):
                return
            assert time.monotonic() < end, "no zygote came up"
            time.sleep(0.1)

    def kill_worker(self) -> None:
        self.until_the_zygote_is_up()
        with self.note("a worker is killed"):
            os.kill(self.pid("worker"), signal.SIGKILL)

    def kill_zygote(self) -> None:
        # A worker that was killed has its successor by then.
        self.until_it_answers()
        with self.note("the zygote is killed"):
            os.kill(self.pid("zygote"), signal.SIGKILL)

    def kill_server(self) -> None:
        with self.note("the server process is killed"):
            os.kill(self.pid("server"), signal.SIGKILL)
            self.until_it_answers()

    def publish_broken(self, name: str) -> None:
        what = "a version that cannot be loaded is published"
        with self.note(what), pytest.raises(ServingError):
            self.server.publish(str(self.models / name))

    def fill_budget(self) -> None:
        """No memory is left for one more version; then there is again."""
        # Nobody loses what he has; nobody gets anything.
        self.server.budget = 1
        name = ("half_plus_three", "half_plus_two")[self.flips % 2]
        self.flips += 1
        with (
            self.note("a version beyond the memory budget is published"),
            pytest.raises(ServingError, match="Insufficient resources to load servable"),
        ):
            self.server.publish(str(self.models / name))
        with self.note("a version is published, smooth"):
            self.server.budget = None
            self.until_the_newest_serves()

    def until_the_newest_serves(self) -> None:
        end = time.monotonic() + RETURN_SECONDS
        while True:
            newest = max(self.server.versions, key=lambda v: v.version)
            if newest.state == "AVAILABLE":
                return
            assert time.monotonic() < end, f"the newest version does not serve: {newest}"
            time.sleep(0.05)

    def publish_and_kill(self) -> None:
        """The worker of the new version is killed as soon as there is one."""
        since = self.server.control.describe_server()["last_seq"]
        with self.note("a version whose worker dies while it loads is published"):
            killer = threading.Thread(target=self._kill_the_next, args=(since,))
            killer.start()
            try:
                self.server.publish(str(self.models / "half_plus_two"))
            finally:
                killer.join(RETURN_SECONDS)
        assert not killer.is_alive()

    def _kill_the_next(self, since: int) -> None:
        end = time.monotonic() + RETURN_SECONDS
        while time.monotonic() < end:
            told = self.server.control.events(since)["events"]
            for event in told:
                if event["kind"] == "worker_started":
                    os.kill(event["data"]["pid"], signal.SIGKILL)
                    return
            time.sleep(0.01)

    def kill_until_set_aside(self) -> None:
        """Kill each worker of the newest version, as soon as it serves, until it is set aside."""
        end = time.monotonic() + RETURN_SECONDS
        killed: set[int] = set()
        while True:
            (model,) = self.server.status()["models"]
            newest = max(model["versions"], key=lambda v: v["version"])
            if newest["quarantine"] is not None:
                return
            pid = newest["pid"]
            if pid is not None and pid not in killed and newest["state"] == "AVAILABLE":
                killed.add(pid)
                os.kill(pid, signal.SIGKILL)
            assert time.monotonic() < end, newest
            time.sleep(0.2)

    def until_it_answers(self) -> None:
        end = time.monotonic() + RETURN_SECONDS
        while True:
            try:
                self.server.predict([1.0])
                return
            except ServingError:
                assert time.monotonic() < end, "the server did not come back"
                time.sleep(0.05)


@pytest.fixture
def chaos(models: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Chaos]:
    monkeypatch.setenv("JUPYTER_RUNTIME_DIR", str(tmp_path / "r"))
    server = wb.serve(str(models / "half_plus_two"), NAME)
    try:
        yield Chaos(models, server)
    finally:
        server.stop()
        reap_supervisors()


def account(chaos: Chaos, client: Client) -> Counter[str]:
    """Check every request; how many had which outcome."""
    rows = table.read()
    assert {happening.what for happening in chaos.happened} <= set(rows)
    assert sorted(client.outcomes) == list(range(client.sent))
    count: Counter[str] = Counter()
    for number, outcomes in client.outcomes.items():
        assert len(outcomes) == 1, f"request {number} has {outcomes}"
        (outcome,) = outcomes
        count[f"{outcome.interface} {outcome.said}"] += 1
        if outcome.said != "fine":
            near = [h for h in chaos.happened if abs(h.began - outcome.sent) < 10]
            assert _allowed(outcome, chaos.happened, rows), f"{number}: {outcome}, {near}"
    return count


def _allowed(outcome: Outcome, happened: list[Happening], rows: dict[str, table.Row]) -> bool:
    for happening in happened:
        row = rows[happening.what]
        failures = row.rest if outcome.interface == "REST" else row.grpc
        # What was asked before it was over may have met it.
        overlaps = outcome.done >= happening.began and outcome.exposed_since <= happening.ended
        if outcome.said in failures and overlaps:
            return True
    return False


def wait_until(moment: float) -> None:
    time.sleep(max(0.0, moment - time.monotonic()))


def report(title: str, chaos: Chaos, count: Counter[str]) -> None:
    done = Counter(happening.what for happening in chaos.happened)
    print(
        f"\n{title}: {dict(done)}\n  {sum(count.values())} requests: {dict(sorted(count.items()))}"
    )


def test_smooth_changes_and_dying_workers_cost_nobody_anything(chaos: Chaos) -> None:
    with Client(registry.find(NAME), NAME, OFFSETS, RATE) as client:
        start = time.monotonic()
        turn = 0
        # Each version is killed once at most, so no version dies too often.
        steps: list[Any] = [chaos.publish, chaos.kill_worker, chaos.publish, chaos.kill_zygote]
        steps += [chaos.fill_budget, chaos.kill_worker, chaos.kill_zygote, chaos.roll_back]
        while time.monotonic() < start + SECONDS or turn < 2 * len(steps):
            steps[turn % len(steps)]()
            turn += 1
            wait_until(start + 3.5 * turn)
        chaos.until_it_answers()
    count = account(chaos, client)
    report("smooth and workers", chaos, count)
    assert set(count) == {"REST fine", "gRPC fine"}
    assert sum(count.values()) > 0.8 * RATE * SECONDS
    done = Counter(happening.what for happening in chaos.happened)
    assert min(done["a worker is killed"], done["the zygote is killed"]) >= 3


def test_one_version_only_that_is_killed_three_times(chaos: Chaos) -> None:
    """Nobody hears that the model does not exist, and it is back soon."""
    with Client(registry.find(NAME), NAME, OFFSETS, RATE) as client:
        start = time.monotonic()
        wait_until(start + 2)
        with chaos.note("a worker is killed three times, one version only"):
            chaos.kill_until_set_aside()
            chaos.until_the_newest_serves()
        took = chaos.happened[-1].ended - chaos.happened[-1].began
        wait_until(start + 12)
        chaos.until_it_answers()
    count = account(chaos, client)
    report(f"one version, away for {took:.1f} s", chaos, count)
    # Only what was in the worker at two deaths can have failed; all others have waited.
    assert count["REST fine"] + count["gRPC fine"] > 0.98 * client.sent


def test_whatever_else_happens_is_accounted_for(chaos: Chaos) -> None:
    with Client(registry.find(NAME), NAME, OFFSETS, RATE) as client:
        start = time.monotonic()
        chaos.publish()
        wait_until(start + 4)
        chaos.kill_server()
        wait_until(start + 14)
        chaos.publish_broken("corrupt")
        chaos.publish_broken("bad_graph")
        chaos.publish_and_kill()
        chaos.fill_budget()
        wait_until(start + 22)
        chaos.server.transition = "unload_first"
        chaos.publish("unload_first")
        wait_until(start + 27)
        chaos.publish("unload_first")
        wait_until(start + 32)
        chaos.server.transition = "smooth"
        chaos.publish_broken("bad_graph")
        # The highest version is broken now, and nothing serves that could be kept.
        wait_until(start + 36)
        chaos.kill_server()
        wait_until(start + 46)
        chaos.publish()
        chaos.kill_worker()
        chaos.kill_zygote()
        wait_until(start + SECONDS)
        chaos.until_it_answers()
    count = account(chaos, client)
    report("everything", chaos, count)
    assert count["REST fine"] + count["gRPC fine"] > 0.7 * client.sent
    # A failing row must have been tried for what it allows to mean anything.
    assert {h.what for h in chaos.happened} >= {
        "the server process is killed",
        "a version is published, unload_first",
        "a version that cannot be loaded is published",
        "a version beyond the memory budget is published",
        "a version whose worker dies while it loads is published",
    }
