"""Workers as the server sees them: real processes, their lanes, and their ends."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any, cast

import numpy as np
import psutil
import pytest

from tests.models import BIG_WEIGHTS_BYTES
from tests.servers import WAIT_SECONDS, Server, descriptors, floats, freeze
from workbench.core.status import Code, ServingError, unavailable
from workbench.ipc.frames import Tensors, frame
from workbench.ipc.low_priority import NICENESS
from workbench.processes.lifetime import ProcessId
from workbench.server.engine.workers.worker_handle import (
    WORKER_LOST,
    Lane,
    LoadOrder,
    LoadReport,
    StageReport,
    Worker,
)
from workbench.server.engine.workers.zygote_handle import Zygote

KILLED = "killed by SIGKILL (by a user, or by the system because memory ran out)"
MEBIBYTE = 1024 * 1024


def order(path: Path, quiet: bool) -> LoadOrder:
    return LoadOrder(path=str(path), tags=("serve",), intra_op_threads=1, quiet=quiet)


async def load(worker: Worker, path: Path, quiet: bool = False) -> LoadReport:
    return await asyncio.wait_for(
        worker.load(
            order(path, quiet), lambda kind, data: None, warm_up=False, warm_up_iterations=0
        ),
        WAIT_SECONDS,
    )


@asynccontextmanager
async def loaded(server: Server, path: Path, lanes: int = 1) -> AsyncIterator[Worker]:
    """A worker of its own, beside whatever the server does, stopped at the end."""
    worker = await Worker.spawn(server.core.zygote)
    try:
        await load(worker, path)
        await worker.open_lanes(lanes)
        yield worker
    finally:
        await worker.stop()


def send(
    lane: Lane, signature: str = "serving_default", **inputs: np.ndarray
) -> asyncio.Future[Tensors]:
    """Run one batch; its outputs, copied, or the error."""
    future: asyncio.Future[Tensors] = asyncio.get_running_loop().create_future()

    def answer(result: Tensors | ServingError, micros: int) -> None:
        if isinstance(result, ServingError):
            assert micros == 0
            future.set_exception(result)
        else:
            assert micros >= 0
            future.set_result({name: array.copy() for name, array in result.items()})

    lane.run(signature, {name: [array] for name, array in inputs.items()}, (), answer)
    return future


async def ask(lane: Lane, signature: str = "serving_default", **inputs: np.ndarray) -> Tensors:
    return await asyncio.wait_for(send(lane, signature, **inputs), WAIT_SECONDS)


def strings(*values: bytes) -> np.ndarray:
    array = np.empty(len(values), object)
    array[:] = values
    return array


def endless() -> dict[str, np.ndarray]:
    return {"x": floats(1), "steps": np.array([2**31 - 1], np.int32)}


def test_tells_what_it_has_loaded(server: Server, models: Path) -> None:
    async def test() -> None:
        worker = await Worker.spawn(server.core.zygote)
        report = await load(worker, models / "digits")
        assert {n: str(s) for n, s in report.signatures.items() if not n.startswith("_")} == {
            "serving_default": "(images: float[?, 64]) -> (classes: int64[?], "
            "probabilities: float[?, 10])"
        }
        assert sorted(report.metadata) == ["signature_def"]
        assert sorted(report.seconds) == ["facts", "graph", "init", "restore", "warmup"]
        await worker.stop()
        assert await worker.ended == "exit code 0"

    server.run(test())


async def stage(worker: Worker, path: Path, quiet: bool = False) -> StageReport:
    staging = worker.stage(order(path, quiet), lambda kind, data: None)
    return await asyncio.wait_for(staging, WAIT_SECONDS)


def file_bytes(folder: Path) -> int:
    return sum(file.stat().st_size for file in folder.rglob("*") if file.is_file())


@pytest.mark.parametrize("quiet", [False, True])
def test_a_load_in_two_halves(server: Server, models: Path, quiet: bool) -> None:
    """First all but the weights, with the lanes; then the weights, and it answers."""

    async def test() -> None:
        worker = await Worker.spawn(server.core.zygote)
        path = models / "lookup"
        report = await stage(worker, path, quiet)
        files = file_bytes(path / "variables") + file_bytes(path / "assets")
        assert report == StageReport(report.seconds, files, files, None)
        assert sorted(report.seconds) == ["facts", "graph"]
        await worker.open_lanes(1)
        loaded = await load(worker, path, quiet)
        assert sorted(loaded.seconds) == ["facts", "graph", "init", "restore", "warmup"]
        assert loaded.seconds["graph"] == report.seconds["graph"]
        # Its table is filled from an asset when it is initialised.
        answer = await ask(worker.lanes[0], words=strings(b"version", b"serving", b"other"))
        assert answer["ids"].tolist() == [2, 0, -1]
        await worker.stop()
        assert await worker.ended == "exit code 0"

    server.run(test())


def test_a_staged_worker_has_no_weights_and_gives_them_no_memory(
    server: Server, models: Path
) -> None:
    async def test() -> None:
        worker = await Worker.spawn(server.core.zygote)
        report = await stage(worker, models / "big")
        assert report.read_bytes >= BIG_WEIGHTS_BYTES
        before = psutil.Process(worker.pid).memory_full_info().uss
        await load(worker, models / "big")
        grown = psutil.Process(worker.pid).memory_full_info().uss - before
        assert grown > 0.9 * BIG_WEIGHTS_BYTES
        await worker.stop()

    server.run(test())


def test_what_cannot_be_staged_says_why(server: Server, models: Path) -> None:
    async def test() -> None:
        worker = await Worker.spawn(server.core.zygote)
        with pytest.raises(ServingError) as raised:
            await stage(worker, models / "bad_graph")
        assert raised.value.code is Code.NOT_FOUND
        assert "NoSuchOperation" in raised.value.message
        await worker.stop()

    server.run(test())


def test_weights_that_cannot_be_restored_say_so_after_staging(server: Server, models: Path) -> None:
    async def test() -> None:
        worker = await Worker.spawn(server.core.zygote)
        await stage(worker, models / "corrupt")
        with pytest.raises(ServingError) as raised:
            await load(worker, models / "corrupt", quiet=True)
        assert raised.value.code is Code.DATA_LOSS
        await worker.stop()

    server.run(test())


def test_one_that_is_staged_is_ended_at_once(server: Server, models: Path) -> None:
    async def test() -> None:
        worker = await Worker.spawn(server.core.zygote)
        await stage(worker, models / "half_plus_two")
        await worker.stop(grace_seconds=3600.0)
        assert await worker.ended == KILLED
        with pytest.raises(ServingError) as raised:
            await load(worker, models / "half_plus_two")
        assert raised.value == unavailable(
            f"The worker process died while it loaded the model: {KILLED}"
        )

    server.run(test())


def test_a_death_while_staging_is_its_error(server: Server, models: Path) -> None:
    async def test() -> None:
        worker = await Worker.spawn(server.core.zygote)
        freeze(worker.pid)
        staging = asyncio.ensure_future(stage(worker, models / "half_plus_two"))
        await asyncio.sleep(0)
        os.kill(worker.pid, signal.SIGKILL)
        with pytest.raises(ServingError) as raised:
            await staging
        assert raised.value == unavailable(
            f"The worker process died while it loaded the model: {KILLED}"
        )

    server.run(test())


def niceness(pid: int) -> list[int]:
    """That of each of a process's threads."""
    found = []
    for task in Path(f"/proc/{pid}/task").iterdir():
        with suppress(ProcessLookupError):  # it has ended between being listed and being looked at
            found.append(os.getpriority(os.PRIO_PROCESS, int(task.name)))
    return found


