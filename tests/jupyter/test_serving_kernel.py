"""The serving kernel under a real Jupyter Server: started, killed, restarted, left idle, ended.

One Jupyter Server, which culls idle kernels after five seconds, serves the whole module.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import threading
import time
import urllib.request
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from jupyter_client.blocking import BlockingKernelClient

import workbench as wb
from tests.children import WITH_TEST
from workbench.client.outcomes import Launched
from workbench.core.status import Code, ServingError
from workbench.facade import Server
from workbench.processes import jupyter_launcher, registry
from workbench.processes.jupyter_launcher import JupyterLauncher

pytestmark = pytest.mark.timeout(180)

MARK = "WORKBENCH_SERVING_KERNEL_TEST"
RETURN_SECONDS = 10.0
GONE_SECONDS = 5.0
KERNELS = Path(__file__).parents[2] / "data" / "kernels"
X = np.array([1.0, 2.0], np.float32)
Y = [2.5, 3.0]


@dataclass
class Jupyter:
    process: subprocess.Popen[bytes]
    url: str
    runtime: Path
    start_seconds: float = 0.0
    """What the module's server took to start."""

    def api(self, method: str, path: str, body: Any = None) -> Any:
        request = urllib.request.Request(
            f"{self.url}api/{path}",
            data=None if body is None else json.dumps(body).encode(),
            method=method,
            headers={"Authorization": "token for-tests"},
        )
        with urllib.request.urlopen(request, timeout=30) as response:
            text = response.read()
        return json.loads(text) if text else None


def start_jupyter(folder: Path) -> Jupyter:
    runtime = folder / "runtime"
    environment = {
        **os.environ,
        # Everything that Jupyter starts has it in its environment.
        MARK: str(folder),
        "HOME": str(folder),
        "JUPYTER_RUNTIME_DIR": str(runtime),
        "JUPYTER_CONFIG_DIR": str(folder / "config"),
        "JUPYTER_DATA_DIR": str(folder / "data"),
        # The kernelspec as it lies in the source tree, whatever is installed.
        "JUPYTER_PATH": str(KERNELS.parent),
    }
    with (folder / "jupyter.log").open("wb") as log:
        process = subprocess.Popen(
            [
                *WITH_TEST,
                sys.executable,
                "-m",
                "jupyter_server",
                "--allow-root",
                "--no-browser",
                "--ServerApp.port=0",
                f"--ServerApp.root_dir={folder}",
                "--IdentityProvider.token=for-tests",
                "--MappingKernelManager.cull_idle_timeout=5",
                "--MappingKernelManager.cull_interval=1",
            ],
            env=environment,
            stdout=log,
            stderr=log,
            start_new_session=True,
        )
    end = time.monotonic() + 30
    while time.monotonic() < end:
        for path in runtime.glob("jpserver-*.json"):
            # The file may be half written, and is there before the server answers.
            try:
                jupyter = Jupyter(process, json.loads(path.read_text())["url"], runtime)
                jupyter.api("GET", "kernels")
                return jupyter
            except (ValueError, KeyError, OSError):
                pass
        time.sleep(0.05)
    process.kill()
    raise AssertionError((folder / "jupyter.log").read_text())


@pytest.fixture(scope="module")
def jupyter(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Jupyter]:
    folder = tmp_path_factory.mktemp("jupyter")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("JUPYTER_RUNTIME_DIR", str(folder / "runtime"))
        running = start_jupyter(folder)
        patch.setenv("JPY_PARENT_PID", str(running.process.pid))
        yield running
        running.process.terminate()
        running.process.wait(20)


@pytest.fixture(scope="module")
def served(jupyter: Jupyter, models: Path) -> Iterator[Server]:
    started = time.monotonic()
    server = wb.serve(
        str(models / "half_plus_two"), "half", launcher=JupyterLauncher.of_this_process()
    )
    jupyter.start_seconds = time.monotonic() - started
    yield server
    server.stop()


