"""GPUs: how much memory each has, and which processes hold it.

`Nvml` is NVIDIA's management library, loaded on first use and called from one thread only. `Gpus`
turns its answers into the ledger's terms, and marks each figure as measured or not: a driver may
not report what a process holds, or may number processes differently than the container does.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from workbench.core.memory.ledger import Holding, Machine
from workbench.server.engine.memory.process import Process

CONTEXT_BYTES = 450 * 2**20
"""The assumed size of a CUDA context with TensorFlow's kernels, if it cannot be measured."""


class NoGpu(Exception):
    """There is no GPU to look at; the text says why."""


class GpuLost(Exception):
    """A GPU that was there does not answer any more."""


class Gpu(NamedTuple):
    """`number`: as ``gpu:N`` and the driver count it, by its place on the bus."""

    number: int
    name: str
    total: int


class Nvml:
    """The part of NVIDIA's management library that is needed, through `pynvml`; sizes in bytes.

    `memory` and `processes` only work after `devices`.
    """

    def __init__(self) -> None:
        self._nvml: Any = None

    def devices(self) -> list[Gpu]:
        """The GPUs that can be read from here, once the library is loaded.

        Raises:
            NoGpu: there is none.
        """
        import pynvml

        try:
            pynvml.nvmlInit()
            count = pynvml.nvmlDeviceGetCount()
        except pynvml.NVMLError as error:
            raise NoGpu(str(error)) from error
        self._nvml = pynvml
        found = []
        for index in range(count):
            try:
                handle = pynvml.nvmlDeviceGetHandleByIndex(index)
                name = pynvml.nvmlDeviceGetName(handle)
                total = int(pynvml.nvmlDeviceGetMemoryInfo(handle).total)
            except pynvml.NVMLError:
                # A cgroup hides it from this process, or it has fallen off the bus.
                continue
            found.append(Gpu(index, name.decode() if isinstance(name, bytes) else name, total))
        if not found:
            raise NoGpu("the driver knows of no GPU that may be used")
        return found

    def memory(self, index: int) -> tuple[int, int]:
        """Total and free memory of a GPU.

        Raises:
            GpuLost: it does not answer any more.
        """
        nvml = self._nvml
        try:
            info = nvml.nvmlDeviceGetMemoryInfo(nvml.nvmlDeviceGetHandleByIndex(index))
        except nvml.NVMLError as error:
            raise GpuLost(str(error)) from error
        return int(info.total), int(info.free)

    def processes(self, index: int) -> dict[int, int | None] | None:
        """What each process holds of a GPU, by its pid; None for one that the driver does not
        report, and None instead of all if it may not be asked.

        Raises:
            GpuLost: it does not answer any more.
        """
        nvml = self._nvml
        refusals = (
            nvml.NVML_ERROR_NO_PERMISSION,
            nvml.NVML_ERROR_NOT_SUPPORTED,
            nvml.NVML_ERROR_FUNCTION_NOT_FOUND,
        )
        try:
            handle = nvml.nvmlDeviceGetHandleByIndex(index)
            found = nvml.nvmlDeviceGetComputeRunningProcesses(handle)
        except nvml.NVMLError as error:
            if error.value in refusals:
                return None
            raise GpuLost(str(error)) from error
        unknown = getattr(nvml, "NVML_VALUE_NOT_AVAILABLE_ulonglong", None)
        unknown = getattr(unknown, "value", unknown)
        return {
            int(process.pid): None
            if process.usedGpuMemory is None or process.usedGpuMemory == unknown
            else int(process.usedGpuMemory)
            for process in found
        }


class _State(NamedTuple):
    gpu: Gpu
    total: int
    free: int
    processes: dict[int, int | None] | None


