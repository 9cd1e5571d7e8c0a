"""%serve and %%serve in a real IPython shell."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from IPython.core.error import UsageError
from IPython.core.interactiveshell import InteractiveShell
from IPython.utils.capture import capture_output

from workbench import load_ipython_extension
from workbench.client.outcomes import Launched, Published, Reused
from workbench.client.server import Server

pytestmark = pytest.mark.timeout(120)


@pytest.fixture
def shell(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[InteractiveShell]:
    monkeypatch.setenv("JUPYTER_RUNTIME_DIR", str(tmp_path / "runtime"))
    monkeypatch.setenv("IPYTHONDIR", str(tmp_path / "ipython"))
    shell = InteractiveShell()
    load_ipython_extension(shell)
    yield shell
    server = shell.user_ns.get("server")
    if isinstance(server, Server):
        server.stop()
    shell.history_manager.end_session()


def test_a_cell_is_served_reused_and_published(shell: InteractiveShell, models: Path) -> None:
    shell.user_ns["path"] = str(models / "half_plus_two")
    with capture_output() as captured:
        server = shell.run_cell_magic("serve", "--name half", "é = 1; other = path; other")
    assert isinstance(server, Server)
    assert server.outcome == Launched("half", server.url)
    assert shell.user_ns["server"] is server
    assert captured.stdout == f"Serving half ...\nServing half at {server.url}\n"

    with capture_output():
        again = shell.run_cell_magic("serve", "--name half", "path")
    assert again.outcome == Reused("half", server.url)

    shell.user_ns["path"] = str(models / "multi")
    with capture_output():
        changed = shell.run_line_magic("serve", "path --name half")
    assert isinstance(changed.outcome, Published)
    assert changed.outcome.version == 2
    assert changed.outcome.changes[0].startswith("signature ")
    assert changed.outcome.changes[-1].startswith("size on disk ")


def test_a_failure_is_shown_and_not_raised(shell: InteractiveShell, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    shell.user_ns["path"] = str(tmp_path / "empty")
    with capture_output() as captured:
        assert shell.run_line_magic("serve", "path --name nothing") is None
    assert captured.stdout == (
        f"Serving nothing ...\nnothing is not served: {tmp_path}/empty is neither a SavedModel (it "
        "has no saved_model.pb) nor a folder of numbered versions (it has no folder named '1')\n"
    )
    assert "server" not in shell.user_ns


def test_wrong_calls_say_how(shell: InteractiveShell) -> None:
    with pytest.raises(UsageError, match="Which model"):
        shell.run_line_magic("serve", "")
    with pytest.raises(UsageError, match="last line must be the model"):
        shell.run_cell_magic("serve", "--name m", "x = 1")
    with pytest.raises(ZeroDivisionError), capture_output():
        shell.run_cell_magic("serve", "--name m", "x = 1 / 0\nx")