def test_a_quiet_load_leaves_no_thread_of_low_priority(server: Server, models: Path) -> None:
    """It is in threads of low priority that it loads; what serves later is as any other."""

    async def test() -> None:
        worker = await Worker.spawn(server.core.zygote)
        seen: set[int] = set()
        loading = asyncio.ensure_future(load(worker, models / "big", quiet=True))
        while not loading.done():
            seen.update(niceness(worker.pid))
            await asyncio.sleep(0.001)
        await loading
        own = os.getpriority(os.PRIO_PROCESS, 0)
        low = max(own, NICENESS)
        assert seen == {own, low}
        # The system's own thread ends a moment after Python's.
        await server.until(
            lambda: set(niceness(worker.pid)) == {own}, "no thread is of low priority"
        )
        await worker.open_lanes(2)
        for lane in worker.lanes:
            assert (await ask(lane, x=floats(2)))["y"].tolist() == [2.0]
        # Each lane has one, for what is large or asked in private.
        assert set(niceness(worker.pid)) == {own, low}
        assert niceness(worker.pid).count(low) == 2
        await worker.stop()

    server.run(test())


def test_lanes_carry_tensors_of_every_size(server: Server, models: Path) -> None:
    async def test() -> None:
        async with loaded(server, models / "half_plus_two") as worker:
            (lane,) = worker.lanes
            rng = np.random.default_rng(3)
            # Inline, then growing regions beyond 64 MiB, then small again.
            for size in (0, 1, 4096, 4097, 1_000_000, 20_000_000, 3):
                x = rng.random(size, np.float32)
                answer = await ask(lane, x=x)
                assert np.array_equal(answer["y"], x * np.float32(0.5) + 2)

    server.run(test())


