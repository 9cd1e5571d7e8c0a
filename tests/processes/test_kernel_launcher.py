"""A serving kernel without a Jupyter Server: a child of whoever asked for it."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from jupyter_client.blocking import BlockingKernelClient
from jupyter_client.manager import start_new_async_kernel

import workbench as wb
from workbench.core.status import Code, ServingError
from workbench.processes import registry
from workbench.processes.kernel_launcher import KernelLauncher
from workbench.processes.lifetime import ProcessId

pytestmark = pytest.mark.timeout(120)

KERNELS = Path(__file__).parents[2] / "data" / "kernels"
OWNER = """
import sys
import workbench as wb
from workbench.processes.kernel_launcher import KernelLauncher
wb.serve(sys.argv[1], "child", launcher=KernelLauncher())
print("ready", flush=True)
sys.stdin.read()
"""


@pytest.fixture
def runtime(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A Jupyter of our own, with the kernelspec as it lies in the source tree."""
    folder = tmp_path / "runtime"
    monkeypatch.setenv("JUPYTER_RUNTIME_DIR", str(folder))
    monkeypatch.setenv("JUPYTER_DATA_DIR", str(tmp_path / "data"))
    monkeypatch.setenv("JUPYTER_PATH", str(KERNELS.parent))
    monkeypatch.delenv("JPY_PARENT_PID", raising=False)
    yield folder
    # What its kernel could not remove, the launcher's thread does when the kernel has ended.
    until(lambda: list(folder.iterdir()) == [], "nothing is left", 10)


def until(holds: Callable[[], bool], what: str, seconds: float) -> None:
    end = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < end, f"waited {seconds:.0f} s in vain until {what}"
        time.sleep(0.02)


def test_a_kernel_of_ones_own_with_a_console(runtime: Path, models: Path) -> None:
    server = wb.serve(models / "half_plus_two", "child", launcher=KernelLauncher())
    entry = registry.find("child")
    assert (entry.owner, entry.keeper) == (ProcessId.me(), None)
    assert server.predict([1.0]).tolist() == [2.5]  # type: ignore[union-attr]

    console = BlockingKernelClient()
    console.load_connection_file(str(runtime / f"kernel-{entry.kernel_id}.json"))
    console.start_channels()
    try:
        printed: list[str] = []

        def keep(message: Any) -> None:
            if message["msg_type"] == "stream":
                printed.append(message["content"]["text"])

        console.execute_interactive("print(server.model)", timeout=30, output_hook=keep)
        assert "".join(printed) == "child\n"
    finally:
        console.stop_channels()

    server.stop()
    assert not entry.supervisor.alive()
    assert not entry.server.alive()


def test_it_ends_with_its_owner(runtime: Path, models: Path) -> None:
    with subprocess.Popen(
        [sys.executable, "-c", OWNER, str(models / "half_plus_two")],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as owner:
        assert owner.stdout is not None
        assert owner.stdout.readline() == "ready\n"
        entry = registry.find("child")
        owner.kill()
    until(lambda: not (entry.supervisor.alive() or entry.server.alive()), "both are gone", 5)
    until(lambda: list(runtime.iterdir()) == [], "their files are gone, too", 5)


def test_a_failed_start_shows_the_kernels_own_reason(runtime: Path, models: Path) -> None:
    server = wb.serve(models / "half_plus_two", "first", launcher=KernelLauncher())
    taken = registry.find("first").port
    with pytest.raises(ServingError) as caught:
        wb.serve(models / "half_plus_two", "second", port=taken, launcher=KernelLauncher())
    assert caught.value == ServingError(
        Code.FAILED_PRECONDITION,
        f"Port {taken} of 127.0.0.1 cannot be used: Address already in use. Choose another port, "
        "or 0 to let the system choose.",
    )
    server.stop()


def test_a_kernel_that_cannot_start_shows_what_it_printed(
    runtime: Path, models: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "broken" / "kernels" / "workbench-serving"
    folder.mkdir(parents=True)
    (folder / "kernel.json").write_text(
        '{"argv": ["python", "-c", "raise SystemExit(\'no such luck\')"], '
        '"display_name": "broken", "language": "python"}'
    )
    monkeypatch.setenv("JUPYTER_PATH", str(tmp_path / "broken"))
    with pytest.raises(ServingError) as caught:
        wb.serve(models / "half_plus_two", "child", launcher=KernelLauncher())
    assert caught.value == ServingError(Code.UNAVAILABLE, "The serving kernel ended: no such luck")


def test_without_the_kernelspec_there_is_no_such_launcher(
    runtime: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    runtime.mkdir()
    monkeypatch.setattr(
        "jupyter_client.kernelspec.KernelSpecManager.find_kernel_specs", lambda self: {}
    )
    with pytest.raises(ServingError) as caught:
        KernelLauncher()
    assert caught.value == ServingError(
        Code.NOT_FOUND, "Jupyter has no kernel named workbench-serving here"
    )


def test_a_notebook_without_a_jupyter_server_gets_a_serving_kernel(
    runtime: Path, models: Path
) -> None:
    """As in an editor, or in nbconvert."""

    async def use() -> None:
        notebook, client = await start_new_async_kernel(kernel_name="python3", startup_timeout=60)
        try:
            reply = await client.execute(
                f"import workbench as wb; s = wb.serve({str(models / 'half_plus_two')!r}, 'child')",
                reply=True,
                timeout=60,
                user_expressions={"note": "s.outcome.note"},
            )
            assert reply["content"]["status"] == "ok", reply
            note = reply["content"]["user_expressions"]["note"]["data"]["text/plain"]
            assert note == repr(
                f"it ends with this kernel, because no running Jupyter Server has pid {os.getpid()}"
            )
            entry = registry.find("child")
            assert entry.kernel_id is not None
            await client.execute("s.stop()", reply=True, timeout=60)
            assert not entry.supervisor.alive()
        finally:
            client.stop_channels()
            await notebook.shutdown_kernel(now=True)

    asyncio.run(use())
