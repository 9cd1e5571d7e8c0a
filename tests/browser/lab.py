"""A real JupyterLab of its own, and what a test does with its page."""

from __future__ import annotations

import json
import os
import re
import secrets
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

from playwright.sync_api import Locator, Page

from tests.children import WITH_TEST

START_SECONDS = 60.0
_STOP_SECONDS = 20.0
_OPEN_MS = 60_000
LIGHT, DARK = "JupyterLab Light", "JupyterLab Dark"
SCREENSHOTS = Path(__file__).parents[2] / "out" / "screenshots"

# Neither news nor updates: nothing beyond this machine is asked, and no popup covers the page.
_SETTINGS = {
    "apputils-extension/notification": {"fetchNews": "false", "checkForUpdates": False},
}


_NOTE_OPENED_PATH = """
const waiting = setInterval(() => {
    if (window.jupyterapp === undefined) {
        return;
    }
    clearInterval(waiting);
    jupyterapp.commands.commandExecuted.connect((_, { id, result }) => {
        if (id === 'filebrowser:open-path') {
            void result.then(() => { window.pathIsOpen = true; });
        }
    });
}, 5);
"""


class Lab:
    """A JupyterLab that shares nothing with the user's: home, settings, runtime, port, token.

    Attributes:
        root: the folder whose files it shows.
        environ: its environment; a process with the same one sees the same model servers.
        url: where it is, ending in a slash.
    """

    def __init__(self, folder: Path) -> None:
        self.root = folder / "files"
        self.log = folder / "lab.log"
        self.token = secrets.token_hex(16)
        self.port = _free_port()
        self.url = f"http://127.0.0.1:{self.port}/"
        homes = {
            "HOME": folder / "home",
            "JUPYTER_CONFIG_DIR": folder / "config",
            "JUPYTER_DATA_DIR": folder / "data",
            "JUPYTER_RUNTIME_DIR": folder / "runtime",
            "IPYTHONDIR": folder / "ipython",
        }
        for path in (self.root, *homes.values()):
            path.mkdir(parents=True, exist_ok=True)
        self.environ = {k: v for k, v in os.environ.items() if not k.startswith(("JUPYTER", "JPY"))}
        self.environ.update({name: str(path) for name, path in homes.items()})
        self.environ.update(CUDA_VISIBLE_DEVICES="", TF_CPP_MIN_LOG_LEVEL="2")
        self._settings = folder / "settings"
        for name, values in _SETTINGS.items():
            path = self._settings / "@jupyterlab" / f"{name}.jupyterlab-settings"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(json.dumps(values))
        self._workspaces = folder / "workspaces"
        # The extension as it is built in this tree, which need not be the one that is installed.
        self._extensions = folder / "labextensions"
        self._extensions.mkdir(exist_ok=True)
        built = Path(__file__).parents[2] / "workbench" / "labextension"
        (self._extensions / "serving-workbench-lab").symlink_to(built)
        self._process: subprocess.Popen[bytes] | None = None

    def start(self, **options: Any) -> None:
        """Start it and wait until it answers; `options` are further ``--Class.trait=value``, with
        two underscores for the dot."""
        settings = {
            "ServerApp__ip": "127.0.0.1",
            "ServerApp__port": self.port,
            "ServerApp__port_retries": 0,
            "ServerApp__root_dir": self.root,
            "ServerApp__open_browser": False,
            "ServerApp__allow_root": True,
            "IdentityProvider__token": self.token,
            "LabApp__expose_app_in_browser": True,
            "JupyterNotebookApp__expose_app_in_browser": True,
            "LabApp__workspaces_dir": self._workspaces,
            "LabApp__user_settings_dir": self._settings,
            "LabApp__extra_labextensions_path": self._extensions,
            **options,
        }
        command = [*WITH_TEST, sys.executable, "-m", "jupyterlab"]
        command += [f"--{name.replace('__', '.')}={value}" for name, value in settings.items()]
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(
                command, env=self.environ, stdout=log, stderr=log, start_new_session=True
            )
        end = time.monotonic() + START_SECONDS
        while not self._answers():
            assert self._process.poll() is None, self.log.read_text()
            assert time.monotonic() < end, self.log.read_text()
            time.sleep(0.1)

    def stop(self) -> None:
        """End it, as a service manager would."""
        if self._process is None:
            return
        self._process.send_signal(signal.SIGTERM)
        try:
            self._process.wait(_STOP_SECONDS)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait(_STOP_SECONDS)
        self._process = None

    def run(self, code: str, timeout: float = 100.0) -> str:
        """Run Python as the user of this JupyterLab would in a terminal; its output."""
        done = subprocess.run(
            [sys.executable, "-c", code],
            env=self.environ,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            timeout=timeout,
            text=True,
        )
        assert done.returncode == 0, done.stdout
        return done.stdout

    def open(self, page: Page, workspace: str = "test", path: str = "") -> None:
        """Open it in an empty workspace (at a file's `path`), and wait until it is all there."""
        tree = f"/tree/{path}" if path else ""
        page.add_init_script(_NOTE_OPENED_PATH)
        page.goto(f"{self.url}lab/workspaces/{workspace}{tree}?reset&token={self.token}")
        # Before the page's code has run there is no splash screen either.
        page.wait_for_function("() => window.jupyterapp !== undefined", timeout=_OPEN_MS)
        page.locator("#jupyterlab-splash").wait_for(state="detached", timeout=_OPEN_MS)
        page.evaluate("async () => { await jupyterapp.restored; }")
        if path:
            # JupyterLab brings this file to the front a while after all is there.
            page.wait_for_function("() => window.pathIsOpen", timeout=_OPEN_MS)
        else:
            page.locator(".jp-LauncherCard").first.wait_for()

    def workspace(self, name: str) -> str:
        """What JupyterLab has kept of a workspace's layout, as text; empty where it has not yet."""
        kept = [path.read_text() for path in self._workspaces.glob("*.jupyterlab-workspace")]
        return next((text for text in kept if json.loads(text)["metadata"]["id"] == name), "")

    def _answers(self) -> bool:
        request = urllib.request.Request(
            f"{self.url}api/status", headers={"Authorization": f"token {self.token}"}
        )
        try:
            with urllib.request.urlopen(request, timeout=5) as answer:
                return bool(answer.status == 200)
        except urllib.error.HTTPError as error:
            error.close()
            return False
        except OSError:
            return False


