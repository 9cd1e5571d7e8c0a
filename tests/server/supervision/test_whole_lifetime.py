"""The lifetime rule, by killing each process in turn.

With its owner alive a server comes back, with the same models on the same port. With its owner
or its supervisor dead everything is gone, also where a worker is inside a long run. In the end
nothing is left: no process, no file, no shared memory, no entry in the registry.
"""

from __future__ import annotations

import http.client
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
import uuid
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, nullcontext
from pathlib import Path
from typing import Any

import pytest

import workbench as wb
from workbench.core.status import ServingError
from workbench.processes import registry
from workbench.processes.launcher import SubprocessLauncher, reap_supervisors
from workbench.processes.lifetime import ProcessId

MARK = "WORKBENCH_LIFETIME_TEST"
GONE_SECONDS = 5.0
RETURN_SECONDS = 10.0
# Some minutes of work, which nothing but the end of its process can interrupt.
ENDLESS = 1_000_000

OWNER = """
import sys, time
import workbench as wb
server = wb.serve(sys.argv[1], "life", detach=sys.argv[2] == "detached")
print("ready", flush=True)
sys.stdin.read()
"""


class House:
    """A server named `life` and everything that belongs to it, found by a mark in each process's
    environment; its files are all below two folders of its own."""

    def __init__(self, folder: Path, models: Path) -> None:
        self.mark = uuid.uuid4().hex
        self.models = models
        self.runtime = folder / "r"
        self.temporary = folder / "t"
        self.base = folder / "slow"
        for each in (self.runtime, self.temporary, self.base):
            each.mkdir()
        self._shared_memory = set(os.listdir("/dev/shm"))
        self.environment = {
            MARK: self.mark,
            "JUPYTER_RUNTIME_DIR": str(self.runtime),
            "TMPDIR": str(self.temporary),
        }
        self.server = wb.Server("life", "life")
        self.start_seconds = 0.0

    def serve(self, **settings: Any) -> None:
        """Start the server as this process's own."""
        started = time.monotonic()
        self.server = wb.serve(self.models / "half_plus_two", "life", **settings)
        self.start_seconds = time.monotonic() - started

    @contextmanager
    def owner(self, kind: str = "owned") -> Iterator[subprocess.Popen[str]]:
        """Start the server in a script, which then waits."""
        with subprocess.Popen(
            [sys.executable, "-c", OWNER, str(self.models / "half_plus_two"), kind],
            env={**os.environ, **self.environment},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        ) as script:
            try:
                assert script.stdout is not None
                assert script.stdout.readline() == "ready\n"
                yield script
            finally:
                script.kill()

    @property
    def entry(self) -> registry.Entry:
        return registry.find("life")

    def pid(self, role: str, model: str | None = None) -> int:
        """The process of that role now."""
        for sample in self.server.control.memory():
            if sample["role"] == role and sample["model"] == model:
                return int(sample["pid"])
        raise AssertionError(f"there is no {role} of {model}")

    def workers(self) -> set[int]:
        samples = self.server.control.memory()
        return {s["pid"] for s in samples if s["role"] == "worker"}

    def descriptors(self) -> Counter[str]:
        """What the server process holds open of workers: shared regions, sockets, pidfds; and of
        callers, sockets."""
        folder = f"/proc/{self.entry.server.pid}/fd"
        found: Counter[str] = Counter()
        for fd in os.listdir(folder):
            try:
                target = os.readlink(f"{folder}/{fd}")
            except OSError:
                continue
            kind = re.match(r"/memfd:|socket:|anon_inode:\[pidfd\]", target)
            if kind is not None:
                found[kind[0]] += 1
        return found

    def check_descriptors(self, before: Counter[str]) -> None:
        """A process that was replaced has left nothing in the server process."""
        until(
            lambda: self.descriptors() <= before,
            f"descriptors drop to {before}, from {self.descriptors()}",
            10,
        )

    def settings(self) -> tuple[Any, ...]:
        """What somebody has set, and a restart must not change."""
        server = self.server
        slots = server.status()["num_batch_threads"]
        return server.transition, server.labels, server.batching, server.version_policy, slots

    def answers(self) -> bool:
        try:
            return self.server.predict([1.0]).tolist() == [2.5]  # type: ignore[union-attr]
        except ServingError:
            return False

    def add_slow(self) -> wb.Server:
        """A second model, whose runs take as many steps as they are told to."""
        shutil.copytree(self.models / "slow", self.base / "1")
        slow = wb.Server("life", "slow")
        self.server.control.put_model("slow", {"base_path": str(self.base)})
        self.server.control.poll("slow", [1])
        slow.wait_for(1)
        return slow

    @contextmanager
    def asking_slow(self, steps: int) -> Iterator[list[Any]]:
        """A request inside a run of the slow model; its answer is there at the end."""
        answers: list[Any] = []

        def ask() -> None:
            slow = wb.Server("life", "slow")
            answers.append(slow.predict({"x": [7.0], "steps": [steps]}).tolist())  # type: ignore[union-attr]

        caller = threading.Thread(target=ask)
        caller.start()
        until(lambda: self.outstanding() == 1, "the request is accepted", 30)
        yield answers
        caller.join(60)

    def outstanding(self) -> int:
        return int(self.server.control.describe_server()["outstanding"])

    def keep_busy(self, cleanup: ExitStack) -> None:
        """A worker inside a run that will not end; the caller waits for its answer."""
        self.add_slow()
        entry = self.entry
        body = json.dumps({"inputs": {"x": [1.0], "steps": [ENDLESS]}}).encode()
        sock = cleanup.enter_context(socket.create_connection((entry.host, entry.port), 30))
        sock.sendall(
            f"POST /v1/models/slow:predict HTTP/1.1\r\nHost: localhost\r\n"
            f"Authorization: Bearer {entry.token}\r\nContent-Length: {len(body)}\r\n\r\n".encode()
            + body
        )
        until(lambda: self.outstanding() == 1, "the request is accepted", 30)
        ticks = self._cpu_ticks(self.pid("worker", "slow"))
        until(
            lambda: self._cpu_ticks(self.pid("worker", "slow")) > ticks + 2, "the worker works", 30
        )

    def _cpu_ticks(self, pid: int) -> int:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        return int(fields[11])

    # What is left.

    def processes(self) -> dict[int, str]:
        """All living processes with our mark, with their command lines."""
        found = {}
        mark = f"{MARK}={self.mark}".encode()
        for pid in filter(str.isdigit, os.listdir("/proc")):
            try:
                if mark in Path(f"/proc/{pid}/environ").read_bytes().split(b"\0"):
                    line = Path(f"/proc/{pid}/cmdline").read_bytes()
                    found[int(pid)] = line.replace(b"\0", b" ").decode().strip()
            except OSError:
                continue
        return found

    def remains(self) -> dict[str, Any]:
        """Everything that is still there, by kind; empty where nothing is."""
        kinds = {
            "processes": self.processes(),
            "runtime files": sorted(os.listdir(self.runtime)),
            "temporary files": sorted(os.listdir(self.temporary)),
            "shared memory": sorted(set(os.listdir("/dev/shm")) - self._shared_memory),
        }
        return {kind: what for kind, what in kinds.items() if what}

    def check_nothing_is_left(self, seconds: float = GONE_SECONDS) -> None:
        end = time.monotonic() + seconds
        while self.remains() and time.monotonic() < end:
            time.sleep(0.05)
        assert self.remains() == {}

    def clear(self) -> None:
        """End what a failed test has left."""
        for pid in self.processes():
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                pass
        reap_supervisors()


