"""The table of `docs/failing-versions.md`, from real runs.

    python -m docs.failing_table [docs/failing-versions.md]

Publishes each bad version under each transition policy while requests arrive, and replaces the text
between the two marks of the page.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import resource
import shutil
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import workbench as wb
from workbench.client.publishing.saving import next_version, version_folders
from workbench.core.status import ServingError, failed_precondition
from workbench.core.versions.policies import TRANSITIONS
from workbench.experiments.recording.recording import Recording, predict_job, record
from workbench.load.arrivals import Schedule
from workbench.samples.server_processes import data_bytes, pid_of

BEGIN, END = "<!-- table -->", "<!-- end of table -->"
RATE = 50.0
LEAD_SECONDS = 0.5
SHORT_SECONDS = 3.0
"""How long the publisher waits for a version that will never come."""
_BACK_SECONDS = 300.0
_ASK_SECONDS = 5.0


@dataclass(frozen=True)
class Trial:
    """A version that cannot work.

    Attributes:
        name: how it fails, such as ``corrupt weights``.
        model: the path of its SavedModel.
        half_copied: its folder is copied into place by hand, and the copy stops half way.
        patience: how long the publisher waits, in seconds.
        room_bytes: the memory that its worker may take beyond that of the serving one; None: any.
    """

    name: str
    model: Path
    half_copied: bool = False
    patience: float = 15.0
    room_bytes: int | None = None


@dataclass(frozen=True, eq=False)
class Outcome:
    """The effect of one bad version under one policy.

    Attributes:
        old, new: the numbers of the version that served and of the bad one.
        serves: the versions that answer requests afterwards.
        published: the error that the publisher got; `callers`: the error that a caller gets now,
            or "" if it gets an answer.
    """

    trial: str
    policy: str
    recording: Recording = field(repr=False)
    old: int
    new: int
    serves: tuple[int, ...]
    published: str
    callers: str

    @property
    def served_by(self) -> str:
        """The versions that answer requests afterwards, in words."""
        names = {self.old: "the old version", self.new: "the new version"}
        return " and ".join(names[version] for version in self.serves) or "nothing"

    @property
    def waiting(self) -> int:
        """Requests that were held and had no answer yet when the recording ended."""
        return int((self.recording.held & (self.recording.load.status == 0)).sum())

    @property
    def failed(self) -> int:
        """Requests that were refused, or answered with an error."""
        return self.recording.failed - self.waiting

    @property
    def held(self) -> int:
        """Requests that waited on the server for a version."""
        return int(self.recording.held.sum())

    @property
    def away(self) -> str:
        """How long no version served, in words."""
        gap = self.recording.gap_seconds
        if gap == 0:
            return "never"
        return "and not back" if gap == float("inf") else f"{gap * 1e3:.0f} ms"

    def row(self) -> dict[str, str]:
        """The outcome as a row of its trial's table."""
        return {
            "policy": self.policy,
            "serves afterwards": self.served_by,
            "away": self.away,
            "failed": str(self.failed),
            "held": f"{self.held} (waiting still)" if self.waiting else str(self.held),
            "the publisher gets": self.published,
            "callers get": self.callers or "the answer",
        }


def trials_in(folder: Path) -> list[Trial]:
    """One trial for each way to fail, with the models that `tests.models` saved in `folder`."""
    return [
        Trial("bad graph", folder / "bad_graph"),
        Trial("corrupt weights", folder / "corrupt"),
        Trial("too big", folder / "big", room_bytes=48 * 2**20),
        Trial("too slow", folder / "never_loads", patience=SHORT_SECONDS),
        Trial("half copied", folder / "half_plus_three", half_copied=True, patience=SHORT_SECONDS),
        Trial("wrong signature", folder / "text"),
    ]


def run_all(folder: Path) -> list[Outcome]:
    """All trials under all policies, with the models that `tests.models` saved in `folder`."""
    with wb.serve(folder / "half_plus_two", "failing") as server:
        return run_trials(server, trials_in(folder), [1.0, 2.0])


def run_trials(
    server: wb.Server, trials: Sequence[Trial], x: Any, policies: Sequence[str] = tuple(TRANSITIONS)
) -> list[Outcome]:
    """Publish each bad version under each policy while requests arrive, and take it away again.

    Args:
        x: the instances of each request, which the serving version can answer.

    Raises:
        ServingError: FAILED_PRECONDITION, not exactly one version serves.
    """
    if len(server.versions.available) != 1:
        raise failed_precondition(f"Exactly one version of {server.model} must serve")
    (old,) = server.versions.available
    transition = server.transition
    outcomes = []
    # Each has its own number, so events of one trial are not mistaken for another's.
    new = next_version(server.base_path)
    try:
        for trial in trials:
            for policy in policies:
                print(f"{trial.name}, {policy}", file=sys.stderr)
                outcomes.append(_run(server, old, new, trial, policy, x))
                new += 1
    finally:
        server.transition = transition
    return outcomes