def test_lanes_carry_strings_of_every_size(server: Server, models: Path) -> None:
    async def test() -> None:
        async with loaded(server, models / "text") as worker:
            (lane,) = worker.lanes
            x = strings(b"", b"a" * (32 * MEBIBYTE), b"\0b", b"c" * 70_000)
            answer = await ask(lane, x=x)
            assert answer["upper"].tolist() == [value.upper() for value in x]
            assert answer["length"].tolist() == [len(value) for value in x]

    server.run(test())


def test_parts_are_joined_on_their_way(server: Server, models: Path) -> None:
    async def test() -> None:
        async with loaded(server, models / "multi") as worker:
            (lane,) = worker.lanes
            future: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
            parts = {
                "a": [np.ones((n, 2), np.float32) * n for n in (1, 3000)],
                "b": [np.arange(n, dtype=np.int32) for n in (1, 3000)],
            }
            lane.run(
                "serving_default",
                parts,
                ("sum",),
                lambda result, micros: future.set_result(
                    {n: a.copy() for n, a in result.items()}  # type: ignore[union-attr]
                ),
            )
            answer = await asyncio.wait_for(future, WAIT_SECONDS)
            joined = {name: np.concatenate(arrays) for name, arrays in parts.items()}
            assert list(answer) == ["sum"]
            assert np.array_equal(answer["sum"], joined["a"] + joined["b"][:, None])

    server.run(test())


def test_a_model_never_keeps_shared_memory(server: Server, models: Path) -> None:
    async def test() -> None:
        async with loaded(server, models / "keeper") as worker:
            (lane,) = worker.lanes
            kept = np.arange(100_000, dtype=np.float32)
            assert (await ask(lane, "keep", x=kept))["size"].tolist() == [100_000]
            # The next batch is written where the kept one was.
            lane._inputs.view(0, kept.nbytes)[:] = b"\xff" * kept.nbytes
            assert np.array_equal((await ask(lane, "recall"))["y"], kept)

    server.run(test())


def test_a_lane_runs_one_batch_and_lanes_run_at_once(server: Server, models: Path) -> None:
    async def test() -> None:
        async with loaded(server, models / "slow", lanes=2) as worker:
            busy, free = worker.lanes
            assert worker.free_lane() is busy
            lost = send(busy, **endless())
            assert worker.free_lane() is free
            assert not busy.open_for_use
            answer = await ask(free, x=floats(5), steps=np.array([2], np.int32))
            assert answer["y"].tolist() == [5.0]
            send(free, **endless()).add_done_callback(lambda future: future.exception())
            assert worker.free_lane() is None
            await worker.stop()
            with pytest.raises(ServingError) as raised:
                await lost
            assert raised.value is WORKER_LOST

    server.run(test())