# The busy ones are the harder half; the others wait for `make test-full`.
idle_and_busy = pytest.mark.parametrize(
    "busy", [pytest.param(False, marks=pytest.mark.slow, id="idle"), pytest.param(True, id="busy")]
)


def until(holds: Callable[[], bool], what: str, seconds: float) -> None:
    end = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < end, f"waited {seconds:.0f} s in vain until {what}"
        time.sleep(0.02)


def kill(pid: int) -> None:
    os.kill(pid, signal.SIGKILL)


@contextmanager
def a_house(folder: Path, models: Path) -> Iterator[House]:
    house = House(folder, models)
    with pytest.MonkeyPatch.context() as patch:
        for name, value in house.environment.items():
            patch.setenv(name, value)
        try:
            yield house
        finally:
            house.clear()


@pytest.fixture
def house(tmp_path: Path, models: Path) -> Iterator[House]:
    with a_house(tmp_path, models) as house:
        yield house


@pytest.fixture(scope="module")
def standing(tmp_path_factory: pytest.TempPathFactory, models: Path) -> Iterator[House]:
    """One server for the deaths that leave the server process alive."""
    with a_house(tmp_path_factory.mktemp("standing"), models) as house:
        house.serve()
        house.add_slow()
        yield house
        house.server.stop()
        house.check_nothing_is_left()


# Deaths that the server process itself makes good.