def until(holds: Callable[[], bool], what: str, seconds: float) -> None:
    end = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < end, f"waited {seconds} s in vain until {what}"
        time.sleep(0.05)


def answers(server: Server) -> bool:
    try:
        return server.predict(X).tolist() == Y  # type: ignore[union-attr]
    except ServingError as error:
        if error.code not in (Code.UNAVAILABLE, Code.NOT_FOUND):
            raise
        return False


def test_jupyter_lists_it_by_the_servers_name(jupyter: Jupyter, served: Server) -> None:
    (session,) = jupyter.api("GET", "sessions")
    assert (session["name"], session["kernel"]["name"]) == ("half", "workbench-serving")
    entry = registry.find("half")
    assert entry.kernel_id == session["kernel"]["id"]
    assert served.outcome == Launched("half", served.url)
    assert answers(served)


def test_the_same_models_on_the_same_port_after_a_kill(jupyter: Jupyter, served: Server) -> None:
    before = registry.find("half")
    os.kill(before.supervisor.pid, signal.SIGKILL)
    until(lambda: not before.server.alive(), "the server process has noticed", 5)
    until(lambda: answers(served), "it answers again", 20)
    after = registry.find("half")
    assert (after.port, after.token, after.kernel_id) == (
        before.port,
        before.token,
        before.kernel_id,
    )
    assert after.supervisor != before.supervisor


def test_the_same_models_on_the_same_port_after_a_restart(jupyter: Jupyter, served: Server) -> None:
    """Under load: callers of the moment before are answered, new ones wait for the next process."""
    served.publish(served.base_path / "1")
    served.version_policy = "all"
    served.wait_for(1)
    before = registry.find("half")
    with callers(served) as errors:
        jupyter.api("POST", f"kernels/{before.kernel_id}/restart")
        # One deadline for all that has to come back. The new zygote imports TensorFlow first, which
        # on a machine that is busy takes as long as the first start did.
        end = time.monotonic() + max(RETURN_SECONDS, 2 * jupyter.start_seconds)
        until(lambda: answers(served), "it answers again", end - time.monotonic())
        until(lambda: available(served) == [2, 1], "both versions are back", end - time.monotonic())
    assert errors == []
    after = registry.find("half")
    assert (after.port, after.grpc_port, after.token) == (
        before.port,
        before.grpc_port,
        before.token,
    )
    assert after.server != before.server


def available(server: Server) -> list[int]:
    try:
        return server.versions.available
    except ServingError:
        return []


@contextlib.contextmanager
def callers(server: Server) -> Iterator[list[BaseException]]:
    """Four callers, for a while; what has gone wrong for them, but for being told that the server
    is not there just now."""
    stop = threading.Event()
    errors: list[BaseException] = []

    def call() -> None:
        while not stop.is_set():
            try:
                answers(server)
            except BaseException as error:
                errors.append(error)
            # Refused at once, they would take the cores that the server needs to come back.
            time.sleep(0.01)

    threads = [threading.Thread(target=call) for _ in range(4)]
    for thread in threads:
        thread.start()
    try:
        yield errors
    finally:
        stop.set()
        for thread in threads:
            thread.join(70)
    assert not any(thread.is_alive() for thread in threads)


@pytest.mark.slow
def test_it_is_not_culled_where_other_kernels_are(jupyter: Jupyter, served: Server) -> None:
    """Neither with callers nor without: the server's kernel sees nothing of its traffic."""
    for calling in (callers(served), contextlib.nullcontext([])):
        other = jupyter.api("POST", "kernels", {"name": "python3"})
        server = registry.find("half").server
        with calling as errors:
            until(
                lambda: other["id"] not in [k["id"] for k in jupyter.api("GET", "kernels")],  # noqa: B023
                "the idle Python kernel is culled",
                30,
            )
        assert errors == []
        entry = registry.find("half")
        assert entry.kernel_id in [k["id"] for k in jupyter.api("GET", "kernels")]
        assert entry.server == server
        assert answers(served)


