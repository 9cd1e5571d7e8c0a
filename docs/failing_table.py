"""The table of `docs/failing-versions.md`, from real runs.

    python -m docs.failing_table [docs/failing-versions.md]

Publishes each bad version under each transition policy while requests arrive, and replaces the text
between the two marks of the page.
"""

from __future__ import annotations

import re
import socket
import subprocess
import sys
import tempfile
from pathlib import Path

import workbench as wb
from workbench.core.versions.policies import TRANSITIONS
from workbench.samples.failing_versions import FailingVersions, failing_versions, trials_from

BEGIN, END = "<!-- table -->", "<!-- end of table -->"
# The models that the tests save, by their defect.
MODELS = {
    "good": "half_plus_three",
    "bad graph": "bad_graph",
    "corrupt weights": "corrupt",
    "too big": "big",
    "too slow": "never_loads",
    "wrong signature": "text",
}


def run(folder: Path, progress: bool = True) -> FailingVersions:
    """All trials under all policies, with the models that `tests.models` saved in `folder`."""
    trials = trials_from({name: folder / model for name, model in MODELS.items()})
    with wb.serve(folder / "half_plus_two", "failing") as server:
        return failing_versions(
            server,
            trials,
            [1.0, 2.0],
            policies=tuple(TRANSITIONS),
            progress=lambda text: print(text, file=sys.stderr) if progress else None,
        )


def to_markdown(found: FailingVersions, folder: str) -> str:
    """One table for each defect, without paths of the run."""
    parts = []
    for trial in dict.fromkeys(o.trial for o in found.outcomes):
        frame = found.frame
        rows = frame[frame["the new version"] == trial].drop(columns="the new version")
        parts.append(f"## {trial.capitalize()}\n")
        texts = {_plain(text, folder) for text in rows["the publisher gets"]}
        if len(texts) == 1 and len(rows) > 1:
            parts.append(f"The publisher gets `{texts.pop()}`\n")
            rows = rows.drop(columns="the publisher gets")
        parts += ["| " + " | ".join(rows.columns) + " |", "| --- " * len(rows.columns) + "|"]
        for row in rows.itertuples(index=False):
            cells = [_plain(str(cell), folder) for cell in row]
            parts.append("| " + " | ".join(cells) + " |")
        parts.append("")
    return "\n".join(parts)


def _plain(text: str, folder: str) -> str:
    """Removes text that differs from run to run: folders, the machine's name, and the number of the
    bad version."""
    for part in text.split():
        if part.lstrip("('\"").startswith("/"):
            text = text.replace(part, f".../{'/'.join(part.split('/')[-2:])}")
    text = text.replace(f"running on {socket.gethostname()}.", "running on ....")
    text = re.sub(r"^(\w+: )Version \d+ of", r"\1Version N of", text)
    text = " ".join(text.replace("|", "\\|").replace("`", "'").split())
    return text if len(text) <= 320 else text[:300] + " ..."


def main(page: str) -> None:
    with tempfile.TemporaryDirectory() as folder:
        subprocess.run(
            [sys.executable, "-m", "tests.models", folder],
            check=True,
            timeout=300,
            capture_output=True,
        )
        table = to_markdown(run(Path(folder)), folder)
    path = Path(page)
    text = path.read_text()
    before, rest = text.split(BEGIN)
    after = rest.split(END)[1]
    path.write_text(f"{before}{BEGIN}\n\n{table}\n{END}{after}")


if __name__ == "__main__":
    main(sys.argv[1] if len(sys.argv) > 1 else str(Path(__file__).parent / "failing-versions.md"))