def test_a_worker_is_replaced(standing: House) -> None:
    assert standing.answers()
    descriptors = standing.descriptors()
    assert descriptors["/memfd:"] > 0
    before = standing.pid("worker", "life")
    kill(before)
    # The request waits for the next worker, and is answered.
    assert standing.server.predict([1.0]).tolist() == [2.5]  # type: ignore[union-attr]
    assert standing.pid("worker", "life") != before
    assert before not in standing.processes()
    standing.check_descriptors(descriptors)


def test_a_worker_that_dies_inside_a_run_loses_no_request(standing: House) -> None:
    slow = wb.Server("life", "slow")
    assert slow.predict({"x": [7.0], "steps": [1]}).tolist() == [7.0]  # type: ignore[union-attr]
    descriptors = standing.descriptors()
    with standing.asking_slow(2000) as answers:
        before = standing.pid("worker", "slow")
        kill(before)
    assert answers == [[7.0]]
    assert standing.pid("worker", "slow") != before
    standing.check_descriptors(descriptors)


@idle_and_busy
def test_the_zygote_is_replaced_and_harms_no_version(standing: House, busy: bool) -> None:
    assert standing.answers()
    # The latest version only: the next one takes the place of this one.
    descriptors = standing.descriptors()
    version = standing.server.versions.available[0]
    with standing.asking_slow(10_000) if busy else nullcontext([[7.0]]) as answers:
        zygote, workers = standing.pid("zygote"), standing.workers()
        kill(zygote)
        assert standing.outstanding() == int(busy)
        assert standing.answers()
    # The run that was going on has gone on, in the same worker.
    assert answers == [[7.0]]
    assert standing.workers() == workers
    # The next load waits for the new one.
    assert standing.server.publish(standing.models / "half_plus_two") == version + 1
    assert standing.answers()
    assert standing.pid("zygote") != zygote
    assert zygote not in standing.processes()
    standing.check_descriptors(descriptors)


def test_the_codec_process_is_replaced(standing: House) -> None:
    entry = standing.entry
    numbers = [0.5] * 30_000
    body = json.dumps({"instances": numbers}).encode()

    def ask() -> int:
        connection = http.client.HTTPConnection(entry.host, entry.port, timeout=30)
        headers = {"Authorization": f"Bearer {entry.token}"}
        connection.request("POST", "/v1/models/life:predict", body, headers)
        response = connection.getresponse()
        data = response.read()
        connection.close()
        assert response.status != 200 or json.loads(data)["predictions"] == [2.25] * 30_000
        return response.status

    def codec() -> list[int]:
        return [p for p, line in standing.processes().items() if "codec_process" in line]

    assert ask() == 200
    (before,) = codec()
    kill(before)
    # The one that finds it dead may be refused; it is told to try again.
    assert ask() in (200, 503)
    assert ask() == 200
    (after,) = codec()
    assert after != before


# The server process dies: its supervisor brings it back.


@idle_and_busy
def test_the_server_process_comes_back(house: House, busy: bool) -> None:
    house.serve()
    with ExitStack() as cleanup:
        if busy:
            house.keep_busy(cleanup)
        else:
            house.add_slow()
        house.server.transition = "unload_first+hold"
        house.server.labels = {"stable": 1}
        house.server.batching = {"max_batch_size": 16, "num_batch_threads": 3}
        before, settings = house.entry, house.settings()
        workers = {house.pid("worker", "life"), house.pid("worker", "slow"), house.pid("zygote")}
        kill(before.server.pid)
        # Nobody is refused meanwhile: the port is kept. Its zygote imports TensorFlow first, which
        # on a machine that is busy takes as long as the first start did.
        seconds = max(RETURN_SECONDS, 2 * house.start_seconds)
        until(house.answers, "the server answers again", seconds)
        after = house.entry
        assert (after.server != before.server, after.supervisor) == (True, before.supervisor)
        assert (after.host, after.port, after.token) == (before.host, before.port, before.token)
        assert after.grpc_port == before.grpc_port is not None
        assert house.settings() == settings
        slow = wb.Server("life", "slow")
        slow.wait_for(1, timeout=seconds)
        assert slow.predict({"x": [1.0], "steps": [1]}).tolist() == [1.0]  # type: ignore[union-attr]
        assert workers & house.processes().keys() == set()
    house.server.stop()
    house.check_nothing_is_left()


class QuickLauncher(SubprocessLauncher):
    """A supervisor that does not pause before it tries again."""

    command = (
        sys.executable,
        "-c",
        "from workbench.server.supervision import supervisor, supervisor_process; "
        "supervisor._RESTART_PAUSES = (0.0, 0.01); "
        "supervisor_process.main()",
    )


