"""Starts a serving kernel without a Jupyter Server, through `jupyter_client`.

An editor's notebook, `jupyter console` or nbconvert has kernels but no Jupyter Server. The serving
kernel is then a child of the caller's kernel and ends with it. `jupyter console --existing`
attaches to it as to any kernel.
"""

from __future__ import annotations

import asyncio
import os
import subprocess
import tempfile
import threading
import uuid
from concurrent.futures import Future
from typing import IO

from workbench.core.status import not_found, unavailable
from workbench.processes import jupyter_launcher, paths, registry
from workbench.processes.jupyter_launcher import KERNEL_NAME
from workbench.processes.server_options import StartRequest


class KernelLauncher:
    """Starts serving kernels that end with this process; see `processes.launcher.Launcher`.

    Raises:
        ServingError: NOT_FOUND, no serving kernel is installed here.
    """

    def __init__(self) -> None:
        from jupyter_client.kernelspec import KernelSpecManager

        if KERNEL_NAME not in KernelSpecManager().find_kernel_specs():
            raise not_found(f"Jupyter has no kernel named {KERNEL_NAME} here")

    def launch(self, request: StartRequest) -> registry.Entry:
        """Start a kernel that supervises the server, and wait until it can be reached."""
        name = request.options.name
        kernel_id = str(uuid.uuid4())
        # The request has an owner, so the kernel knows that it will not be restarted.
        jupyter_launcher.write_request(request)
        started: Future[subprocess.Popen[bytes]] = Future()
        with tempfile.TemporaryFile() as output:
            threading.Thread(
                target=lambda: asyncio.run(_live(name, kernel_id, output, started)),
                name=f"kernel-{name}",
                daemon=True,
            ).start()
            try:
                process = started.result()
            except BaseException:
                jupyter_launcher.forget(name)
                raise
            try:
                return jupyter_launcher.wait_for_entry(
                    name, kernel_id, lambda: _check_alive(process, output)
                )
            except BaseException:
                jupyter_launcher.forget(name)
                process.kill()
                raise


async def _live(
    name: str, kernel_id: str, output: IO[bytes], started: Future[subprocess.Popen[bytes]]
) -> None:
    """Run a kernel to its end, and leave neither a zombie nor a connection file.

    It runs in an event loop and a thread of its own: the caller's loop may be running or missing.
    """
    from jupyter_client.manager import AsyncKernelManager

    manager = AsyncKernelManager(
        kernel_name=KERNEL_NAME,
        connection_file=str(paths.runtime_folder() / f"kernel-{kernel_id}.json"),
    )
    try:
        try:
            await manager.start_kernel(
                env={**os.environ, "WORKBENCH_SERVER": name}, stdout=output, stderr=output
            )
            process: subprocess.Popen[bytes] = manager.provisioner.process  # type: ignore[union-attr]
        except BaseException as error:
            started.set_exception(error)
            return
        started.set_result(process)
        process.wait()
    finally:
        await manager.cleanup_resources()


def _check_alive(process: subprocess.Popen[bytes], output: IO[bytes]) -> None:
    if process.poll() is not None:
        output.seek(0)
        said = output.read()[-4000:].decode(errors="replace").strip()
        raise unavailable(f"The serving kernel ended: {said or 'it printed nothing'}")
