"""GPUs in the ledger, with a library that behaves like NVIDIA's own."""

from __future__ import annotations

import sys
import threading

import pytest

from tests.server.engine.memory import fake_nvml
from tests.server.engine.memory.fake_nvml import Card, FakePynvml
from workbench.core.memory.ledger import Cell, Machine, reconcile
from workbench.server.engine.memory.gpu import CONTEXT_BYTES, Gpu, Gpus, NoGpu, Nvml
from workbench.server.engine.memory.process import Process

GIB = 2**30
WORKER = Process(7, "worker", "m", 1, weights=GIB, device="gpu:0", reserved=(("gpu:0", 4 * GIB),))


@pytest.fixture
def lost() -> list[tuple[int, str]]:
    return []


def gpus(
    monkeypatch: pytest.MonkeyPatch, lost: list[tuple[int, str]], *cards: Card, library: bool = True
) -> Gpus:
    """The real code over the fake library, after the first look."""
    monkeypatch.setitem(sys.modules, "pynvml", FakePynvml(*cards, library=library))  # type: ignore[arg-type]
    found = Gpus(Nvml(), lambda number, why: lost.append((number, why)))
    found.sample()
    return found


def cells(found: Gpus, *processes: Process) -> list[tuple[str | None, str, int, str]]:
    machines, holdings, _ = found.look(processes)
    told = reconcile(machines, holdings)
    for machine in machines:
        mine: list[Cell] = [cell for cell in told if cell.device == machine.device]
        assert sum(cell.bytes for cell in mine) == machine.total
    return [(c.model, c.kind, c.bytes, c.how) for c in told]


def test_what_each_process_holds(
    monkeypatch: pytest.MonkeyPatch, lost: list[tuple[int, str]]
) -> None:
    card = Card(16 * GIB, others=GIB)
    found = gpus(monkeypatch, lost, card, Card(8 * GIB))
    assert found.wait(0) == [Gpu(0, "NVIDIA Test", 16 * GIB), Gpu(1, "NVIDIA Test", 8 * GIB)]
    card.processes[7] = GIB // 2
    # Before anything was loaded, all that it holds is its CUDA context.
    found.want_context(7, 0)
    found.want_context(8, 3)
    found.catch_up()
    card.processes[7] = 3 * GIB
    found.sample()
    assert found.look([WORKER])[2] == []
    assert cells(found, WORKER) == [
        ("m", "context", GIB // 2, "measured"),
        ("m", "weights", GIB, "estimated"),
        ("m", "allocator", 3 * GIB // 2, "estimated"),
        (None, "unattributed", GIB, "measured"),
        (None, "reserved", GIB, "estimated"),
        (None, "free", 11 * GIB, "estimated"),
        (None, "unattributed", 0, "measured"),
        (None, "reserved", 0, "estimated"),
        (None, "free", 8 * GIB, "measured"),
    ]


@pytest.mark.parametrize(
    "card",
    [
        Card(16 * GIB, process_error=fake_nvml.NVML_ERROR_NO_PERMISSION),
        Card(16 * GIB, process_error=fake_nvml.NVML_ERROR_NOT_SUPPORTED),
        Card(16 * GIB, process_error=fake_nvml.NVML_ERROR_FUNCTION_NOT_FOUND),
        Card(16 * GIB, processes={7: None}),
        # In a container: the host's pid of the same process.
        Card(16 * GIB, processes={40_007: 0}),
    ],
    ids=["no permission", "not supported", "old driver", "not available", "container"],
)
def test_without_numbers_per_process_they_are_estimated(
    monkeypatch: pytest.MonkeyPatch, lost: list[tuple[int, str]], card: Card
) -> None:
    card.others = 2 * GIB
    found = gpus(monkeypatch, lost, card)
    found.want_context(7, 0)
    found.catch_up()
    used = CONTEXT_BYTES + GIB
    assert cells(found, WORKER)[:4] == [
        ("m", "context", CONTEXT_BYTES, "estimated"),
        ("m", "weights", GIB, "estimated"),
        ("m", "allocator", 0, "estimated"),
        (None, "unattributed", 2 * GIB - used, "estimated"),
    ]
    assert found.look([WORKER])[2] == [
        "gpu:0: the driver does not report what our processes hold (no permission, or a container "
        "hides their numbers); theirs are estimated"
    ]
    # What TensorFlow itself says of its allocator is better than the weights alone.
    told = Process(7, "worker", "m", 1, weights=GIB, device="gpu:0", gpu=(3 * GIB, 4 * GIB))
    assert cells(found, told)[2] == ("m", "allocator", 2 * GIB, "estimated")
    assert lost == []


def test_a_gpu_that_vanishes(monkeypatch: pytest.MonkeyPatch, lost: list[tuple[int, str]]) -> None:
    card = Card(16 * GIB)
    found = gpus(monkeypatch, lost, card, Card(8 * GIB))
    card.error = fake_nvml.NVML_ERROR_GPU_IS_LOST
    found.sample()
    found.sample()
    assert lost == [(0, "GPU is lost")]
    machines, holdings, notes = found.look([WORKER])
    assert machines == [Machine("gpu:1", 8 * GIB, 8 * GIB, "NVIDIA Test")]
    assert holdings == []
    assert notes == ["gpu:0 is lost: GPU is lost"]


def test_a_gpu_that_may_not_be_looked_at_is_none(
    monkeypatch: pytest.MonkeyPatch, lost: list[tuple[int, str]]
) -> None:
    hidden = Card(16 * GIB, error=fake_nvml.NVML_ERROR_NO_PERMISSION)
    found = gpus(monkeypatch, lost, hidden, Card(8 * GIB))
    assert [gpu.number for gpu in found.wait(0)] == [1]
    none = gpus(monkeypatch, lost, hidden)
    assert none.wait(0) == []
    assert none.look([])[2] == ["host memory only: the driver knows of no GPU that may be used"]


def test_without_the_library_it_is_host_memory_only(
    monkeypatch: pytest.MonkeyPatch, lost: list[tuple[int, str]]
) -> None:
    found = gpus(monkeypatch, lost, library=False)
    found.sample()
    assert found.wait(0) == []
    assert found.look([]) == ([], [], ["host memory only: NVML Shared Library Not Found"])


def test_who_asks_before_the_first_look_waits_for_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pynvml", FakePynvml(Card(GIB)))  # type: ignore[arg-type]
    found = Gpus(Nvml())
    assert found.wait(0.01) == []
    looked = threading.Timer(0.05, found.sample)
    looked.start()
    assert [gpu.number for gpu in found.wait(30)] == [0]
    looked.join()


def test_the_library_that_is_installed_is_asked_the_same_way() -> None:
    """Where there is no driver it says so; where there is one, every GPU has a size."""
    import pynvml

    for name in (
        "nvmlDeviceGetCount", "nvmlDeviceGetHandleByIndex", "nvmlDeviceGetName",
        "nvmlDeviceGetMemoryInfo", "nvmlDeviceGetComputeRunningProcesses",
        "NVML_ERROR_NO_PERMISSION", "NVML_ERROR_NOT_SUPPORTED", "NVML_ERROR_FUNCTION_NOT_FOUND",
        "NVML_VALUE_NOT_AVAILABLE_ulonglong",
    ):  # fmt: skip
        assert hasattr(pynvml, name)
    try:
        found, why = Nvml().devices(), ""
    except NoGpu as error:
        found, why = [], str(error)
    assert bool(found) != bool(why)
    assert all(gpu.total > 0 for gpu in found)
