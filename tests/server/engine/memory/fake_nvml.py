"""Stands in for NVIDIA's `pynvml` module: the same calls, errors and odd answers.

What real drivers do and this does too: a process's memory is None where it is not available
(WDDM, some virtual GPUs); pids are those of the host, also inside a container; asking for
processes may not be permitted or not be supported; a GPU that falls off the bus answers
GPU_IS_LOST from then on.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any

NVML_ERROR_NOT_SUPPORTED = 3
NVML_ERROR_NO_PERMISSION = 4
NVML_ERROR_LIBRARY_NOT_FOUND = 12
NVML_ERROR_FUNCTION_NOT_FOUND = 13
NVML_ERROR_GPU_IS_LOST = 15

_TEXTS = {
    NVML_ERROR_NOT_SUPPORTED: "Not Supported",
    NVML_ERROR_NO_PERMISSION: "Insufficient Permissions",
    NVML_ERROR_LIBRARY_NOT_FOUND: "NVML Shared Library Not Found",
    NVML_ERROR_FUNCTION_NOT_FOUND: "Function Not Found",
    NVML_ERROR_GPU_IS_LOST: "GPU is lost",
}


class NVMLError(Exception):
    def __init__(self, value: int) -> None:
        super().__init__(value)
        self.value = value

    def __str__(self) -> str:
        return _TEXTS[self.value]


@dataclass
class Card:
    """One GPU: its size, what other programs hold, and what each process holds (None: not
    available); `error` is raised by whoever asks for the memory, `process_error` for processes."""

    total: int
    others: int = 0
    processes: dict[int, int | None] = field(default_factory=dict)
    error: int | None = None
    process_error: int | None = None
    name: str = "NVIDIA Test"


class FakePynvml:
    """The module."""

    NVMLError = NVMLError
    NVML_ERROR_NOT_SUPPORTED = NVML_ERROR_NOT_SUPPORTED
    NVML_ERROR_NO_PERMISSION = NVML_ERROR_NO_PERMISSION
    NVML_ERROR_FUNCTION_NOT_FOUND = NVML_ERROR_FUNCTION_NOT_FOUND
    NVML_VALUE_NOT_AVAILABLE_ulonglong = SimpleNamespace(value=2**64 - 1)

    def __init__(self, *cards: Card, library: bool = True) -> None:
        self.cards = cards
        self._library = library
        self._ready = False

    def nvmlInit(self) -> None:
        if not self._library:
            raise NVMLError(NVML_ERROR_LIBRARY_NOT_FOUND)
        self._ready = True

    def nvmlDeviceGetCount(self) -> int:
        assert self._ready
        return len(self.cards)

    def nvmlDeviceGetHandleByIndex(self, index: int) -> Card:
        assert self._ready
        return self.cards[index]

    def nvmlDeviceGetName(self, card: Card) -> str:
        return card.name

    def nvmlDeviceGetMemoryInfo(self, card: Card) -> Any:
        if card.error is not None:
            raise NVMLError(card.error)
        used = card.others + sum(size or 0 for size in card.processes.values())
        return SimpleNamespace(total=card.total, free=card.total - used, used=used)

    def nvmlDeviceGetComputeRunningProcesses(self, card: Card) -> list[Any]:
        for error in (card.error, card.process_error):
            if error is not None:
                raise NVMLError(error)
        return [SimpleNamespace(pid=p, usedGpuMemory=size) for p, size in card.processes.items()]
