"""The memory of a class on one machine: learners who start one after the other, and all stay.

A learner is a real `workbench lab --no-example`, a notebook kernel that serves a small model, and
the server's processes. In the first class each learner trains the model, so each kernel imports
TensorFlow; in the second each serves the teacher's SavedModel. After some of the learners it prints
the memory that is no longer available on the machine, and the summed PSS of all processes of the
class (PSS shares out each page among the processes that map it). The last rows are extrapolated to
thirty, by what the last learners added. Exits with 1 if thirty of the second class need more than
the limit.

Ten learners take four minutes and 7 GB.

    python -m benchmarks.classroom [--learners 10]
"""

from __future__ import annotations

import argparse
import contextlib
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from jupyter_client.manager import KernelManager

from benchmarks.limits import Limits
from workbench.server.engine.memory.memory_reading import read_exact

CLASS = 30
MOST_GB = 12.0
_MARK = "WORKBENCH_CLASSROOM"
_MB = 2**20
_SETTLE_SECONDS = 8.0
"""The first versions have been tried and warmed up by then."""
LESSON = """
import workbench as wb
from workbench.samples.digits import load_digits, train_digits
digits = load_digits()
server = wb.serve({model}, name="class", num_batch_threads=1)
assert server.predict(digits.x_test[:3]).shape == (3, 10)
server
"""
_KINDS = (
    ("workbench lab", "workbench.cli.main"),
    ("JupyterLab", "-m jupyterlab"),
    ("notebook kernel", "ipykernel_launcher"),
)
"""Each kind of process with what its command line has; all others belong to the server."""


@dataclass(frozen=True)
class Reading:
    """The machine after some learners, in MB.

    Attributes:
        used: memory that was available before the first learner and is not now.
        pss: the PSS of all processes of the class, by kind.
    """

    learners: int
    used: float
    pss: dict[str, float]

    @property
    def summed(self) -> float:
        """The PSS of all kinds."""
        return sum(self.pss.values())


def available() -> float:
    """MB that the machine could still give to processes."""
    lines = Path("/proc/meminfo").read_text().splitlines()
    return next(int(line.split()[1]) / 1024 for line in lines if line.startswith("MemAvailable:"))


def processes(mark: str) -> Iterator[tuple[int, str]]:
    """The pid and kind of each process of the class."""
    for pid in filter(str.isdigit, os.listdir("/proc")):
        with contextlib.suppress(OSError):
            if f"{_MARK}={mark}".encode() in Path(f"/proc/{pid}/environ").read_bytes().split(b"\0"):
                line = Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode()
                yield int(pid), next((kind for kind, has in _KINDS if has in line), "server")


def read(learners: int, before: float, mark: str) -> Reading:
    """The memory of the class now."""
    time.sleep(_SETTLE_SECONDS)
    used = before - available()
    pss = {kind: 0.0 for kind, _ in _KINDS} | {"server": 0.0}
    for pid, kind in processes(mark):
        found = read_exact(pid)
        pss[kind] += 0.0 if found is None else found.pss / _MB
    return Reading(learners, used, pss)


def learner(folder: Path, lesson: str, mark: str, cleanup: contextlib.ExitStack) -> None:
    """Start one learner, who stays until the end."""
    names = ("JUPYTER_RUNTIME_DIR", "JUPYTER_CONFIG_DIR", "JUPYTER_DATA_DIR", "IPYTHONDIR")
    homes = {name: str(folder / name.lower()) for name in names}
    files = folder / "files"
    for each in (*homes.values(), files):
        Path(each).mkdir(parents=True)
    environment = {**os.environ, **homes, _MARK: mark, "TF_CPP_MIN_LOG_LEVEL": "3"}
    lab = subprocess.Popen(
        [sys.executable, "-m", "workbench.cli.main", "lab", "--no-browser", "--no-example",
         "--folder", str(files)],
        env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    cleanup.callback(lab.wait, 30)
    cleanup.callback(lab.terminate)
    manager: Any = KernelManager(kernel_name="python3")
    manager.start_kernel(env=environment)
    cleanup.callback(manager.shutdown_kernel)
    client = manager.blocking_client()
    client.start_channels()
    cleanup.callback(client.stop_channels)
    client.wait_for_ready(timeout=60)
    reply = client.execute_interactive(lesson, timeout=180, output_hook=lambda message: None)
    if reply["content"]["status"] != "ok":
        raise RuntimeError("\n".join(reply["content"]["traceback"]))


def run(learners: int, lesson: str) -> list[Reading]:
    """Start the learners one after the other; the memory after 1, 5 and all of them."""
    mark, found = f"{os.getpid()}-{time.time_ns()}", []
    with tempfile.TemporaryDirectory(prefix="wb-class-") as folder, contextlib.ExitStack() as all_:
        before = available()
        for number in range(1, learners + 1):
            learner(Path(folder) / str(number), lesson, mark, all_)
            if number in (1, 5, learners):
                found.append(read(number, before, mark))
                print(f"{number} learners: {found[-1].used:,.0f} MB", file=sys.stderr, flush=True)
    return found


def extrapolated(found: list[Reading], attribute: str) -> float:
    """MB that a class of thirty takes, if each further learner adds as much as the last ones."""
    one, two = found[-2:]
    first, last = getattr(one, attribute), getattr(two, attribute)
    each = (last - first) / (two.learners - one.learners)
    return float(last + each * (CLASS - two.learners))


def table(found: list[Reading]) -> str:
    """The readings as a table in Markdown."""
    kinds = list(found[0].pss)
    lines = [
        f"| learners | memory in use | summed PSS | each: {' | '.join(kinds)} |",
        "| " + " | ".join(["---"] * (3 + len(kinds))) + " |",
    ]
    for one in found:
        each = " | ".join(f"{one.pss[kind] / one.learners:,.0f} MB" for kind in kinds)
        lines.append(
            f"| {one.learners} | {one.used / 1024:.2f} GB | {one.summed / 1024:.2f} GB | {each} |"
        )
    used, summed = (extrapolated(found, name) / 1024 for name in ("used", "summed"))
    empty = " | ".join([""] * len(kinds))
    lines.append(f"| {CLASS}, extrapolated | {used:.1f} GB | {summed:.1f} GB | {empty} |")
    return "\n".join(lines)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--learners", type=int, default=10, help="at least 2 (default: 10)")
    learners = parser.parse_args().learners
    limits = Limits()
    with tempfile.TemporaryDirectory(prefix="wb-class-") as folder:
        saved = Path(folder) / "saved"
        subprocess.run(
            [sys.executable, "-m", "workbench.samples.train_example", str(saved)],
            check=True,
            stderr=subprocess.DEVNULL,
        )
        for title, model, most in (
            ("Each trains a model", "train_digits()", None),
            ("Each serves a SavedModel", repr(str(saved)), MOST_GB),
        ):
            found = run(learners, LESSON.format(model=model))
            print(f"\n{title}:\n\n{table(found)}\n")
            # What other work on the machine takes counts as used, but not in the PSS.
            summed = extrapolated(found, "summed") / 1024
            limits.row(
                f"{title}: PSS of a class of {CLASS}, extrapolated",
                f"{summed:.1f} GB",
                "" if most is None else f"at most {most:.0f} GB",
                most is None or summed <= most,
            )
    return limits.exit_code()


if __name__ == "__main__":
    sys.exit(main())