def test_a_busy_console_disturbs_nobody_and_can_be_interrupted(
    jupyter: Jupyter, served: Server
) -> None:
    kernel_id = registry.find("half").kernel_id
    console = BlockingKernelClient()
    console.load_connection_file(str(jupyter.runtime / f"kernel-{kernel_id}.json"))
    console.start_channels()
    try:
        printed: list[str] = []

        def keep(message: Any) -> None:
            if message["msg_type"] == "stream":
                printed.append(message["content"]["text"])

        reply = console.execute_interactive(
            "print(server.model, wb.__name__)", timeout=30, output_hook=keep
        )
        assert reply["content"]["status"] == "ok"
        assert "".join(printed) == "half workbench\n"

        busy = console.execute("print('begun', flush=True)\nwhile True: pass")
        # An interrupt that comes before the loop would be lost.
        while console.get_iopub_msg(timeout=30)["content"].get("text") != "begun\n":
            pass
        assert answers(served)
        jupyter.api("POST", f"kernels/{kernel_id}/interrupt")
        while (reply := console.get_shell_msg(timeout=30))["parent_header"].get("msg_id") != busy:
            pass
        assert reply["content"]["ename"] == "KeyboardInterrupt"
    finally:
        console.stop_channels()


def test_a_failed_start_shows_the_kernels_own_reason(jupyter: Jupyter, models: Path) -> None:
    taken = registry.find("half").port
    with pytest.raises(ServingError) as caught:
        wb.serve(
            str(models / "half_plus_two"),
            "taken",
            port=taken,
            launcher=JupyterLauncher.of_this_process(),
        )
    assert caught.value == ServingError(
        Code.FAILED_PRECONDITION,
        f"Port {taken} of 127.0.0.1 cannot be used: Address already in use. Choose another port, "
        "or 0 to let the system choose.",
    )
    assert [s["name"] for s in jupyter.api("GET", "sessions")] == ["half"]
    assert not jupyter_launcher.request_path("taken").exists()


