"""`workbench lab`: JupyterLab, open on the labs and the quickstart, with a model being served."""

from __future__ import annotations

import argparse
import contextlib
import importlib.util
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import workbench
from workbench.cli.arguments import Commands, add_command
from workbench.core.status import ServingError, failed_precondition
from workbench.facade import serve
from workbench.samples.labs import NUMBERED, QUICKSTART

EXAMPLE = "digits-example"
_STOP_SECONDS = 15.0


def add(commands: Commands) -> None:
    """Add `workbench lab`."""
    one = add_command(commands, "lab", "open JupyterLab on the labs and the quickstart", _run)
    one.add_argument("--folder", default=".", help="JupyterLab's folder (default: this one)")
    one.add_argument("--no-browser", action="store_true", help="print the address only")
    one.add_argument("--no-example", action="store_true", help="serve no example model")
    one.add_argument("--port", type=int, help="JupyterLab's port")


def _run(arguments: argparse.Namespace) -> int:
    """Run JupyterLab until it ends or Ctrl-C. The example's server ends with it."""
    if importlib.util.find_spec("jupyterlab") is None:
        raise failed_precondition(
            "JupyterLab is not installed: pip install 'serving-workbench[lab]'"
        )
    folder = Path(arguments.folder).resolve()
    notebook = _quickstart(folder)
    command = [
        sys.executable,
        "-m",
        "jupyterlab",
        f"--ServerApp.root_dir={folder}",
        f"--LabApp.default_url=/lab/tree/{notebook.relative_to(folder).as_posix()}",
        "--WorkbenchExtension.open_welcome=True",
    ]
    if arguments.no_browser:
        command.append("--no-browser")
    if arguments.port is not None:
        command += [f"--ServerApp.port={arguments.port}", "--ServerApp.port_retries=0"]
    if hasattr(os, "getuid") and os.getuid() == 0:
        command.append("--allow-root")
    # A session of its own: Ctrl-C comes to us, and JupyterLab ends without asking.
    process = subprocess.Popen(command, start_new_session=True)
    before = signal.signal(signal.SIGTERM, signal.default_int_handler)
    with contextlib.ExitStack() as cleanup:
        cleanup.callback(signal.signal, signal.SIGTERM, before)
        cleanup.callback(_end, process)
        if not arguments.no_example:
            _serve_example(cleanup)
        with contextlib.suppress(KeyboardInterrupt):
            process.wait()
    return 0


def find_notebooks(folder: Path) -> Path | None:
    """The folder with the labs: `folder` or its folder `notebooks`; None if neither has them."""
    places = (folder / "notebooks", folder)
    return next((place for place in places if (place / QUICKSTART).exists()), None)


def _quickstart(folder: Path) -> Path:
    found = find_notebooks(folder)
    if found is not None:
        return found / QUICKSTART
    # An installed package contains the notebooks; the reader works on copies.
    shipped = Path(workbench.__file__).parent / "notebooks"
    if not (shipped / QUICKSTART).exists():
        raise failed_precondition(f"This installation has no {QUICKSTART}")
    target = folder / "notebooks"
    target.mkdir(exist_ok=True)
    for path in [*shipped.glob(NUMBERED), *shipped.glob("README.md")]:
        if not (target / path.name).exists():
            shutil.copy(path, target)
    return target / QUICKSTART


def _serve_example(cleanup: contextlib.ExitStack) -> None:
    """Serve a model to look at, in the Running panel, before the first cell is run."""
    try:
        from workbench.samples.digits import train_digits

        server = serve(train_digits(), EXAMPLE)
    except (ServingError, ImportError) as error:
        print(f"workbench: the example model cannot be served: {error}", file=sys.stderr)
        return
    cleanup.callback(server.stop)
    print(f"{server.outcome}\nPress Ctrl-C to stop JupyterLab and the example.", flush=True)


def _end(process: subprocess.Popen[bytes]) -> None:
    if process.poll() is not None:
        return
    process.terminate()
    try:
        process.wait(_STOP_SECONDS)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait(_STOP_SECONDS)
