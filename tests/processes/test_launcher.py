"""The launcher's side of a start: what it makes of whatever the supervisor says or does."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from workbench.core.status import Code, ServingError
from workbench.processes import launcher, paths, registry
from workbench.processes.launcher import SubprocessLauncher, reap_supervisors
from workbench.processes.lifetime import ProcessId
from workbench.processes.server_options import ServerOptions, StartRequest


class Supervisor:
    """Stands in for the supervisor's program; reads its specification, then runs `script`."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.script = ""
        self.processes: list[subprocess.Popen[bytes]] = []
        self._popen = subprocess.Popen
        monkeypatch.setattr(launcher.subprocess, "Popen", self._start)

    def _start(self, command: list[str], **settings: Any) -> subprocess.Popen[bytes]:
        assert command == [sys.executable, "-m", "workbench.server.supervision.supervisor_process"]
        # In its own session, so that a terminal's signals do not reach it.
        assert settings["start_new_session"] is True
        program = f"import json, sys, time\nspec = json.loads(sys.stdin.read())\n{self.script}"
        process = self._popen([sys.executable, "-c", program], **settings)
        self.processes.append(process)
        return process


@pytest.fixture
def supervisor(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Supervisor:
    monkeypatch.setenv("JUPYTER_RUNTIME_DIR", str(tmp_path))
    return Supervisor(monkeypatch)


def launch(name: str = "digits") -> registry.Entry:
    return SubprocessLauncher().launch(StartRequest(ServerOptions(name)))


def entry(name: str) -> registry.Entry:
    folder = paths.server_folder(name)
    me = ProcessId.me()
    return registry.Entry(name, me, me, "127.0.0.1", 1, None, f"{folder}/s", str(folder))


def test_a_server_that_is_ready_is_found_in_the_registry(supervisor: Supervisor) -> None:
    registry.write(entry("digits"))
    supervisor.script = (
        "print(json.dumps({'ready': spec['options']['name'] == 'digits'}), flush=True)"
    )
    assert launch() == entry("digits")
    supervisor.processes[0].wait(10)
    reap_supervisors()
    assert supervisor.processes[0] not in launcher._children


def test_a_refusal_is_the_supervisors_own(supervisor: Supervisor) -> None:
    told = {"failed": "Port 80 of 127.0.0.1 cannot be used", "code": "FAILED_PRECONDITION"}
    supervisor.script = f"print({json.dumps(told)!r}, flush=True)"
    with pytest.raises(ServingError) as refused:
        launch()
    assert refused.value == ServingError(Code.FAILED_PRECONDITION, told["failed"])
    assert supervisor.processes[0].returncode == 0


def test_a_refusal_in_several_pieces_and_without_a_code(supervisor: Supervisor) -> None:
    supervisor.script = (
        "sys.stdout.write('{\"failed\": '); sys.stdout.flush(); time.sleep(0.1)\n"
        "print('\"no\"}', flush=True)"
    )
    with pytest.raises(ServingError) as refused:
        launch()
    assert refused.value == ServingError(Code.UNAVAILABLE, "no")


def test_a_supervisor_that_ends_without_a_word(supervisor: Supervisor) -> None:
    with pytest.raises(ServingError) as refused:
        launch()
    assert refused.value == ServingError(
        Code.UNAVAILABLE, "The server's supervisor ended without giving a reason"
    )
    supervisor.processes[0].wait(10)


def test_a_supervisor_that_does_not_even_read(supervisor: Supervisor) -> None:
    """The specification is larger than a pipe holds, and nobody takes it."""
    supervisor._start = None  # type: ignore[assignment]
    popen = supervisor._popen
    launcher.subprocess.Popen = lambda _, **settings: popen(  # type: ignore[attr-defined]
        [sys.executable, "-c", "pass"], **settings
    )
    with pytest.raises(ServingError) as refused:
        SubprocessLauncher().launch(
            StartRequest(ServerOptions("digits", models=({"name": "m" * 1_000_000},)))
        )
    assert refused.value.code is Code.UNAVAILABLE


def test_a_supervisor_that_takes_too_long_is_ended(
    supervisor: Supervisor, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(launcher, "START_SECONDS", 0.3)
    supervisor.script = "time.sleep(60)"
    with pytest.raises(ServingError) as refused:
        launch()
    assert refused.value == ServingError(
        Code.DEADLINE_EXCEEDED, "The server did not start within 0 s"
    )
    assert supervisor.processes[0].wait(10) == -15


def test_an_interrupted_start_ends_the_supervisor(
    supervisor: Supervisor, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(launcher.select, "select", interrupt)
    supervisor.script = "time.sleep(60)"
    with pytest.raises(KeyboardInterrupt):
        launch()
    assert supervisor.processes[0].wait(10) == -15
    assert os.listdir(paths.runtime_folder()) == []
