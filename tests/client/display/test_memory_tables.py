"""What a client makes of the ledger: sizes as people write them, and whether one more fits."""

from __future__ import annotations

from typing import Any

import pytest

from workbench.client.display.memory_tables import Fit, budget_json, parse_bytes
from workbench.core.status import Code, ServingError

GB = 2**30


@pytest.mark.parametrize(
    ("text", "size"),
    [
        (None, None), (7, 7), ("7", 7), ("7 b", 7), ("1.5 GB", 3 * GB // 2), ("800MB", 800 * 2**20),
        (" 2 kb ", 2048), ("1tb", 1024 * GB),
    ],
)  # fmt: skip
def test_sizes_as_people_write_them(text: Any, size: int | None) -> None:
    assert parse_bytes(text, "memory_limit") == size


@pytest.mark.parametrize(
    "text", [0, -1, 1.5, True, "", "much", "1.5 GiB", "0", "0.0001 b", "-1 GB"]
)
def test_sizes_that_are_none(text: Any) -> None:
    with pytest.raises(ServingError) as caught:
        parse_bytes(text, "memory_limit")
    assert (caught.value.code, caught.value.message) == (
        Code.INVALID_ARGUMENT,
        f"memory_limit {text!r} is not understood: give a number of bytes, or text like '1.5 GB'",
    )


def test_a_budget_for_the_host_or_by_name() -> None:
    assert budget_json("1 GB") == {"host_memory_bytes": GB}
    assert budget_json(None) == {"host_memory_bytes": None}
    assert budget_json({"gpu_memory_bytes": "2 GB", "gpu_memory_fraction": 0.5}) == {
        "gpu_memory_bytes": 2 * GB,
        "gpu_memory_fraction": 0.5,
    }


def answer(transition: str) -> dict[str, Any]:
    def told(name: str, fits: bool, cure: str) -> dict[str, Any]:
        return {
            "transition": name, "fits": fits, "resource": "host", "need": 2 * GB, "free": GB,
            "limit": 4 * GB, "cure": cure, "words": "needs 2.0 GB, 1.0 GB free",
        }  # fmt: skip

    return {
        "path": "/models/<m>/2", "model": "m", "device": "host", "fallback": "", "weights": GB,
        "peak": {"host": 2 * GB}, "steady": {"host": GB}, "from": "the last load",
        "transition": transition, "reserved": {"host": 3 * GB},
        "transitions": {
            "smooth": told("smooth", False, "it fits under unload_first"),
            "unload_first": told("unload_first", True, ""),
        },
    }  # fmt: skip


def test_whether_it_fits_reads_well() -> None:
    found = Fit.from_json(answer("unload_first+hold"))
    assert found.fits
    assert found
    assert not Fit.from_json(answer("smooth"))
    assert repr(found).splitlines() == [
        "/models/<m>/2 as the next version of m: 1.0 GB of weights, at most 2.0 GB on host, "
        "estimated from the last load of m",
        "  does not fit under smooth: needs 2.0 GB, 1.0 GB free; it fits under unload_first",
        "  fits under unload_first: needs 2.0 GB, 1.0 GB free",
    ]
    page = found._repr_html_()
    assert "/models/&lt;m&gt;/2" in page
    assert "<td>smooth</td><td>does not fit</td>" in page


def test_why_it_is_not_on_the_gpu_is_told() -> None:
    found = Fit.from_json({**answer("smooth"), "fallback": "no GPU has room"})
    assert "at most 2.0 GB on host (no GPU has room), estimated" in repr(found)
