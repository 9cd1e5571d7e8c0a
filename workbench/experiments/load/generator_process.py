"""The load generator's own process: sends requests at the times a schedule says.

    python -m workbench.experiments.load.generator_process

reads one line from standard input: a pickled `generator.LoadJob` with the process that sent it, in
base64 (not arguments, because a job holds secrets). It writes lines of JSON about its progress to
standard output, and then one line that describes the result, followed by its arrays as raw bytes. A
line `stop` on standard input ends the run early. A separate process is not held up by the notebook
or the measured server. It also watches itself, because a generator that cannot keep up measures
only itself.
"""

from __future__ import annotations

import asyncio
import base64
import gc
import json
import os
import pickle
import stat
from collections.abc import Mapping
from typing import Any

import uvloop

from workbench.experiments.load.generator import LoadJob
from workbench.experiments.load.load_run import Run
from workbench.processes.lifetime import ProcessId, die_with


def _write_line(line: Mapping[str, Any]) -> None:
    """Report to the parent; a report that does not fit into the pipe is dropped."""
    try:
        os.write(1, json.dumps(line).encode() + b"\n")
    except BlockingIOError:
        pass


def _write_result(description: Mapping[str, Any], columns: list[memoryview]) -> None:
    os.set_blocking(1, True)
    with open(1, "wb", closefd=False) as output:
        output.write(json.dumps({"result": description}).encode() + b"\n")
        for column in columns:
            output.write(column)


async def _main(job: LoadJob, stop: bool) -> None:
    run = Run(job, _write_line)
    loop = asyncio.get_running_loop()

    def heard() -> None:
        said = os.read(0, 1024)
        if said.startswith(b"stop"):
            run.stop()
        if not said:  # The parent has closed its end, which does not mean that it has died.
            loop.remove_reader(0)

    if stop:
        run.stop()
    if stat.S_ISFIFO(os.fstat(0).st_mode):  # A file cannot be watched.
        loop.add_reader(0, heard)
    os.set_blocking(1, False)
    _write_result(*await run.execute())


def _read_job() -> tuple[LoadJob, ProcessId, bool]:
    """The job, the process that sent it, and whether to stop at once."""
    chunks = []
    while chunk := os.read(0, 1 << 20):
        chunks.append(chunk)
        if b"\n" in chunk:
            break
    line, _, rest = b"".join(chunks).partition(b"\n")
    return *pickle.loads(base64.b64decode(line)), rest.startswith(b"stop")


def main() -> None:
    """Run the job that standard input holds."""
    job, owner, stop = _read_job()
    die_with(owner)
    # A run makes no reference cycles worth a pause in the middle of it.
    gc.freeze()
    gc.disable()
    loop = uvloop.new_event_loop()
    asyncio.set_event_loop(loop)
    try:
        loop.run_until_complete(_main(job, stop))
    finally:
        loop.close()


if __name__ == "__main__":
    main()
