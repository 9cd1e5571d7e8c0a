"""The serving core as a whole: its process tree, its memory, and what is left when it stops."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import psutil
import pytest

from tests.models import BIG_WEIGHTS_BYTES
from tests.servers import WAIT_SECONDS, Server, descriptors, floats
from workbench.core.batching.parameters import BatchingParameters
from workbench.core.status import ServingError, unavailable
from workbench.processes.lifetime import ProcessId
from workbench.processes.limits import schedulable_cpus
from workbench.server.engine.engine import ServerCore
from workbench.server.engine.memory.memory_ledger import Sample
from workbench.server.engine.memory.memory_reading import read_exact

MEBIBYTE = 1024 * 1024


@pytest.fixture(scope="module")
def own(models: Path) -> Iterator[Server]:
    """A server of its own, which the tests below use one after the other and stop at last."""
    server = Server(models, poll_seconds=0.05)
    with server:
        yield server


def by_process(samples: list[Sample]) -> dict[int, Sample]:
    return {sample.process.pid: sample for sample in samples}


def anonymous(pid: int) -> int:
    """A process's share of memory that is no file's, in bytes; 0 where it is gone."""
    try:
        with open(f"/proc/{pid}/smaps_rollup") as file:
            rows = [line.split() for line in file]
    except OSError:
        return 0
    return sum(int(row[1]) * 1024 for row in rows if row[0] in ("Pss_Anon:", "Pss_Shmem:"))


def test_polls_by_itself(own: Server, tmp_path: Path) -> None:
    async def test() -> None:
        await own.serve(tmp_path / "m", "half_plus_two")
        own.put(tmp_path / "m", 2, "half_plus_three")
        # Not told of it: the folder is found, watched until it rests, and loaded.
        await own.available("m", 2)
        own.unput(tmp_path / "m", 2)
        await own.until(lambda: own.core.manager.find("m").id.version == 1, "it is rolled back")

    own.run(test())
    own.clear()


def test_knows_its_process_tree_and_what_each_process_takes(own: Server, tmp_path: Path) -> None:
    async def serve() -> None:
        await own.serve(tmp_path / "m", "big")
        await own.serve(tmp_path / "n", "text", name="n")
        await own.predict("m", {"x": floats(1)})

    own.run(serve())
    own.core.extra_processes.update({"codec": None, "launcher": os.getppid()})
    tree = [child.pid for child in psutil.Process().children(recursive=True)]
    before = [read_exact(pid) for pid in tree]
    samples = by_process(own.core.ledger.measure())
    after = [read_exact(pid) for pid in tree]
    roles = {
        (s.process.role, s.process.model, s.process.version): pid for pid, s in samples.items()
    }
    assert set(roles) == {
        ("server", None, None),
        ("zygote", None, None),
        ("launcher", None, None),
        ("worker", "m", 1),
        ("worker", "n", 1),
    }
    own.core.extra_processes.clear()
    # The operating system's tree holds the same processes ...
    zygote = psutil.Process(roles["zygote", None, None])
    workers = {roles["worker", "m", 1], roles["worker", "n", 1]}
    assert zygote.ppid() == os.getpid()
    assert {child.pid for child in zygote.children(recursive=True)} == workers
    # ... and says of them in sum what the ledger does, read just before and just after.
    pids = [zygote.pid, *workers]
    for index, field in enumerate(("pss", "uss")):
        ledger = sum(getattr(samples[pid], field) for pid in pids)
        direct = [
            sum(read[index] for pid, read in zip(tree, reads, strict=True) if read and pid in pids)
            for reads in (before, after)
        ]
        assert 0.98 * min(direct) <= ledger <= 1.02 * max(direct)
    big = samples[roles["worker", "m", 1]]
    small = samples[roles["worker", "n", 1]]
    assert big.uss - small.uss == pytest.approx(BIG_WEIGHTS_BYTES, rel=0.1)
    own.clear()


def test_the_memory_of_an_unloaded_version_comes_back(own: Server, tmp_path: Path) -> None:
    def taken() -> int:
        """What zygote and workers take beyond files, which other programs on the machine share."""
        zygote = psutil.Process(own.core.zygote.pid)
        return sum(anonymous(each.pid) for each in (zygote, *zygote.children(recursive=True)))

    async def serve() -> None:
        await own.serve(tmp_path / "m", "big")
        await own.predict("m", {"x": np.ones(MEBIBYTE, np.float32)})

    # The first fork has to wait until the zygote has imported all.
    own.run(own.serve(tmp_path / "small", "half_plus_two"))
    own.clear()
    before = taken()
    own.run(serve())
    assert taken() - before > BIG_WEIGHTS_BYTES
    own.clear()
    assert taken() - before < 0.05 * BIG_WEIGHTS_BYTES


def test_transitions_are_sampled_finely(own: Server, tmp_path: Path) -> None:
    async def test() -> None:
        first = own.core.events.last_seq
        _, served = await own.serve(tmp_path / "m", "big")
        assert served.worker is not None
        pid = served.worker.pid
        await own.until(
            lambda: any(s.process.pid == pid and not s.measured for s in own.core.ledger.history()),
            "the load was sampled between the exact readings",
        )
        started = own.events(first)[0].monotonic
        assert all(s.monotonic > started for s in own.core.ledger.history(started))

    own.run(test())
    own.clear()


def test_nothing_is_left_when_it_stops(models: Path, tmp_path: Path) -> None:
    before = descriptors()
    server = Server(models)
    pids: list[ProcessId | None] = []

    async def test() -> None:
        _, slow = await server.serve(tmp_path / "m", "slow")
        hour = BatchingParameters(batch_timeout_micros=3600 * 1_000_000)
        await server.serve(tmp_path / "n", "half_plus_two", name="n", batching=hour)
        core = server.core
        pids.extend(ProcessId.of(p.pid) for p in core.processes() if p.role != "server")
        # One request runs for a while, one waits for company that never comes: both are answered.
        steps = np.array([400], np.int32)
        running = server.submit("m", {"x": floats(1), "steps": steps})[1]
        waiting = server.submit("n", {"x": floats(2)})[1]
        worker = slow.worker
        assert worker is not None
        await server.until(
            lambda: running.done() or worker.free_lane() is not worker.lanes[0], "it runs"
        )
        # One never ends, and one model is just being loaded.
        endless = {"x": floats(1), "steps": np.array([2**31 - 1], np.int32)}
        hopeless = server.submit("m", endless)[1]
        server.put(tmp_path / "o", 1, "big")
        server.set_model("o", tmp_path / "o")
        await server.until(
            lambda: any(s.worker for s in core.manager.models["o"].versions.values()),
            "a worker is loading",
        )
        pids.extend(ProcessId.of(p.pid) for p in core.processes() if p.model == "o")
        stopping = asyncio.ensure_future(core.stop(drain_seconds=2.0))
        answers = await asyncio.wait_for(
            asyncio.gather(running, waiting, hopeless, return_exceptions=True), WAIT_SECONDS
        )
        assert answers[0]["y"].tolist() == [1.0]
        assert answers[1]["y"].tolist() == [3.0]
        assert answers[2] == unavailable("The version ended before it answered (2.0 s)")
        await stopping
        with pytest.raises(ServingError, match="The version is being unloaded"):
            server.submit("n", {"x": floats(2)})

    with server:
        server.run(test())
    assert len(pids) == 4
    assert [pid for pid in pids if pid is not None and pid.alive()] == []
    assert descriptors() == before


def test_slots_are_as_many_as_cpus_unless_told() -> None:
    async def slots() -> int:
        core = ServerCore()
        count = core.scheduler.slots
        core.scheduler.close()
        return count

    assert asyncio.run(slots()) == schedulable_cpus() == len(os.sched_getaffinity(0))
