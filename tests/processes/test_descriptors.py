"""How many file descriptors a server takes, and what it leaves for connections."""

from __future__ import annotations

import resource

import pytest

from workbench.processes.descriptors import connections_for, raise_limit


@pytest.mark.parametrize(
    ("soft", "hard", "wanted", "limit"),
    [
        (1024, 4096, (4096, 4096), 4096),
        (1024, 1_000_000, (65_536, 1_000_000), 65_536),
        (1024, resource.RLIM_INFINITY, (65_536, resource.RLIM_INFINITY), 65_536),
        (100_000, 200_000, None, 100_000),
        (resource.RLIM_INFINITY, resource.RLIM_INFINITY, None, 65_536),
    ],
)
def test_the_soft_limit_is_raised_as_far_as_it_may_be(
    monkeypatch: pytest.MonkeyPatch,
    soft: int,
    hard: int,
    wanted: tuple[int, int] | None,
    limit: int,
) -> None:
    asked: list[tuple[int, int]] = []
    monkeypatch.setattr(resource, "getrlimit", lambda kind: (soft, hard))
    monkeypatch.setattr(resource, "setrlimit", lambda kind, limits: asked.append(limits))
    assert raise_limit() == limit
    assert asked == ([] if wanted is None else [wanted])


def test_connections_leave_room_for_everything_else() -> None:
    assert [connections_for(n, 10_000) for n in (65_536, 4096, 600, 256)] == [10_000, 3584, 88, 1]
