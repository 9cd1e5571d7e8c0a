"""A real serving core for tests: its event loop runs in a thread of its own.

Tests are plain functions. What they do on the loop is a coroutine given to `Server.run`; every
wait has a limit, after which the test fails and says what it waited for.
"""

from __future__ import annotations

import asyncio
import os
import shutil
import signal
import threading
import time
from collections import Counter
from collections.abc import Callable, Coroutine, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import uvloop

from workbench.core.events import Event
from workbench.core.model_settings import ModelConfig
from workbench.core.status import ServingError
from workbench.ipc.frames import Tensors
from workbench.server.engine.batching.tasks import Task, now_micros
from workbench.server.engine.engine import CoreOptions, ServerCore
from workbench.server.engine.versions.model import Model, Served

T = TypeVar("T")

WAIT_SECONDS = 60.0
# Long enough for a slow machine, short enough for a test that must end.
_RUN_SECONDS = 110.0
# Folders are looked at when a test says so, not from time to time.
_POLL_SECONDS = 3600.0


class Server:
    """A `ServerCore` with two executor slots, and what tests do with it."""

    def __init__(self, models: Path, poll_seconds: float = _POLL_SECONDS, **options: Any) -> None:
        """`options`: more of the fields of `CoreOptions`."""
        self._models = models
        self._options = CoreOptions(num_batch_threads=2, poll_seconds=poll_seconds, **options)
        self._loop = uvloop.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="test-server")
        self._cleared = 0
        self.core: ServerCore

    def __enter__(self) -> Server:
        self._thread.start()
        try:
            self.run(self._begin())
        except BaseException:
            self._end()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        try:
            self.run(self.core.stop())
        finally:
            self._end()

    async def _begin(self) -> None:
        self.core = ServerCore(self._options)
        self.core.start()

    def _end(self) -> None:
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    def run(self, work: Coroutine[Any, Any, T], seconds: float = _RUN_SECONDS) -> T:
        """Run a coroutine on the server's loop and give its result."""

        async def bounded() -> T:
            return await asyncio.wait_for(work, seconds)

        return asyncio.run_coroutine_threadsafe(bounded(), self._loop).result()

    def clear(self) -> None:
        """Remove all models and wait until their workers are gone."""

        async def clear() -> None:
            for name, model in list(self.core.manager.models.items()):
                if not model.removed:
                    self.core.manager.remove_model(name)
            await self.until(lambda: not self.core.manager.models, "all models are gone")

        self.run(clear())
        # What a test has removed is not told to the next.
        self.core.manager._removed.clear()
        self._cleared = self.core.events.last_seq

    # Files.

    def put(self, base: Path, version: int, name: str) -> None:
        """Publish one of the test models as a version: copied beside, then renamed."""
        base.mkdir(exist_ok=True, parents=True)
        beside = base / f"{version}.tmp"
        shutil.copytree(self._models / name, beside)
        beside.rename(base / str(version))

    def unput(self, base: Path, version: int) -> None:
        """Take a version away: renamed, then deleted."""
        away = base / f"{version}.old"
        os.rename(base / str(version), away)
        shutil.rmtree(away)

    # The rest is to be called on the loop.

    async def until(
        self, holds: Callable[[], bool], what: str, seconds: float = WAIT_SECONDS
    ) -> None:
        """Wait until something holds; looked at whenever a version changes, and now and then."""
        end = self._loop.time() + seconds
        while not holds():
            assert self._loop.time() < end, f"waited {seconds:.0f} s in vain until {what}"
            try:
                await asyncio.wait_for(self.core.manager.changed.wait(), 0.05)
            except asyncio.TimeoutError:
                pass

    def set_model(self, name: str, base: Path, **settings: Any) -> Model:
        """Add or change a model; all versions in its folder count as complete."""
        settings.setdefault("load_retry_seconds", 0.0)
        manager = self.core.manager
        model = manager.set_model(ModelConfig(name, str(base), **settings))
        self.poll(name)
        return model

    def poll(self, name: str) -> None:
        """Look at the model's folder now; all versions in it count as complete."""
        base = Path(self.core.manager.models[name].config.base_path)
        versions = [int(p.name) for p in base.iterdir() if p.name.isdigit()]
        self.core.manager.poll_soon(name, versions)

    async def serve(
        self, base: Path, *exports: str, name: str = "m", **settings: Any
    ) -> tuple[Model, Served]:
        """Serve test models as versions 1, 2 ...; returns when the last is available."""
        for version, export in enumerate(exports, 1):
            self.put(base, version, export)
        model = self.set_model(name, base, **settings)
        return model, await self.available(name, len(exports))

    async def available(self, name: str, version: int) -> Served:
        """The version, when it serves."""

        def state() -> str:
            model = self.core.manager.models.get(name)
            served = None if model is None else model.versions.get(version)
            if served is not None and served.harness.error is not None:
                raise served.harness.error
            return "" if served is None else served.harness.state.value

        await self.until(lambda: state() == "ready", f"version {version} of {name} is ready")
        return self.core.manager.models[name].versions[version]

    def submit(
        self,
        name: str,
        inputs: Mapping[str, Any],
        signature: str = "serving_default",
        outputs: Sequence[str] = (),
        seconds: float = WAIT_SECONDS,
        version: int | None = None,
    ) -> tuple[Task, asyncio.Future[Tensors]]:
        """Send a request to the version that answers now: its task, and its answer's future."""
        served = self.core.manager.find(name, version)
        future: asyncio.Future[Tensors] = self._loop.create_future()

        def answer(result: Tensors | ServingError) -> None:
            if future.done():
                return
            if isinstance(result, ServingError):
                future.set_exception(result)
            else:
                future.set_result({key: array.copy() for key, array in result.items()})

        assert served.queues is not None
        arrays = {key: np.asarray(value) for key, value in inputs.items()}
        deadline = now_micros() + round(seconds * 1e6)
        task = Task(served.queues, signature, arrays, outputs, deadline, answer)
        self.core.scheduler.submit(task)
        return task, future

    async def predict(self, name: str, inputs: Mapping[str, Any], **settings: Any) -> Tensors:
        """One request and its answer; raises the ServingError that it was answered with."""
        return await asyncio.wait_for(self.submit(name, inputs, **settings)[1], WAIT_SECONDS)

    def events(self, since: int = 0) -> list[Event]:
        """What has happened since `clear`, so that one test does not read another's story."""
        return list(self.core.events.since(max(since, self._cleared)))


def descriptors() -> Counter[str]:
    """This process's descriptors that could leak, counted by kind; those of plain files, which
    the memory ledger's thread opens all the time, are left out."""
    kinds: Counter[str] = Counter()
    for fd in os.listdir("/proc/self/fd"):
        try:
            target = os.readlink(f"/proc/self/fd/{fd}")
        except FileNotFoundError:
            continue
        if target.startswith("/memfd:"):
            kinds["region"] += 1
        elif target.startswith(("socket:", "anon_inode:[pidfd]")):
            kinds[target.split(":")[0]] += 1
    return kinds


def floats(*values: float) -> np.ndarray:
    return np.array(values, np.float32)


def freeze(pid: int) -> None:
    """SIGSTOP, once it holds: each thread of the process stops when it is next scheduled."""
    os.kill(pid, signal.SIGSTOP)
    end = time.monotonic() + 10
    while any(
        task.joinpath("stat").read_text().rpartition(")")[2].split()[0] not in "Tt"
        for task in Path(f"/proc/{pid}/task").iterdir()
    ):
        assert time.monotonic() < end, f"process {pid} does not stop"
        time.sleep(0.001)