class Gpus:
    """All GPUs of the machine, as the ledger sees them.

    Args:
        nvml: None: this server does not look for GPUs.
        on_lost: called with the index and the reason when one stops answering.
    """

    def __init__(
        self, nvml: Nvml | None, on_lost: Callable[[int, str], None] = lambda index, why: None
    ) -> None:
        self._nvml = nvml
        self._on_lost = on_lost
        self._states: dict[int, _State] = {}
        self._known = threading.Event()
        self._contexts: dict[int, int] = {}
        # Workers that have just made their context, with their GPU.
        self._wanted: dict[int, int] = {}
        self.why_none = "GPUs are not looked for"
        """Why there is none; of no meaning where there is one."""
        self.lost: dict[int, str] = {}
        if nvml is None:
            self._known.set()

    def wait(self, seconds: float) -> list[Gpu]:
        """The GPUs that can be used, once they have been looked for. Blocks."""
        self._known.wait(seconds)
        return [state.gpu for state in self._states.values()]

    def sample(self) -> None:
        """Look at every GPU; to be called from one thread alone, like `catch_up`."""
        if self._nvml is None:
            return
        if not self._known.is_set():
            try:
                for gpu in self._nvml.devices():
                    self._look(gpu)
            except NoGpu as error:
                self.why_none = str(error)
                self._nvml = None
            self._known.set()
            return
        for state in list(self._states.values()):
            self._look(state.gpu)

    def _look(self, gpu: Gpu) -> None:
        assert self._nvml is not None
        try:
            total, free = self._nvml.memory(gpu.number)
            processes = self._nvml.processes(gpu.number)
        except GpuLost as error:
            self._states.pop(gpu.number, None)
            self.lost[gpu.number] = str(error)
            self._on_lost(gpu.number, str(error))
            return
        self._states[gpu.number] = _State(gpu, total, free, processes)

    def want_context(self, pid: int, number: int) -> None:
        """Have the next `catch_up` measure the CUDA context of a worker that holds nothing else
        on the GPU yet."""
        self._wanted[pid] = number

    def catch_up(self) -> None:
        """Look at the contexts that are wanted; to be called from `sample`'s thread, often."""
        while self._wanted:
            pid, number = self._wanted.popitem()
            if number in self._states:
                self._look(self._states[number].gpu)
            state = self._states.get(number)
            held = None if state is None else (state.processes or {}).get(pid)
            if held is not None:
                self._contexts[pid] = held

    def look(self, processes: Sequence[Process]) -> tuple[list[Machine], list[Holding], list[str]]:
        """The GPUs as of the last sample, what our processes hold on them, and notes for people."""
        states = list(self._states.values())
        machines = [Machine(f"gpu:{s.gpu.number}", s.total, s.free, s.gpu.name) for s in states]
        holdings = []
        notes = [f"gpu:{index} is lost: {why}" for index, why in sorted(self.lost.items())]
        if not states:
            notes.append(f"host memory only: {self.why_none}")
        for state in states:
            device = f"gpu:{state.gpu.number}"
            mine = [p for p in processes if p.device == device]
            reported = state.processes or {}
            if mine and not any(reported.get(p.pid) is not None for p in mine):
                notes.append(
                    f"{device}: the driver does not report what our processes hold (no permission, "
                    "or a container hides their numbers); theirs are estimated"
                )
            holdings += [self._holding(p, device, reported.get(p.pid)) for p in mine]
        living = {p.pid for p in processes}
        self._contexts = {pid: c for pid, c in self._contexts.items() if pid in living}
        return machines, holdings, notes

    def _holding(self, process: Process, device: str, reported: int | None) -> Holding:
        overhead = self._contexts.get(process.pid, CONTEXT_BYTES)
        # TensorFlow counts its own memory on the device, without the context.
        used = process.weights if process.gpu is None else process.gpu[0]
        return Holding(
            device=device,
            owner=process.role,
            total=overhead + used if reported is None else reported,
            measured=reported is not None,
            model=process.model,
            version=process.version,
            pid=process.pid,
            weights=process.weights,
            overhead=overhead,
            overhead_measured=process.pid in self._contexts,
            reserved=dict(process.reserved).get(device, 0),
        )
