"""A refusal in a cell shows the user's lines and the sentence, in a real IPython shell."""

from __future__ import annotations

import inspect
import re
import traceback
from collections.abc import Iterator
from pathlib import Path

import pytest
from IPython.core.interactiveshell import InteractiveShell

import workbench as wb
from workbench.core.status import ServingError


@pytest.fixture(scope="module")
def shell(tmp_path_factory: pytest.TempPathFactory) -> Iterator[InteractiveShell]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("IPYTHONDIR", str(tmp_path_factory.mktemp("ipython")))
        patch.setenv("JUPYTER_RUNTIME_DIR", str(tmp_path_factory.mktemp("runtime")))
        made = InteractiveShell.instance(colors="nocolor")
        made.history_manager.enabled = False
        try:
            yield made
        finally:
            made.history_manager.end_session()
            InteractiveShell.clear_instance()


def shown(shell: InteractiveShell, cell: str, capsys: pytest.CaptureFixture[str]) -> str:
    """What the shell prints of a cell that fails."""
    capsys.readouterr()
    assert shell.run_cell(cell).error_in_exec is not None
    return re.sub(r"\x1b\[[0-9;]*m", "", capsys.readouterr().out)


def test_a_refusal_shows_the_users_line_and_the_sentence(
    shell: InteractiveShell, capsys: pytest.CaptureFixture[str]
) -> None:
    out = shown(shell, "import workbench as wb\nwb.connect('none')", capsys)
    assert "----> 2 wb.connect('none')" in out
    assert out.rstrip().endswith("ServingError: No server named 'none' is running (running: none)")
    assert "registry.py" not in out
    assert len(out.splitlines()) < 12


def test_the_errors_that_led_to_it_are_hidden_too(
    shell: InteractiveShell, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    (tmp_path / "broken.keras").write_text("no archive")
    cell = f"wb.serve({str(tmp_path / 'broken.keras')!r})"
    out = shown(shell, cell, capsys)
    assert "is not a Keras file" in out
    assert "BadZipFile" not in out
    assert "direct cause" not in out


def test_functions_that_we_call_back_and_errors_of_the_user_stay(
    shell: InteractiveShell, capsys: pytest.CaptureFixture[str]
) -> None:
    shell.user_ns["ours"] = _calls_back
    cell = (
        "def mine():\n    wb.connect('none')\ntry:\n    {}['key']\nexcept KeyError:\n    ours(mine)"
    )
    out = shown(shell, cell, capsys)
    assert "----> 2     wb.connect('none')" in out
    assert "KeyError: 'key'" in out
    assert "During handling of the above exception" in out
    assert "registry.py" not in out


def _calls_back(function: object) -> None:
    # As a sweep calls `on_point`: a frame that belongs to the package. The file must exist, for
    # the measurement of coverage reads the source of all that ran.
    code = compile("def call(function): function()", inspect.getfile(wb), "exec")
    names: dict[str, object] = {}
    exec(code, names)
    names["call"](function)  # type: ignore[operator]


def test_verbose_shows_everything(
    shell: InteractiveShell, capsys: pytest.CaptureFixture[str]
) -> None:
    shell.run_line_magic("xmode", "Verbose")
    try:
        assert "registry.py" in shown(shell, "wb.connect('none')", capsys)
    finally:
        shell.run_line_magic("xmode", "Context")


def test_other_errors_and_plain_python_are_not_changed(
    shell: InteractiveShell, capsys: pytest.CaptureFixture[str]
) -> None:
    shell.user_ns["ours"] = _calls_back
    out = shown(shell, "ours(lambda: 1 / 0)", capsys)
    assert "test_tracebacks.py" in out
    assert inspect.getfile(wb) in out
    with pytest.raises(ServingError) as caught:
        wb.connect("none")
    assert "registry.py" in "".join(traceback.format_exception(caught.value))
