"""%serve and %%serve in a real IPython shell."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from IPython.core.error import UsageError
from IPython.core.interactiveshell import InteractiveShell
from IPython.utils.capture import capture_output
from jupyter_client.manager import KernelManager

from workbench import load_ipython_extension
from workbench.client.outcomes import Launched, Published, Reused
from workbench.facade import Server

pytestmark = pytest.mark.timeout(120)

_WIDGET = "application/vnd.jupyter.widget-view+json"
_SHOWN = ("display_data", "update_display_data", "execute_result")


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
    with capture_output() as captured:
        assert shell.run_line_magic("serve", "path --name half") is None
    assert "Version 2 of half would break the callers of version 1: " in captured.stdout
    assert captured.stdout.endswith(": give it another --name, or add --allow-signature-change\n")
    with capture_output():
        changed = shell.run_line_magic("serve", "path --name half --allow-signature-change")
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
        "has no saved_model.pb), nor a .keras file, nor a folder of numbered versions (it has no "
        "folder named '1')\n"
    )
    assert "server" not in shell.user_ns


def test_a_model_that_does_not_load_shows_its_processs_own_error(
    shell: InteractiveShell, models: Path
) -> None:
    shell.user_ns["path"] = str(models / "bad_graph")
    with capture_output() as captured:
        assert shell.run_line_magic("serve", "path --name bad") is None
    waiting, told = captured.stdout.split("\n", 1)
    assert waiting == "Serving bad ..."
    assert told.startswith(
        "bad is not served: Version 1 of bad did not load: Op type not registered "
        "'NoSuchOperation' in "
    )
    assert "server" not in shell.user_ns


def test_in_a_real_kernel_the_outcome_takes_the_place_of_the_waiting(
    tmp_path: Path, models: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("JUPYTER_RUNTIME_DIR", str(tmp_path / "runtime"))
    monkeypatch.setenv("IPYTHONDIR", str(tmp_path / "ipython"))
    monkeypatch.delenv("JPY_PARENT_PID", raising=False)
    manager = KernelManager(kernel_name="python3")
    manager.start_kernel()
    client = manager.client()
    client.start_channels()
    try:
        client.wait_for_ready(timeout=60)

        def run(code: str) -> list[tuple[str, str]]:
            """Kind and text of what a cell shows."""
            shown = []

            def keep(message: Any) -> None:
                kind, content = message["msg_type"], message["content"]
                if kind in _SHOWN:
                    if _WIDGET in content["data"]:
                        kind = "widget"
                    html = content["data"].get("text/html", "")
                    text = re.sub(r"<style>.*?</style>", "", html, flags=re.S)
                    text = re.sub(r"<[^>]+>", "", text.replace("<pre", "\n<pre"))
                    shown.append((kind, text or content["data"]["text/plain"]))
                elif kind in ("stream", "error"):
                    shown.append((kind, content.get("text") or content["evalue"]))

            reply = client.execute_interactive(code, timeout=90, output_hook=keep)
            assert reply["content"]["status"] == "ok", shown
            return shown

        assert run("%load_ext workbench") == []
        good, bad = str(models / "half_plus_two"), str(models / "bad_graph")
        shown = run(f"%%serve --name half\nmodel = {good!r}\nmodel")
        # The last two are the server: its live card, and what of it outlives the kernel.
        assert [kind for kind, _ in shown] == [
            "display_data", "update_display_data", "widget", "display_data",
        ]  # fmt: skip
        assert shown[0][1] == "Serving half ..."
        assert shown[1][1].startswith("Serving half at http://127.0.0.1:")
        # A page without widgets shows the second one alone.
        assert shown[2][1] == ""
        assert shown[1][1] in shown[3][1]
        shown = run("%serve model --name half --transition unload_first")
        assert shown[1][1].endswith(
            ": it runs already and the model is the same\n"
            "transition changed from smooth to unload_first"
        )
        shown = run(f"bad = {bad!r}\n%serve bad --name bad")
        assert [kind for kind, _ in shown] == ["display_data", "update_display_data"]
        assert "bad is not served: Version 1 of bad did not load: " in shown[1][1]
        assert run("server.stop()") == []
    finally:
        client.stop_channels()
        manager.shutdown_kernel(now=True)
    assert [p.name for p in (tmp_path / "runtime").iterdir() if "half" in p.name] == []


def test_wrong_calls_say_how(shell: InteractiveShell) -> None:
    with pytest.raises(UsageError, match="Name the model"):
        shell.run_line_magic("serve", "")
    with pytest.raises(UsageError, match="last line must be the model"):
        shell.run_cell_magic("serve", "--name m", "x = 1")
    with pytest.raises(ZeroDivisionError), capture_output():
        shell.run_cell_magic("serve", "--name m", "x = 1 / 0\nx")