@pytest.mark.slow
def test_a_server_process_that_cannot_start_is_waited_for(house: House) -> None:
    """Also after more attempts than anybody has patience for: what is wrong may go by."""
    house.serve(launcher=QuickLauncher())
    before = house.entry
    desired = Path(before.folder) / "desired.json"
    wanted = desired.read_bytes()
    desired.write_bytes(b"{")
    kill(before.server.pid)
    until(lambda: house.entry.trouble is not None, "the reason is known", 30)

    def failed() -> int:
        found = re.match(
            r"it has failed (\d+) times in a row, most recently: ", house.entry.trouble or ""
        )
        assert found is not None, house.entry.trouble
        return int(found[1])

    until(lambda: failed() > 5, "it has failed again and again", 60)
    with pytest.raises(ServingError) as caught:
        house.server.versions  # noqa: B018
    assert re.fullmatch(
        rf"Server 'life' \(pid {before.server.pid}\) does not answer: it has failed \d+ times in "
        r"a row, most recently: The server process did not start: .*JSONDecodeError.*\. "
        r"It is started "
        r"again every 0 s, and nothing is lost meanwhile",
        caught.value.message,
        re.DOTALL,
    ), caught.value.message
    # The models are there, and as soon as it can it goes on with them.
    assert (Path(before.folder) / "models" / "life" / "1" / "saved_model.pb").exists()
    desired.write_bytes(wanted)
    until(house.answers, "the server answers again", max(RETURN_SECONDS, 2 * house.start_seconds))
    assert (house.entry.port, house.entry.trouble) == (before.port, None)
    house.server.stop()
    house.check_nothing_is_left()


def test_a_server_that_cannot_start_can_be_stopped(house: House) -> None:
    house.serve()
    (Path(house.entry.folder) / "desired.json").write_bytes(b"{")
    kill(house.entry.server.pid)
    until(lambda: house.entry.trouble is not None, "the reason is known", 30)
    house.server.stop()
    house.check_nothing_is_left()
    assert not house.server.running


# The supervisor or the owner dies: everything goes.


@idle_and_busy
def test_nothing_outlives_the_supervisor(house: House, busy: bool) -> None:
    house.serve()
    with ExitStack() as cleanup:
        if busy:
            house.keep_busy(cleanup)
        kill(house.entry.supervisor.pid)
        house.check_nothing_is_left()
    reap_supervisors()
    assert not house.server.running


@idle_and_busy
def test_nothing_outlives_the_owner(house: House, busy: bool) -> None:
    with house.owner() as script, ExitStack() as cleanup:
        assert house.answers()
        assert house.entry.owner == ProcessId.of(script.pid)
        if busy:
            house.keep_busy(cleanup)
        script.kill()
        script.wait(10)
        house.check_nothing_is_left()


def test_an_owner_that_ends_in_peace_takes_its_server_along(house: House) -> None:
    with house.owner() as script:
        script.communicate(timeout=20)
        assert script.returncode == 0
    house.check_nothing_is_left()


def test_all_at_once(house: House) -> None:
    """Nobody is left to tidy up: the next who looks at the registry does, and notes it for others
    who want to know."""
    house.serve()
    entry = house.entry
    os.kill(entry.supervisor.pid, signal.SIGSTOP)
    kill(entry.server.pid)
    kill(entry.supervisor.pid)
    until(lambda: not house.processes(), "no process is left", GONE_SECONDS)
    assert registry.entries() == []
    reap_supervisors()
    assert [killed.entry.server for killed in registry.killed()] == [entry.server]
    registry.forget_killed(entry.name)
    house.check_nothing_is_left()


# Detached.


def test_a_detached_server_outlives_its_owner_until_it_is_stopped(house: House) -> None:
    with house.owner("detached") as script:
        script.kill()
        script.wait(10)
    assert house.entry.owner is None
    assert house.answers()
    wb.connect("life").stop()
    house.check_nothing_is_left()


def test_a_detached_server_ends_when_nobody_uses_it(house: House) -> None:
    house.serve(detach=True, idle_seconds=0.5)
    house.check_nothing_is_left(20.0)
    assert not house.server.running


def test_stopping_ends_a_run_that_would_not_end(house: House) -> None:
    house.serve()
    with ExitStack() as cleanup:
        house.keep_busy(cleanup)
        house.server.stop()
        house.check_nothing_is_left()
