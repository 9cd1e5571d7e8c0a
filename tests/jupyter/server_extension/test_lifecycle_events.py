"""What has happened between two looks at all servers."""

from __future__ import annotations

from typing import Any

from workbench.jupyter.server_extension.lifecycle_events import changes


def server(state: str, *versions: tuple[int, str, str | None], name: str = "a") -> dict[str, Any]:
    told = [{"version": v, "state": s, "error": error} for v, s, error in versions]
    return {"name": name, "state": state, "models": [{"name": "m", "versions": told}]}


def version(number: int, state: str, failed: bool = False) -> dict[str, Any]:
    about = {"server": "a", "model": "m", "version": number, "state": state, "failed": failed}
    return {"action": "version_changed", **about}


def test_servers_come_and_go() -> None:
    running = server("running", (1, "AVAILABLE", None))
    assert list(changes([], [running])) == [
        {"action": "server_started", "server": "a"},
        version(1, "AVAILABLE"),
    ]
    assert list(changes([running], [running])) == []
    assert list(changes([running], [])) == [{"action": "server_ended", "server": "a"}]


def test_a_killed_server_is_told_of_once() -> None:
    running, dead = server("running", (1, "AVAILABLE", None)), server("dead")
    assert list(changes([running], [dead])) == [{"action": "server_killed", "server": "a"}]
    assert list(changes([dead], [dead])) == []
    assert list(changes([dead], [])) == []
    assert next(changes([dead], [running])) == {"action": "server_started", "server": "a"}


def test_versions_change_their_state() -> None:
    before = server("running", (1, "AVAILABLE", None))
    after = server("running", (2, "LOADING", None), (1, "AVAILABLE", None))
    assert list(changes([before], [after])) == [version(2, "LOADING")]
    failed = server("running", (2, "END", "INTERNAL: no"), (1, "AVAILABLE", None))
    assert list(changes([after], [failed])) == [version(2, "END", failed=True)]


def test_who_does_not_answer_has_not_ended() -> None:
    before, away = server("running", (1, "AVAILABLE", None)), server("unreachable")
    assert list(changes([before], [away])) == []
    assert list(changes([away], [before])) == [version(1, "AVAILABLE")]