def _run(server: wb.Server, old: int, version: int, trial: Trial, policy: str, x: Any) -> Outcome:
    server.transition = policy
    with contextlib.ExitStack() as stack:
        stack.callback(_put_back, server, version, old)
        if trial.room_bytes is not None:
            stack.enter_context(_little_room(server, trial.room_bytes))
        with record(
            server, x, rate=RATE, title=policy, lead_seconds=LEAD_SECONDS,
            gap_seconds=trial.patience + 2 * LEAD_SECONDS,
        ) as recording:  # fmt: skip
            published = _publish(server, trial, version)
        callers = _ask(server, x)
        # What answers, and not what is about to: on a busy machine a version comes back late.
        serves = tuple(server.versions.available)
        return Outcome(trial.name, policy, recording, old, version, serves, published, callers)


def _publish(server: wb.Server, trial: Trial, version: int) -> str:
    """Bring the version in; returns the error that the publisher gets."""
    try:
        if trial.half_copied:
            _copy_half(trial.model, server.base_path / str(version))
            server.control.poll(server.model)
            server.wait_for(version, trial.patience)
        else:
            server.publish(
                trial.model,
                version=version,
                timeout=trial.patience,
                allow_signature_change=True,
            )
    except ServingError as error:
        return f"{error.code.name}: {error.message}"
    return "it is available"


def _copy_half(model: Path, target: Path) -> None:
    """Leaves what a copy leaves that was cut off within the weights."""
    shutil.copytree(model, target)
    data = max((target / "variables").glob("variables.data-*"), key=os.path.getsize)
    os.truncate(data, data.stat().st_size // 2)


def _put_back(server: wb.Server, version: int, old: int) -> None:
    """Take the bad version away, and wait until the old one serves alone."""
    folder = version_folders(server.base_path).get(version)
    if folder is not None:
        shutil.rmtree(folder) if not folder.is_symlink() else folder.unlink()
    server.control.poll(server.model, [old])
    end = time.monotonic() + _BACK_SECONDS
    while True:
        states = {view.version: view.state for view in server.versions}
        if states.get(old) == "AVAILABLE" and states.get(version, "END") == "END":
            return
        if time.monotonic() > end:
            raise failed_precondition(f"Version {old} did not come back: {server.versions!r}")
        time.sleep(0.05)


def _ask(server: wb.Server, x: Any) -> str:
    """The error that a caller gets over REST now; "" where there is an answer."""
    job = predict_job(server, x, Schedule("constant", 1.0, 1.0))
    request = urllib.request.Request(
        f"{server.address}{job.target}", job.bodies[0], dict(job.headers), method="POST"
    )
    try:
        with urllib.request.urlopen(request, timeout=_ASK_SECONDS):
            return ""
    except urllib.error.HTTPError as error:
        said = json.loads(error.read()).get("error", "")
        return f"{error.code}: {said}"
    except TimeoutError:
        return f"nothing within {_ASK_SECONDS:.0f} s"


@contextlib.contextmanager
def _little_room(server: wb.Server, room_bytes: int) -> Iterator[None]:
    """Give each new worker only `room_bytes` more memory than the serving one has, as on a machine
    without more. Running workers keep what they have. Linux only."""
    zygote = pid_of(server, "zygote")
    limit = data_bytes(pid_of(server, "worker")) + room_bytes
    before = resource.prlimit(zygote, resource.RLIMIT_DATA)
    # Workers are forked from the zygote and inherit its limits.
    resource.prlimit(zygote, resource.RLIMIT_DATA, (limit, before[1]))
    try:
        yield
    finally:
        resource.prlimit(zygote, resource.RLIMIT_DATA, before)


def to_markdown(outcomes: Sequence[Outcome]) -> str:
    """One table for each trial, without paths of the run."""
    parts = []
    for trial in dict.fromkeys(o.trial for o in outcomes):
        rows = [o.row() for o in outcomes if o.trial == trial]
        parts.append(f"## {trial.capitalize()}\n")
        texts = {_plain(row["the publisher gets"]) for row in rows}
        if len(texts) == 1 and len(rows) > 1:
            parts.append(f"The publisher gets `{texts.pop()}`\n")
            for row in rows:
                del row["the publisher gets"]
        parts += [f"| {' | '.join(rows[0])} |", "| --- " * len(rows[0]) + "|"]
        for row in rows:
            parts.append(f"| {' | '.join(_plain(cell) for cell in row.values())} |")
        parts.append("")
    return "\n".join(parts)


def _plain(text: str) -> str:
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
    """Write the table into the page."""
    with tempfile.TemporaryDirectory() as folder:
        subprocess.run(
            [sys.executable, "-m", "tests.models", folder],
            check=True,
            timeout=300,
            capture_output=True,
        )
        table = to_markdown(run_all(Path(folder)))
    path = Path(page)
    text = path.read_text()
    before, rest = text.split(BEGIN)
    after = rest.split(END)[1]
    path.write_text(f"{before}{BEGIN}\n\n{table}\n{END}{after}")


if __name__ == "__main__":
    main(sys.argv[1] if len(sys.argv) > 1 else str(Path(__file__).parent / "failing-versions.md"))
