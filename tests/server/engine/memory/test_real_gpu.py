"""Two versions of one model on a real GPU. Skipped, with the reason, where there is none."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.models import BIG_WEIGHTS_BYTES
from tests.servers import Server
from workbench.core.versions.version_policy import VersionPolicy
from workbench.server.engine.memory.gpu import NoGpu, Nvml


def why_none() -> str:
    try:
        Nvml().devices()
    except NoGpu as error:
        return str(error)
    return ""


pytestmark = pytest.mark.skipif(bool(why_none()), reason=f"needs a GPU: {why_none()}")


def test_two_versions_live_together_and_give_the_memory_back(
    server: Server, tmp_path: Path
) -> None:
    nvml = Nvml()
    nvml.devices()

    def used() -> int:
        total, free = nvml.memory(0)
        return total - free

    before = used()

    async def test() -> None:
        model, first = await server.serve(
            tmp_path / "m", "big", "big", version_policy=VersionPolicy("all"), device="gpu:0"
        )
        assert [s.memory.device for s in model.versions.values() if s.memory] == ["gpu:0"] * 2
        account = server.core.ledger.account()
        for machine in account.machines:
            cells = [c for c in account.cells if c.device == machine.device]
            assert sum(c.bytes for c in cells) == machine.total
        assert used() - before > 2 * BIG_WEIGHTS_BYTES
        assert first.worker is not None

    server.run(test())
    server.clear()
    assert used() - before < BIG_WEIGHTS_BYTES / 10
