"""From `git clone` to a served prediction and a measured sweep, as a new user goes, with a clock.

    python -m docs.first_five_minutes

does it once, in an empty folder, and writes the times into `docs/first-five-minutes.md`. What is
downloaded comes from wherever this machine's pip and npm look.
"""

from __future__ import annotations

import os
import platform
import subprocess
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).parents[1]
PAGE = ROOT / "docs" / "first-five-minutes.md"
START, END = "<!-- measured -->", "<!-- end of measured -->"

TRAIN = """
import workbench as wb
from workbench.experiments.digits import load_digits, train_digits

digits = load_digits()
server = wb.serve(train_digits(), name="digits", detach=True, idle_seconds=300)
print(server.predict(digits.x_test[:1]).argmax())
"""
SWEEP = """
import workbench as wb
from workbench.experiments.digits import load_digits

server = wb.connect("digits")
result = server.sweep(
    batch_timeout_micros=[0, 2000], rate=[500, 2000], payload=load_digits().x_test, seconds=2
)
print(result.frame[["batch_timeout_micros", "rate", "p99_ms", "verdict"]])
server.stop()
"""


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder)
        clone = place / "serving-workbench"
        python = clone / ".venv" / "bin" / "python"
        # Nothing of this user's is used but pip's and npm's own caches and settings.
        home = {
            "JUPYTER_RUNTIME_DIR": str(place / "runtime"),
            "JUPYTER_DATA_DIR": str(place / "data"),
        }
        steps = [
            ("`git clone`", ["git", "clone", "--quiet", str(ROOT), str(clone)], place),
            ("`make env`: the environment and the extension", ["make", "env"], clone),
            ("train a model, serve it, first prediction", [str(python), "-c", TRAIN], clone),
            ("first measured sweep, four points", [str(python), "-c", SWEEP], clone),
        ]
        rows, total = [], 0.0
        for what, command, where in steps:
            started = time.monotonic()
            subprocess.run(
                command, cwd=where, env={**os.environ, **home}, check=True, timeout=900,
                stdout=subprocess.DEVNULL,
            )  # fmt: skip
            seconds = time.monotonic() - started
            total += seconds
            rows.append(f"| {what} | {seconds:.1f} | {total:.1f} |")
            print(rows[-1], flush=True)
        size = sum(f.stat().st_size for f in (clone / ".venv").rglob("*") if not f.is_symlink())
    machine = (
        f"{os.cpu_count()} CPUs, Python {platform.python_version()}, {platform.system()} "
        f"{platform.machine()}; {time.strftime('%Y-%m-%d', time.gmtime())}. The environment takes "
        f"{size / 2**30:.1f} GB of disk."
    )
    head = "| step | seconds | since the beginning |\n| --- | --- | --- |"
    text = PAGE.read_text()
    before, after = text.partition(START)[0], text.partition(END)[2]
    table = "\n".join([head, *rows])
    PAGE.write_text(f"{before}{START}\n{table}\n\n{machine}\n{END}{after}")


if __name__ == "__main__":
    main()
