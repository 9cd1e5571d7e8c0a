"""Every command is listed once, explains itself, and refuses what it does not know."""

from __future__ import annotations

import importlib
import pkgutil

import pytest

from workbench.cli import experiments, labs, model_server, servers
from workbench.cli.main import main

GROUPS = (servers, experiments, labs, model_server)
NAMES = [
    command.__name__.rpartition(".")[2].removesuffix("_command").replace("_", "-")
    for group in GROUPS
    for command in group.COMMANDS
]


@pytest.mark.parametrize("group", GROUPS)
def test_every_file_of_a_command_is_listed(group: object) -> None:
    found = {
        importlib.import_module(f"{group.__name__}.{module.name}")  # type: ignore[attr-defined]
        for module in pkgutil.iter_modules(group.__path__)  # type: ignore[attr-defined]
        if module.name.endswith("_command")
    }
    assert found == set(group.COMMANDS)  # type: ignore[attr-defined]


@pytest.mark.parametrize("name", [name for name in NAMES if name != "model-server"])
def test_every_command_has_help(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main([name, "--help"])
    out = capsys.readouterr().out
    assert (ended.value.code, out.split()[:3]) == (0, ["usage:", "workbench", name])


def test_the_command_lists_all(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["--help"])
    out = capsys.readouterr().out
    listed = [line.split()[0] for line in out.splitlines() if line.startswith("    ")]
    assert [name for name in NAMES if name not in listed] == []


def test_model_server_has_help_of_its_own(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["model-server", "--help"]) == 0
    assert "--rest_api_port=0" in capsys.readouterr().out


def test_an_unknown_command_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["sevre"])
    assert ended.value.code == 2
