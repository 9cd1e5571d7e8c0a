"""Every command is listed once, explains itself, and refuses what it does not know."""

from __future__ import annotations

import argparse
import importlib
import pkgutil
import re
import shlex

import pytest

from workbench.cli import deploy, experiments, labs, model_server, servers
from workbench.cli.main import _parser, main

GROUPS = (servers, experiments, deploy, labs, model_server)


def commands() -> dict[str, argparse.ArgumentParser]:
    """The parser of each command; of a command that has commands, those of these."""
    found: dict[str, argparse.ArgumentParser] = {}
    for name, parser in _below(_parser()).items():
        inside = _below(parser)
        found |= {f"{name} {each}": p for each, p in inside.items()} or {name: parser}
    return found


def _below(parser: argparse.ArgumentParser) -> dict[str, argparse.ArgumentParser]:
    groups = parser._subparsers._group_actions if parser._subparsers else []
    return {name: each for group in groups for name, each in group.choices.items()}  # type: ignore[union-attr]


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


PARSERS = commands()


@pytest.mark.parametrize("name", sorted(PARSERS.keys() - {"model-server"}))
def test_every_option_has_its_default_and_every_command_an_example(name: str) -> None:
    parser = PARSERS[name]
    formatter = parser._get_formatter()
    silent = [
        option.option_strings[0]
        for option in parser._actions
        if option.option_strings
        and option.nargs != 0
        and not re.search(r"\(required\)|default: \S", formatter._get_help_string(option) or "")
    ]
    assert silent == []
    head, example = (parser.epilog or "").splitlines()
    assert head == "example:"
    words = shlex.split(example)
    assert " ".join(words).startswith(f"workbench {name}")
    assert _parser().parse_args(words[1:]).command is parser.get_default("command")


@pytest.mark.parametrize("name", sorted(PARSERS))
def test_no_help_speaks_of_python(name: str) -> None:
    assert not re.search(r"\bwb\.|\bnp\.|\bserver\.\w", PARSERS[name].format_help())


def test_the_command_lists_all(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["--help"])
    out = capsys.readouterr().out
    listed = [line.split()[0] for line in out.splitlines() if line.startswith("    ")]
    assert [name for name in NAMES if name not in listed] == []


def test_model_server_has_help_of_its_own(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["model-server", "--help"]) == 0
    out = capsys.readouterr().out
    assert "--rest_api_port=0" in out
    assert "\nexample:\n  workbench model-server --" in out


def test_an_unknown_command_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["sevre"])
    assert ended.value.code == 2
