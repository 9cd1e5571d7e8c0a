"""Memory for versions: estimated and reserved before a load, measured after it, given back.

A version gets a device, a reservation of its peak there and on the host, and limits. When it is
loaded, the reservation becomes what it really takes, and the next estimate is made from that. A
version that does not fit is refused with the cheapest cure, and tried again when memory is given
back.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from workbench.core.events import EventLog
from workbench.core.memory.budget import Budget, Fit, Standing, fits, size
from workbench.core.memory.memory_limits import DEFAULT_SHARE, MemoryLimits
from workbench.core.model_settings import ModelConfig
from workbench.core.status import Code, Reason, ServingError
from workbench.core.versions.policies import BY_MEMORY
from workbench.ipc.low_priority import quiet_executor
from workbench.processes.limits import Limit, limit_memory
from workbench.server.engine.memory.estimates import (
    Files,
    Measured,
    VersionMemory,
    basis,
    estimate,
    read_files,
)
from workbench.server.engine.memory.gpu import CONTEXT_BYTES, Gpu, Gpus
from workbench.server.engine.memory.memory_reading import read_exact, read_machine, read_peak
from workbench.server.engine.versions.model import Model, Served
from workbench.server.engine.versions.version_folder import Found
from workbench.server.engine.workers.worker_handle import Worker

_GPUS_SECONDS = 10.0
_SETTLE_SECONDS = 0.3

_reader = quiet_executor("memory-reader")


@dataclass
class Reservations:
    """Reserves memory for versions, and gives it back.

    Args:
        models: all models, by name.
        freed: called when memory has been given back.
    """

    events: EventLog
    gpus: Gpus
    models: Callable[[], Mapping[str, Model]]
    freed: Callable[[], object]
    settings: MemoryLimits = field(default_factory=MemoryLimits)

    def __post_init__(self) -> None:
        self._machine = read_machine()
        self.budget = Budget({})
        self._files: dict[tuple[str, int], Files] = {}
        self._gpus: list[Gpu] | None = None
        self._set_limits()

    # Limits.

    def set_limits(self, settings: MemoryLimits) -> None:
        """Change what all versions together may take; refused versions get another chance."""
        self.settings = settings
        self._set_limits()
        self.events.add("budget_changed", limits=dict(self.budget.limits))
        self.freed()

    def _set_limits(self) -> None:
        host, gpu = self.settings.host_memory_bytes, self.settings.gpu_memory_bytes
        limits = {"host": round(DEFAULT_SHARE * self._machine.total) if host is None else host}
        for each in self._gpus or []:
            limits[f"gpu:{each.number}"] = (
                round(self.settings.gpu_memory_fraction * each.total)
                if gpu is None
                else min(gpu, each.total)
            )
        self.budget.limits = limits

    # Before a load.

    async def look(self, config: ModelConfig, found: list[Found]) -> None:
        """Read what estimates are made from, in a thread: the files, and which GPUs there are."""
        if self._gpus is None and config.device != "cpu":
            self._gpus = await asyncio.to_thread(self.gpus.wait, _GPUS_SECONDS)
            self._set_limits()
        for each in found:
            if (each.path, each.fingerprint) not in self._files:
                files = await asyncio.to_thread(read_files, each.place.path)
                self._files[each.path, each.fingerprint] = files

    def _memory(self, model: Model, served: Served) -> VersionMemory:
        """The device and the need of a version, by the current figures."""
        known = self._files.get((served.found.path, served.found.fingerprint))
        return self._estimated(model, known or Files(served.found.size_bytes, 0))

    def _estimated(self, model: Model, files: Files) -> VersionMemory:
        last = basis(files, model.measured)
        device, fallback = self.place(model.config, files, last)
        return VersionMemory(files, estimate(files, last, device), device, fallback)

    def place(
        self, config: ModelConfig, files: Files, measured: Measured | None
    ) -> tuple[str, str]:
        """The device for a version of these files, and why it is not the wanted one, or nothing."""
        wanted = config.device
        there = {f"gpu:{gpu.number}" for gpu in self._gpus or []} - {
            f"gpu:{number}" for number in self.gpus.lost
        }
        if wanted == "cpu" or (wanted == "auto" and not there):
            return "host", ""
        if wanted != "auto":
            if wanted in there:
                return wanted, ""
            known = ", ".join(sorted(there))
            why = f"there are {known}" if known else self.gpus.why_none
            return "host", f"{wanted} cannot be used: {why}"
        best = max(sorted(there), key=self.budget.free)
        need = estimate(files, measured, best).peak[best]
        free = self.budget.free(best)
        if need <= free:
            return best, ""
        return "host", f"no GPU has room: it needs {size(need)}, {size(free)} are free on {best}"

    def standing(self, model: Model, served: Served | None = None) -> list[Standing]:
        """All versions that hold memory, without `served` itself. Versions of the same model that
        are not aspired any more will go when it comes."""
        found = []
        for other in list(self.models().values()):
            for version, each in other.versions.items():
                claim = self.budget.claim(each.claimant)
                if each is served or not claim:
                    continue
                goes = other is model and not each.harness.aspired
                found.append(Standing(other.name, version, claim, goes))
        return found

    def fit(self, model: Model, served: Served) -> Fit:
        """Whether a version that is about to be loaded fits under its model's transition."""
        need = self._memory(model, served).need
        standing = self.standing(model, served)
        own = self.budget.claim(served.claimant)
        return fits(self.budget, model.name, need, model.config.transition, standing, own)

    def refusal(self, model: Model, served: Served) -> ServingError | None:
        """Why a version cannot be loaded now, as an error for clients; None if it can."""
        limited = self._beyond_own_limit(model, served)
        if limited is not None:
            return limited
        found = self.fit(model, served)
        return None if found.fits else _refused(model, served, found)

    def _beyond_own_limit(self, model: Model, served: Served) -> ServingError | None:
        config = model.config
        memory = self._memory(model, served)
        limits = [("host", config.memory_limit_bytes, "memory_limit_bytes")]
        if memory.device != "host":
            limits.append((memory.device, config.gpu_memory_limit_bytes, "gpu_memory_limit_bytes"))
        for resource, limit, name in limits:
            need = memory.need.peak.get(resource, 0)
            if limit is None or need <= limit:
                continue
            return ServingError(
                Code.RESOURCE_EXHAUSTED,
                f"Insufficient resources to load servable {served.id}: needs {size(need)}, and the "
                f"model's {name} is {size(limit)}; with {size(need, up=True)} it fits",
                Reason.NO_MEMORY,
            )
        return None

    def reserve(self, model: Model, served: Served, prepared: bool = False) -> None:
        """Reserve what a load takes, or (`prepared`) what it takes before its weights are read.

        Raises:
            ServingError: RESOURCE_EXHAUSTED, with what would help.
        """
        memory = self._memory(model, served)
        if served.memory is not None and served.worker is not None:
            # It is staged, and stays on its device.
            memory = served.memory
        needs = memory.need.prepared if prepared else memory.need.peak
        limited = self._beyond_own_limit(model, served)
        if limited is not None:
            raise limited
        if self.budget.reserve(served.claimant, needs) is not None:
            raise _refused(model, served, self.fit(model, served))
        gpu = next((r for r in needs if r != "host"), None)
        if gpu is not None:
            memory.gpu_fraction = self._fraction(model.config, gpu, needs[gpu])
        served.memory = memory
        if memory.fallback and not prepared:
            self.events.add("device_fallback", *served.id, device="cpu", message=memory.fallback)
        self.events.add(
            "reserved", *served.id, bytes=sum(needs.values()), estimated=True, needs=dict(needs)
        )

    def _fraction(self, config: ModelConfig, device: str, need: int) -> float:
        """The share of a GPU that TensorFlow may use in a worker: the model's own limit, else
        what the budget has left; without the context, which it does not count."""
        number = int(device.partition(":")[2])
        total = next(gpu.total for gpu in self._gpus or [] if gpu.number == number)
        limit = config.gpu_memory_limit_bytes
        if limit is None:
            limit = need + max(0, self.budget.free(device))
        return max(0.01, min(1.0, (limit - CONTEXT_BYTES) / total))

    # While it lives.

    async def spawned(self, model: Model, served: Served, worker: Worker) -> None:
        """Measure and limit a worker that has started and has loaded nothing yet."""
        memory = served.memory
        if memory is None:
            return
        limit, pid = model.config.memory_limit_bytes, worker.pid
        if memory.device != "host":
            number = int(memory.device.partition(":")[2])
            worker.on_context = lambda: self.gpus.want_context(pid, number)
            worker.on_gpu_memory = lambda current, peak: setattr(memory, "gpu", (current, peak))

        def begin() -> tuple[tuple[int, int] | None, Limit | None]:
            reading, peak = read_exact(pid), read_peak(pid)
            held = None if limit is None else limit_memory(pid, limit, peak and peak.data)
            before = None if reading is None or peak is None else (reading.uss, peak.anonymous)
            return before, held

        memory.before, memory.limit = await asyncio.to_thread(begin)

    async def loaded(self, model: Model, served: Served, worker: Worker) -> None:
        """Reserve what a loaded version really takes, and keep that for the next estimate."""
        memory = served.memory
        if memory is None:
            return
        # Reading its memory should not slow the first requests of a version.
        await asyncio.sleep(_SETTLE_SECONDS)
        pid, loop = worker.pid, asyncio.get_running_loop()
        reading, peak = await loop.run_in_executor(
            _reader, lambda: (read_exact(pid), read_peak(pid))
        )
        if reading is None or served.worker is not worker:
            return
        if memory.before is not None and peak is not None:
            private, anonymous = memory.before
            # The pages of libraries, which all workers share, are mapped as they are needed.
            memory.peak = max(reading.uss, peak.highest - peak.files - anonymous + private)
            memory.measured = Measured(memory.files, memory.peak, reading.uss)
            if memory.device == "host":
                model.measured = memory.measured
        self.budget.settle(served.claimant, {**memory.need.steady, "host": reading.uss})
        self.freed()

    def release(self, served: Served) -> None:
        """Give back the memory of a version whose process is gone for good."""
        if served.memory is not None and served.memory.limit is not None:
            served.memory.limit.close()
        if self.budget.release(served.claimant):
            self.freed()

    def promised(self) -> list[tuple[str, int]]:
        """(device, bytes) of reservations whose worker is not there yet. Safe in any thread."""
        found = []
        for model in list(self.models().values()):
            for served in model.everyone():
                if served.worker is None:
                    found += list(self.budget.claim(served.claimant).items())
        return found

    # Questions.

    def waited_for(self) -> bool:
        """Whether any version waits for memory."""
        return any(is_refused(each) for m in self.models().values() for each in m.everyone())

    async def will_it_fit(self, model: Model, path: str) -> dict[str, Any]:
        """What a SavedModel would take as the model's next version, under each transition."""
        await self.look(model.config, [])
        memory = self._estimated(model, await asyncio.to_thread(read_files, path))
        need = memory.need
        policy = model.config.version_policy
        aspired = sorted(v for v, s in model.versions.items() if s.harness.aspired)
        kept = set(aspired)
        if policy.kind == "latest":
            kept = set(aspired[len(aspired) - policy.num_versions + 1 :])
        standing = [
            s if s.model != model.name else replace(s, goes=s.version not in kept)
            for s in self.standing(model)
        ]
        found = [fits(self.budget, model.name, need, t, standing) for t in BY_MEMORY]
        return {
            "path": path,
            "model": model.name,
            "device": memory.device,
            "fallback": memory.fallback,
            "weights": memory.files.weights,
            "peak": dict(need.peak),
            "steady": dict(need.steady),
            "from": "the files" if basis(memory.files, model.measured) is None else "the last load",
            "transition": model.config.transition,
            "reserved": {r: self.budget.reserved(r) for r in need.peak},
            "transitions": {f.transition: f.to_json() for f in found},
        }


def _refused(model: Model, served: Served, found: Fit) -> ServingError:
    return ServingError(
        Code.RESOURCE_EXHAUSTED,
        f"Insufficient resources to load servable {served.id} under {model.config.transition}: "
        f"{found.words}; {found.cure}",
        Reason.NO_MEMORY,
    )


def is_refused(served: Served) -> bool:
    """Whether a version has failed for want of memory, and may be tried again."""
    error = served.harness.error
    return error is not None and error.reason is Reason.NO_MEMORY