def test_no_jupyter_server_of_ours(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("JPY_PARENT_PID", raising=False)
    with pytest.raises(ServingError, match="not started by a Jupyter Server"):
        JupyterLauncher.of_this_process()
    monkeypatch.setenv("JPY_PARENT_PID", "1")
    with pytest.raises(ServingError, match="no running Jupyter Server has pid 1"):
        JupyterLauncher.of_this_process()


def test_a_kernel_started_by_hand_keeps_its_server_over_a_restart(jupyter: Jupyter) -> None:
    # No server can have this session's name, so it gets one of its kernel's id.
    session = jupyter.api(
        "POST",
        "sessions",
        {
            "name": "My notes.ipynb",
            "path": "My notes.ipynb",
            "type": "notebook",
            "kernel": {"name": "workbench-serving"},
        },
    )
    kernel_id = session["kernel"]["id"]
    name = f"server-{kernel_id[:8]}"
    until(lambda: registry.read(name) is not None, "its server is there", 20)
    before = registry.find(name)
    assert before.kernel_id == kernel_id
    jupyter.api("POST", f"kernels/{kernel_id}/restart")
    until(lambda: registry.read(name) not in (None, before), "its server is there again", 20)
    after = registry.find(name)
    assert (after.kernel_id, after.port, after.token) == (kernel_id, before.port, before.token)
    jupyter.api("DELETE", f"sessions/{session['id']}")
    assert not [p for p in jupyter.runtime.iterdir() if name in p.name]


def test_a_server_that_ends_of_itself_takes_its_kernel_along(
    jupyter: Jupyter, models: Path
) -> None:
    server = wb.serve(
        str(models / "half_plus_two"),
        "fleeting",
        launcher=JupyterLauncher.of_this_process(),
        idle_seconds=1.0,
    )
    kernel_id = registry.find("fleeting").kernel_id
    until(
        lambda: kernel_id not in [k["id"] for k in jupyter.api("GET", "kernels")],
        "the idle server's kernel is gone",
        20,
    )
    assert not server.running
    assert not [p for p in jupyter.runtime.iterdir() if "fleeting" in p.name]


def test_stopping_ends_the_kernel_and_leaves_nothing(jupyter: Jupyter, models: Path) -> None:
    server = wb.serve(
        str(models / "half_plus_two"), "brief", launcher=JupyterLauncher.of_this_process()
    )
    entry = registry.find("brief")
    server.stop()
    assert entry.kernel_id not in [k["id"] for k in jupyter.api("GET", "kernels")]
    assert not entry.server.alive()
    assert not Path(entry.folder).exists()
    assert not [p for p in jupyter.runtime.iterdir() if "brief" in p.name]


def test_a_stop_in_the_middle_of_a_run_leaves_nothing(
    jupyter: Jupyter, models: Path, tmp_path: Path
) -> None:
    """The server drains for longer than Jupyter waits before it sends SIGTERM."""
    server = wb.serve(str(models / "slow"), "endless", launcher=JupyterLauncher.of_this_process())
    entry = registry.find("endless")
    caller = threading.Thread(target=swallow, args=(server,))
    caller.start()
    until(lambda: server.control.describe_server()["outstanding"] == 1, "it is asked", 20)
    jupyter.api("DELETE", f"kernels/{entry.kernel_id}")
    caller.join(20)
    until(lambda: not entry.server.alive(), "the server process is gone", 5)
    until(
        lambda: not [p for p in jupyter.runtime.iterdir() if "endless" in p.name],
        "its files are gone",
        5,
    )


def swallow(server: Server) -> None:
    """Ask for some minutes of work, which will be cut off."""
    with contextlib.suppress(ServingError):
        server.predict({"x": np.zeros(1, np.float32), "steps": [1_000_000]})


@pytest.mark.parametrize(
    "how",
    [signal.SIGKILL, pytest.param(signal.SIGTERM, marks=pytest.mark.slow)],
    ids=["killed", "terminated"],
)
def test_everything_ends_with_the_jupyter_server(
    tmp_path: Path, models: Path, monkeypatch: pytest.MonkeyPatch, how: signal.Signals
) -> None:
    monkeypatch.setenv("JUPYTER_RUNTIME_DIR", str(tmp_path / "runtime"))
    jupyter = start_jupyter(tmp_path)
    try:
        monkeypatch.setenv("JPY_PARENT_PID", str(jupyter.process.pid))
        wb.serve(str(models / "half_plus_two"), "half", launcher=JupyterLauncher.of_this_process())
        entry = registry.find("half")
        # Jupyter, the kernel, the server process, zygote and worker.
        assert {jupyter.process.pid, entry.supervisor.pid, entry.server.pid} < marked(tmp_path)
        assert len(marked(tmp_path)) >= 5
    finally:
        jupyter.process.send_signal(how)
        jupyter.process.wait(20)
    until(lambda: not marked(tmp_path), "no process of Jupyter's is left", GONE_SECONDS)
    left = {p.name for p in jupyter.runtime.rglob("*")}
    if how == signal.SIGKILL:
        # What Jupyter itself has no time to remove.
        left = {n for n in left if not n.startswith(("jpserver-", "jupyter_cookie"))}
    assert left <= {"jupyter_cookie_secret"}


def marked(folder: Path) -> set[int]:
    """The living processes that a Jupyter Server of ours, and what it started, have become."""
    found = set()
    mark = f"{MARK}={folder}".encode()
    for pid in filter(str.isdigit, os.listdir("/proc")):
        with contextlib.suppress(OSError):
            if mark in Path(f"/proc/{pid}/environ").read_bytes().split(b"\0"):
                found.add(int(pid))
    return found
