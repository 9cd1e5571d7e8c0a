"""Which device a version goes to, what is reserved there, and what TensorFlow may use of it."""

from __future__ import annotations

import sys
import time

import pytest

from tests.server.engine.memory import fake_nvml
from tests.server.engine.memory.fake_nvml import Card, FakePynvml
from workbench.core.events import EventLog
from workbench.core.memory.memory_limits import MemoryLimits
from workbench.core.model_settings import ModelConfig
from workbench.core.status import Code, ServingError
from workbench.core.versions.states import Harness, ServableId
from workbench.server.engine.memory.estimates import Files, estimate
from workbench.server.engine.memory.gpu import CONTEXT_BYTES, Gpus, Nvml
from workbench.server.engine.memory.reservations import Reservations
from workbench.server.engine.versions.model import Model, Served
from workbench.server.engine.versions.version_folder import Found, Place

GIB = 2**30


class House:
    """Reservations over fake GPUs, and models of which nothing but their size is known."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, *cards: Card, library: bool = True) -> None:
        module = FakePynvml(*cards, library=library)
        monkeypatch.setitem(sys.modules, "pynvml", module)  # type: ignore[arg-type]
        self.gpus = Gpus(Nvml())
        self.gpus.sample()
        self.events = EventLog(lambda: (time.monotonic(), time.time()))
        self.models: dict[str, Model] = {}
        self.freed = 0
        settings = MemoryLimits(host_memory_bytes=64 * GIB)
        self.reservations = Reservations(
            self.events, self.gpus, lambda: self.models, self._free, settings
        )
        self.reservations._gpus = self.gpus.wait(0)
        self.reservations._set_limits()

    def _free(self) -> None:
        self.freed += 1

    def version(self, name: str, weights: int, **settings: object) -> tuple[Model, Served]:
        config = ModelConfig(name, "/nowhere", **settings)  # type: ignore[arg-type]
        model = self.models[name] = Model(config)
        found = Found(1, f"/nowhere/{name}", 0, weights, Place(f"/nowhere/{name}", "", 0, 0), 0)
        self.reservations._files[found.path, 0] = Files(weights, 1000)
        served = model.versions[1] = Served(Harness(ServableId(name, 1)), found)
        return model, served

    def reserve(self, name: str, weights: int, **settings: object) -> Served:
        model, served = self.version(name, weights, **settings)
        self.reservations.reserve(model, served)
        return served

    def told(self) -> list[str]:
        return [
            str(e.data["message"])
            for e in self.events.since(0)
            if e.kind == "device_fallback" and e.data
        ]


def device(served: Served) -> str:
    assert served.memory is not None
    return served.memory.device


def test_auto_is_the_gpu_with_the_most_room(monkeypatch: pytest.MonkeyPatch) -> None:
    house = House(monkeypatch, Card(16 * GIB), Card(24 * GIB))
    budget = house.reservations.budget
    first = house.reserve("a", 10 * GIB)
    assert device(first) == "gpu:1"
    need = round(CONTEXT_BYTES + 1.03 * 10 * GIB)
    assert budget.reserved("gpu:1") == need
    assert budget.limits["gpu:1"] == round(0.9 * 24 * GIB)
    # Of the host it takes the weights on their way, and what CUDA takes.
    assert budget.reserved("host") == estimate(Files(10 * GIB, 1000), None, "gpu:1").peak["host"]
    # The budget's rest may be used as well, but for the context, which TensorFlow does not count.
    assert first.memory is not None
    left = budget.limits["gpu:1"] - CONTEXT_BYTES
    assert first.memory.gpu_fraction == pytest.approx(left / (24 * GIB))
    assert device(house.reserve("b", 10 * GIB)) == "gpu:0"
    assert device(house.reserve("c", 8 * GIB)) == "gpu:1"
    assert house.told() == []
    # Where none has room it is the CPU, and that is said.
    assert device(house.reserve("d", 9 * GIB)) == "host"
    assert house.told() == [
        "no GPU has room: it needs 9.7 GB, 3.7 GB are free on gpu:0",
    ]
    house.reservations.release(first)
    assert house.freed == 1
    assert device(house.reserve("e", 9 * GIB)) == "gpu:1"


def test_a_gpu_by_its_number(monkeypatch: pytest.MonkeyPatch) -> None:
    house = House(monkeypatch, Card(16 * GIB), Card(24 * GIB))
    assert device(house.reserve("a", GIB, device="gpu:0")) == "gpu:0"
    assert device(house.reserve("b", GIB, device="cpu")) == "host"
    assert device(house.reserve("c", GIB, device="gpu:3")) == "host"
    assert house.told() == ["gpu:3 cannot be used: there are gpu:0, gpu:1"]
    # One that was asked for by name and is full is no reason to go elsewhere in silence.
    with pytest.raises(ServingError) as caught:
        house.reserve("d", 15 * GIB, device="gpu:0")
    assert caught.value.code is Code.RESOURCE_EXHAUSTED
    assert caught.value.message == (
        "Insufficient resources to load servable {name: d version: 1} under smooth: needs 15.9 GB, "
        "12.9 GB free on gpu:0; it fits with a limit of 17.4 GB for gpu:0 (now 14.4 GB)"
    )


def test_without_a_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    house = House(monkeypatch, library=False)
    assert device(house.reserve("a", GIB)) == "host"
    assert house.told() == []
    assert device(house.reserve("b", GIB, device="gpu:0")) == "host"
    assert house.told() == ["gpu:0 cannot be used: NVML Shared Library Not Found"]


def test_a_gpu_that_is_lost_is_not_used_any_more(monkeypatch: pytest.MonkeyPatch) -> None:
    card = Card(24 * GIB)
    house = House(monkeypatch, Card(16 * GIB), card)
    card.error = fake_nvml.NVML_ERROR_GPU_IS_LOST
    house.gpus.sample()
    assert device(house.reserve("a", GIB)) == "gpu:0"


def test_a_model_may_have_less_of_a_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    house = House(monkeypatch, Card(16 * GIB))
    served = house.reserve("a", GIB, gpu_memory_limit_bytes=4 * GIB)
    assert served.memory is not None
    assert served.memory.gpu_fraction == pytest.approx((4 * GIB - CONTEXT_BYTES) / (16 * GIB))
    with pytest.raises(ServingError, match="gpu_memory_limit_bytes is 1"):
        house.reserve("b", GIB, gpu_memory_limit_bytes=GIB)


def test_the_share_of_all_versions_together(monkeypatch: pytest.MonkeyPatch) -> None:
    house = House(monkeypatch, Card(16 * GIB))
    house.reservations.set_limits(MemoryLimits(gpu_memory_fraction=0.25))
    assert house.reservations.budget.limits["gpu:0"] == 4 * GIB
    house.reservations.set_limits(MemoryLimits(gpu_memory_bytes=99 * GIB))
    assert house.reservations.budget.limits["gpu:0"] == 16 * GIB
    assert house.freed == 2
    assert [e.kind for e in house.events.since(0)] == ["budget_changed", "budget_changed"]