def execute(page: Page, command: str, args: Mapping[str, Any] | None = None) -> None:
    """Execute one of JupyterLab's commands and wait for its end."""
    page.evaluate(
        "async ([command, args]) => { await jupyterapp.commands.execute(command, args); }",
        [command, dict(args or {})],
    )


def wait_for_kernel(page: Page) -> None:
    """Wait until the kernel of the notebook in front answers: a run asked for before is lost."""
    page.evaluate(
        """async () => {
            const { context, sessionContext } = jupyterapp.shell.currentWidget;
            await context.ready;
            await sessionContext.ready;
            await sessionContext.session.kernel.info;
        }"""
    )


def set_theme(page: Page, theme: str) -> None:
    execute(page, "apputils:change-theme", {"theme": theme})
    page.locator(f"body[data-jp-theme-name='{theme}']").wait_for(state="attached")


def open_running(page: Page) -> Locator:
    """The Running panel's section of model servers, with the panel open."""
    execute(page, "tabsmenu:activate-by-id", {"id": "jp-running-sessions"})
    panel = page.locator("#jp-running-sessions")
    title = panel.get_by_role("heading", name=re.compile("^model servers", re.IGNORECASE))
    title.wait_for()
    return page.locator(".jp-RunningSessions-section", has=page.locator(".wb-RunningServer"))


def screenshot(page: Page, name: str, theme: Literal["light", "dark"], **options: Any) -> Path:
    """Take a picture of the page under one of the two themes; it lies in `out/screenshots`."""
    set_theme(page, LIGHT if theme == "light" else DARK)
    # Nothing may be half way through a transition, and no notice may cover the page.
    page.wait_for_function("() => document.getAnimations().every(a => a.playState !== 'running')")
    SCREENSHOTS.mkdir(parents=True, exist_ok=True)
    path = SCREENSHOTS / f"{name}-{theme}.png"
    page.screenshot(path=path, **options)
    return path


def _free_port() -> int:
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        port: int = sock.getsockname()[1]
        return port