def test_memory_of_large_batches_is_given_back(server: Server, models: Path) -> None:
    async def test() -> None:
        async with loaded(server, models / "half_plus_two") as worker:
            (lane,) = worker.lanes
            regions = (lane._inputs, lane._outputs)

            def held() -> list[bool]:
                return [os.fstat(region.fd).st_blocks > 0 for region in regions]

            await ask(lane, x=np.ones(3 * MEBIBYTE // 4, np.float32))
            lane.release_if_idle(0.0)
            assert held() == [True, True]  # small enough to be kept
            await ask(lane, x=np.ones(8 * MEBIBYTE // 4, np.float32))
            lane.release_if_idle(3600.0)
            assert held() == [True, True]  # used a moment ago
            lane.release_if_idle(0.0)
            assert held() == [False, False]
            assert (await ask(lane, x=np.ones(2 * MEBIBYTE, np.float32)))["y"][-1] == 2.5

    server.run(test())


def test_no_memory_for_a_batch_is_the_batchs_error(
    server: Server, models: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def test() -> None:
        async with loaded(server, models / "half_plus_two") as worker:
            (lane,) = worker.lanes

            def refuse(parts: Any, region: Any) -> Any:
                raise MemoryError("no more pages")

            with monkeypatch.context() as patch:
                patch.setattr("workbench.server.engine.workers.worker_handle.lay_out", refuse)
                with pytest.raises(ServingError) as raised:
                    await ask(lane, x=floats(1))
            assert raised.value == ServingError(
                Code.RESOURCE_EXHAUSTED, "No memory for the tensors of a batch: no more pages"
            )
            assert (await ask(lane, x=floats(2)))["y"].tolist() == [3.0]

    server.run(test())


def test_a_large_batch_that_cannot_be_copied_is_its_own_error(
    server: Server, models: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def test() -> None:
        async with loaded(server, models / "half_plus_two") as worker:
            (lane,) = worker.lanes

            def refuse(copies: Any) -> None:
                raise ValueError("the pages are gone")

            with monkeypatch.context() as patch:
                patch.setattr("workbench.ipc.frames.Copies.run", refuse)
                with pytest.raises(ServingError) as raised:
                    await ask(lane, x=np.ones(2 * MEBIBYTE, np.float32))
            assert raised.value == ServingError(
                Code.INTERNAL, "A batch could not be laid out: the pages are gone"
            )
            assert (await ask(lane, x=floats(2)))["y"].tolist() == [3.0]

    server.run(test())


def test_a_death_while_a_large_batch_is_copied_is_told_once(server: Server, models: Path) -> None:
    async def test() -> None:
        async with loaded(server, models / "half_plus_two") as worker:
            (lane,) = worker.lanes
            asked = send(lane, x=np.ones(16 * MEBIBYTE, np.float32))
            worker.kill()
            with pytest.raises(ServingError) as raised:
                await asked
            assert raised.value == WORKER_LOST

    server.run(test())


def test_a_damaged_answer_is_an_error_and_an_unasked_one_is_nothing(
    server: Server, models: Path
) -> None:
    async def test() -> None:
        async with loaded(server, models / "slow") as worker:
            (lane,) = worker.lanes
            lane.data_received(frame({"t": [], "us": 1}))
            damaged = send(lane, **endless())
            lane.data_received(frame({"t": [["y", "float", [1], 0, 2**40]], "us": 1}))
            with pytest.raises(ServingError) as raised:
                await damaged
            assert raised.value.code is Code.INTERNAL
            assert raised.value.message.startswith(
                "The worker's answer is damaged: shared region of "
            )

    server.run(test())


def test_a_failed_load_says_why_and_the_worker_can_be_stopped(
    server: Server, tmp_path: Path
) -> None:
    async def test() -> None:
        worker = await Worker.spawn(server.core.zygote)
        with pytest.raises(ServingError) as raised:
            await load(worker, tmp_path)
        assert raised.value.code is Code.NOT_FOUND
        await worker.stop()
        assert await worker.ended == "exit code 0"

    server.run(test())


def kill_by_signal(worker: Worker) -> None:
    os.kill(worker.pid, signal.SIGKILL)


def lose_a_lane(worker: Worker) -> None:
    worker.lanes[0].close()


@pytest.mark.parametrize("kill", [kill_by_signal, Worker.kill, lose_a_lane])
def test_a_death_ends_what_ran(
    server: Server, models: Path, kill: Callable[[Worker], None]
) -> None:
    async def test() -> None:
        async with loaded(server, models / "slow", lanes=2) as worker:
            lost = [send(lane, **endless()) for lane in worker.lanes]
            kill(worker)
            results = await asyncio.wait_for(
                asyncio.gather(*lost, return_exceptions=True), WAIT_SECONDS
            )
            assert results == [WORKER_LOST, WORKER_LOST]
            assert await asyncio.wait_for(asyncio.shield(worker.ended), WAIT_SECONDS) == KILLED
            assert worker.free_lane() is None
            worker.kill()  # gone already: nothing happens

    server.run(test())


def test_a_death_while_loading_is_the_loads_error(server: Server, models: Path) -> None:
    async def test() -> None:
        worker = await Worker.spawn(server.core.zygote)
        freeze(worker.pid)
        loading = asyncio.ensure_future(load(worker, models / "half_plus_two"))
        await asyncio.sleep(0)
        os.kill(worker.pid, signal.SIGKILL)
        with pytest.raises(ServingError) as raised:
            await loading
        assert raised.value == unavailable(
            f"The worker process died while it loaded the model: {KILLED}"
        )

    server.run(test())


def test_one_that_loads_is_killed_and_one_that_hangs_too(server: Server, models: Path) -> None:
    async def test() -> None:
        unloaded = await Worker.spawn(server.core.zygote)
        await unloaded.stop(grace_seconds=3600.0)
        assert await unloaded.ended == KILLED
        hanging = await Worker.spawn(server.core.zygote)
        await load(hanging, models / "text")
        freeze(hanging.pid)
        await hanging.stop(grace_seconds=0.0)
        assert await hanging.ended == KILLED

    server.run(test())


def test_stopping_may_be_cut_short(server: Server, models: Path) -> None:
    async def test() -> None:
        worker = await Worker.spawn(server.core.zygote)
        await load(worker, models / "text")
        freeze(worker.pid)
        stopping = asyncio.ensure_future(worker.stop(grace_seconds=3600.0))
        await asyncio.sleep(0)
        stopping.cancel()
        with pytest.raises(asyncio.CancelledError):
            await stopping
        assert await asyncio.wait_for(asyncio.shield(worker.ended), WAIT_SECONDS) == KILLED

    server.run(test())


class WithoutPidfds:
    """The zygote as it is where the system has no pidfds."""

    def __init__(self, zygote: Zygote) -> None:
        self._zygote = zygote
        self.exit_status = zygote.exit_status

    async def fork(self, control_fd: int) -> tuple[int, None]:
        pid, pidfd = await self._zygote.fork(control_fd)
        assert pidfd is not None
        os.close(pidfd)
        return pid, None


def test_without_pidfds_a_worker_is_judged_by_its_socket(server: Server, models: Path) -> None:
    async def test() -> None:
        worker = await Worker.spawn(cast(Zygote, WithoutPidfds(server.core.zygote)))
        await load(worker, models / "half_plus_two")
        await worker.open_lanes(1)
        assert (await ask(worker.lanes[0], x=floats(2)))["y"].tolist() == [3.0]
        worker.kill()
        assert await asyncio.wait_for(worker.ended, WAIT_SECONDS) == KILLED

    server.run(test())


def test_nothing_is_left_of_a_worker(server: Server, models: Path) -> None:
    async def test() -> None:
        before = descriptors()
        async with loaded(server, models / "half_plus_two", lanes=3) as worker:
            await ask(worker.lanes[0], x=np.ones(100_000, np.float32))
            # A pidfd; a control channel and a socket for each lane; two regions for each lane, of
            # which those of the first are mapped, and a mapping holds a descriptor of its own.
            assert descriptors() - before == {"anon_inode": 1, "socket": 4, "region": 8}
        # The lanes' transports close in the loop's next turns.
        await server.until(lambda: descriptors() == before, "all descriptors are closed")
        assert ProcessId.of(worker.pid) is None

    server.run(test())
