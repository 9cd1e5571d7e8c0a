"""The limits of memory that a client sends."""

from __future__ import annotations

from typing import Any

import pytest

from workbench.core.memory.memory_limits import MemoryLimits
from workbench.core.status import Code, ServingError

NAMES = ("host_memory_bytes", "gpu_memory_bytes", "gpu_memory_fraction")
WHOLE = "must be a whole number of bytes, at least 1, or None for"


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (7, f"A budget must be an object with {', '.join(NAMES)}; was 7"),
        ({"host": 1}, f"Unknown memory limit 'host': known are {', '.join(sorted(NAMES))}"),
        (
            {"host_memory_bytes": 0},
            f"Memory limit 'host_memory_bytes' {WHOLE} 90% of the host's memory; was 0",
        ),
        (
            {"gpu_memory_bytes": "1G"},
            f"Memory limit 'gpu_memory_bytes' {WHOLE} `gpu_memory_fraction` of each GPU's memory; "
            "was '1G'",
        ),
        (
            {"gpu_memory_fraction": 1.5},
            "Memory limit 'gpu_memory_fraction' must be a number, above 0 and at most 1; was 1.5",
        ),
    ],
)
def test_a_budget_that_is_none(data: Any, message: str) -> None:
    with pytest.raises(ServingError) as caught:
        MemoryLimits.from_json(data)
    assert (caught.value.code, caught.value.message) == (Code.INVALID_ARGUMENT, message)


def test_what_is_left_out_has_its_default() -> None:
    limits = MemoryLimits.from_json({"gpu_memory_fraction": 0.5})
    assert limits == MemoryLimits(None, None, 0.5)
    assert MemoryLimits.from_json(limits.to_json()) == limits
