"""`workbench lab`: JupyterLab, open on the labs and the quickstart, with a model being served.

Several may run beside each other. Each ends what it started itself, and nothing else.
"""

from __future__ import annotations

import argparse
import contextlib
import importlib.util
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
from pathlib import Path

from workbench.cli.arguments import Commands, add_command
from workbench.core.status import ServingError, failed_precondition, invalid_argument
from workbench.facade import connect, serve
from workbench.processes import registry
from workbench.processes.lifetime import ProcessId
from workbench.samples.labs import NUMBERED, QUICKSTART, shipped

EXAMPLE = "digits-example"
_STOP_SECONDS = 15.0
_LOOK_SECONDS = 0.5
"""The time between two looks whether JupyterLab still runs, while the example is trained."""


def add(commands: Commands) -> None:
    """Add `workbench lab`."""
    one = add_command(
        commands,
        "lab",
        "open JupyterLab on the labs and the quickstart",
        _run,
        example="workbench lab --folder ~/course --no-example",
    )
    one.add_argument("--folder", default=".", help="JupyterLab's folder (default: this one)")
    one.add_argument("--no-browser", action="store_true", help="print the address only")
    one.add_argument("--no-example", action="store_true", help="serve no example model")
    one.add_argument("--port", type=int, help="JupyterLab's port (default: 8888 or a free one)")


def _run(arguments: argparse.Namespace) -> int:
    """Run JupyterLab until it ends or Ctrl-C. The example's server ends with it."""
    if importlib.util.find_spec("jupyterlab") is None:
        raise failed_precondition(
            "JupyterLab is not installed: pip install 'serving-workbench[lab]'"
        )
    if arguments.port is not None:
        _check_port(arguments.port)
    folder = Path(arguments.folder).resolve()
    if not folder.is_dir():
        raise invalid_argument(
            f"There is no folder {folder}: make it, or give another one with --folder"
        )
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
    status = 0
    with contextlib.ExitStack() as cleanup:
        before = signal.signal(signal.SIGTERM, signal.default_int_handler)
        cleanup.callback(signal.signal, signal.SIGTERM, before)
        # A session of its own: Ctrl-C comes to us, and JupyterLab ends without asking.
        process = subprocess.Popen(command, start_new_session=True)
        cleanup.callback(_end, process)
        with contextlib.suppress(KeyboardInterrupt):
            if not arguments.no_example:
                cleanup.callback(_stop_example)
                print(_serve_example(process), flush=True)
            status = process.wait()
    if status:
        raise failed_precondition(f"JupyterLab ended with status {status}: its lines above say why")
    return 0


def find_notebooks(folder: Path) -> Path | None:
    """The folder with the labs: `folder` or its folder `notebooks`; None if neither has them."""
    places = (folder / "notebooks", folder)
    return next((place for place in places if (place / QUICKSTART).exists()), None)


def _check_port(port: int) -> None:
    """Refuse a port that JupyterLab could not listen on, before anything is started."""
    cure = "choose another with --port, or leave --port out"
    if not 0 < port < 2**16:
        raise invalid_argument(f"--port must be a number from 1 to 65535; was {port}: {cure}")
    try:
        # As JupyterLab does, on the address that it has by default.
        socket.create_server(("127.0.0.1", port)).close()
    except OSError as error:
        raise failed_precondition(
            f"Port {port} cannot be used ({os.strerror(error.errno or 0)}): {cure}"
        ) from error


def _quickstart(folder: Path) -> Path:
    found = find_notebooks(folder)
    if found is not None:
        return found / QUICKSTART
    if not (shipped() / QUICKSTART).exists():
        raise failed_precondition(
            f"This installation has no {QUICKSTART}: install serving-workbench again, or give the "
            "folder of a clone of the project with --folder"
        )
    # The reader works on copies.
    target = folder / "notebooks"
    try:
        target.mkdir(exist_ok=True)
        for path in [*shipped().glob(NUMBERED), *shipped().glob("README.md")]:
            if not (target / path.name).exists():
                shutil.copy(path, target)
    except OSError as error:
        raise failed_precondition(
            f"The labs cannot be copied to {target} ({error.strerror}): give a folder that you may "
            "write to with --folder"
        ) from error
    return target / QUICKSTART


def _serve_example(lab: subprocess.Popen[bytes]) -> str:
    """Serve a model to look at, in the Running panel, before the first cell is run. Returns a line
    or two for the terminal."""
    stop = "Press Ctrl-C to stop JupyterLab"
    there = _there()
    if there is None:
        try:
            with tempfile.TemporaryDirectory(prefix="workbench-lab-") as folder:
                model = _train(Path(folder), lab)
                if model is None:
                    return "JupyterLab has ended, so no example is served."
                # While this one was trained, another `workbench lab` may have served its own.
                there = _there()
                if there is None:
                    return f"{serve(model, EXAMPLE).outcome}\n{stop} and the example."
        except ServingError as error:
            return f"The example model cannot be served: {error}\n{stop}."
    return (
        f"{EXAMPLE} is served already, at {there.address}: this JupyterLab shows it, and leaves "
        f"it running.\n{stop}."
    )


def _there() -> registry.Entry | None:
    return registry.read(EXAMPLE)


def _train(folder: Path, lab: subprocess.Popen[bytes]) -> Path | None:
    """Train the example in a process that ends, because TensorFlow would stay in this one's memory.
    Returns its SavedModel, or None if JupyterLab ended meanwhile."""
    model = folder / EXAMPLE
    command = [sys.executable, "-m", "workbench.samples.train_example", str(model)]
    with subprocess.Popen(
        command, stdin=subprocess.DEVNULL, stderr=subprocess.PIPE, start_new_session=True
    ) as process:
        try:
            while lab.poll() is None:
                try:
                    _, said = process.communicate(timeout=_LOOK_SECONDS)
                except subprocess.TimeoutExpired:
                    continue
                if process.returncode:
                    last = (said.decode(errors="replace").strip() or "no reason").splitlines()[-1]
                    raise failed_precondition(f"it cannot be trained: {last}")
                return model
            return None
        finally:
            _end(process)


def _stop_example() -> None:
    """Stop the example's server if this process started it; it may be another's of that name."""
    there = _there()
    if there is not None and there.owner == ProcessId.me():
        connect(EXAMPLE).stop()


def _end(process: subprocess.Popen[bytes]) -> None:
    if process.poll() is not None:
        return
    process.terminate()
    try:
        process.wait(_STOP_SECONDS)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait(_STOP_SECONDS)
