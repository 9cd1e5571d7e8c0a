"""What becomes of a service when the next version is no good: each way of failing, each policy.

A version can be broken (its graph, its weights), too big, too slow to load, half copied, or made
for other inputs. What then happens to the requests depends on the policy, and so does who
serves in the end. Every cell of the table is a run on a real server under live traffic.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from workbench.client.publishing.saving import next_version, version_folders
from workbench.client.server import ServerClient
from workbench.core.status import ServingError, failed_precondition, invalid_argument
from workbench.core.versions.policies import TRANSITIONS
from workbench.experiments.recording.recording import Recording, predict_job, record
from workbench.load.arrivals import Schedule

if TYPE_CHECKING:
    import pandas as pd

PUBLISH_SECONDS = 15.0
"""How long the publisher waits for the new version before it gives up."""
SHORT_SECONDS = 3.0
"""The same where nothing will come of waiting."""
_BACK_SECONDS = 300.0
_ASK_SECONDS = 5.0
_HALF = 0.5


@dataclass(frozen=True)
class Trial:
    """A version that is no good.

    Attributes:
        name: the way in which it fails, such as ``corrupt weights``.
        model: the path of its SavedModel.
        half_copied: its folder is copied into place by hand, and the copy stops half way.
        patience: how long the publisher waits, in seconds.
        room_bytes: the memory that a worker may take beyond what the serving one takes; None: any.
    """

    name: str
    model: Path
    half_copied: bool = False
    patience: float = PUBLISH_SECONDS
    room_bytes: int | None = None


@dataclass(frozen=True, eq=False)
class Outcome:
    """What one bad version did under one policy.

    Attributes:
        old, new: the numbers of the version that served and of the bad one.
        serves: the versions that answer requests afterwards.
        published: the error that the publisher got; `callers`: the error that a caller gets now,
            or "" if it gets an answer.
        waiting: what the server says that the folder lacks, or "".
    """

    trial: str
    policy: str
    recording: Recording = field(repr=False)
    old: int
    new: int
    serves: tuple[int, ...]
    published: str
    callers: str
    waiting: str

    @property
    def served_by(self) -> str:
        """Who answers requests afterwards, in words."""
        names = {self.old: "the old version", self.new: "the new version"}
        return " and ".join(names[version] for version in self.serves) or "nothing"

    @property
    def waiting_still(self) -> int:
        """Requests that were held and had no answer yet when the recording ended."""
        return int((self.recording.held & (self.recording.load.status == 0)).sum())

    @property
    def failed(self) -> int:
        """Requests that were refused, or answered with an error."""
        return self.recording.failed - self.waiting_still

    @property
    def held(self) -> int:
        return int(self.recording.held.sum())

    @property
    def away(self) -> str:
        """For how long nothing served, in words."""
        gap = self.recording.gap_seconds
        if gap == 0:
            return "never"
        return "and not back" if gap == float("inf") else f"{gap * 1e3:.0f} ms"


@dataclass(frozen=True)
class FailingVersions:
    """The table: `outcomes`, by trial and policy, in the order of the runs."""

    outcomes: tuple[Outcome, ...]

    def of(self, trial: str, policy: str) -> Outcome:
        """One cell.

        Raises:
            KeyError: there is none.
        """
        for outcome in self.outcomes:
            if (outcome.trial, outcome.policy) == (trial, policy):
                return outcome
        raise KeyError((trial, policy))

    @property
    def frame(self) -> pd.DataFrame:
        """One row a run."""
        import pandas as pd

        rows = [
            {
                "the new version": o.trial,
                "policy": o.policy,
                "serves afterwards": o.served_by,
                "away": o.away,
                "failed": o.failed,
                "held": f"{o.held} (waiting still)" if o.waiting_still else str(o.held),
                "the publisher gets": o.published or o.waiting,
                "callers get": o.callers or "the answer",
            }
            for o in self.outcomes
        ]
        return pd.DataFrame(rows)


def failing_versions(
    server: ServerClient,
    trials: Sequence[Trial],
    x: Any,
    *,
    policies: Sequence[str] = tuple(TRANSITIONS),
    rate: float = 50.0,
    lead_seconds: float = 0.5,
    progress: Callable[[str], None] = lambda _: None,
) -> FailingVersions:
    """Publish each bad version under each policy while requests come, and take it away again.

    Args:
        x: what each request asks: instances that the version that serves can answer.
        rate: requests a second.

    Raises:
        ServingError: FAILED_PRECONDITION, there is not exactly one version that serves.
    """
    if len(server.versions.available) != 1:
        raise failed_precondition(f"One version of {server.model} must serve, and no more")
    (old,) = server.versions.available
    transition = server.transition
    outcomes: list[Outcome] = []
    # Each has a number of its own, so that events of earlier ones are not mistaken for its own.
    new = next_version(server.base_path)
    try:
        for trial in trials:
            for policy in policies:
                progress(f"{trial.name}, {policy}")
                outcomes.append(_run(server, (old, new), trial, policy, x, rate, lead_seconds))
                new += 1
    finally:
        server.transition = transition
    return FailingVersions(tuple(outcomes))


def _run(
    server: ServerClient,
    versions: tuple[int, int],
    trial: Trial,
    policy: str,
    x: Any,
    rate: float,
    lead_seconds: float,
) -> Outcome:
    server.transition = policy
    base = server.base_path
    old, version = versions
    with contextlib.ExitStack() as stack:
        # Whatever happens, the version that served serves again.
        stack.callback(_put_back, server, base, version, old)
        if trial.room_bytes is not None:
            stack.enter_context(_little_room(server, trial.room_bytes))
        with record(
            server, x, rate=rate, title=policy, lead_seconds=lead_seconds,
            gap_seconds=trial.patience + 2 * lead_seconds,
        ) as recording:  # fmt: skip
            published = _publish(server, trial, base, version)
        waiting = server.versions.waiting.get(version, "")
        return Outcome(
            trial.name,
            policy,
            recording,
            old,
            version,
            tuple(server.versions.available),
            published,
            _ask(server, x),
            waiting,
        )


def _publish(server: ServerClient, trial: Trial, base: Path, version: int) -> str:
    """Bring the version in; returns the error that the publisher gets."""
    if trial.half_copied:
        _copy_half(trial.model, base / str(version))
        server.control.poll(server.model)
    try:
        if trial.half_copied:
            server.wait_for(version, trial.patience)
        else:
            server.publish(trial.model, version=version, timeout=trial.patience)
    except ServingError as error:
        return f"{error.code.name}: {error.message}"
    return "it is available"


def _copy_half(model: Path, target: Path) -> None:
    """What is there when a copy was cut off within the weights."""
    shutil.copytree(model, target)
    data = max((target / "variables").glob("variables.data-*"), key=os.path.getsize)
    os.truncate(data, int(data.stat().st_size * _HALF))


def _put_back(server: ServerClient, base: Path, version: int, old: int) -> None:
    """Take the bad version away, and wait until the other serves alone."""
    folder = version_folders(base).get(version)
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


def _ask(server: ServerClient, x: Any) -> str:
    """The error that a caller gets over REST now; "" where there is an answer."""
    job = predict_job(server, x, Schedule("constant", 1.0, 1.0))
    address = server.address
    request = urllib.request.Request(
        f"{address}{job.target}", job.bodies[0], dict(job.headers), method="POST"
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
def _little_room(server: ServerClient, room_bytes: int) -> Iterator[None]:
    """Let each new worker have no more memory than the one that serves and `room_bytes`: as on a
    machine that has no more. What runs already keeps what it has.

    Raises:
        ServingError: INVALID_ARGUMENT, this system has no such limit for processes that run.
    """
    try:
        import resource

        limit, prlimit = resource.RLIMIT_DATA, resource.prlimit
    except (ImportError, AttributeError):
        raise invalid_argument("Memory can only be limited like this on Linux") from None
    processes = server.memory()
    zygote = int(processes[processes["role"] == "zygote"]["pid"].iloc[0])
    worker = int(processes[processes["role"] == "worker"]["pid"].iloc[0])
    before = prlimit(zygote, limit)
    # Workers are forked from the zygote and inherit its limits.
    prlimit(zygote, limit, (_data_bytes(worker) + room_bytes, before[1]))
    try:
        yield
    finally:
        prlimit(zygote, limit, before)


def _data_bytes(pid: int) -> int:
    """What a process has of the memory that the limit counts."""
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmData:"):
            return int(line.split()[1]) * 1024
    raise failed_precondition(f"Process {pid} is gone")


def trials_from(models: Mapping[str, Path]) -> list[Trial]:
    """The usual ways of failing, with these models.

    Args:
        models: ``good``, of which a half is copied; ``bad graph``, ``corrupt weights``, ``too
            big``, ``too slow`` and ``wrong signature``.
    """
    return [
        Trial("bad graph", models["bad graph"]),
        Trial("corrupt weights", models["corrupt weights"]),
        Trial("too big", models["too big"], room_bytes=48 * 2**20),
        Trial("too slow", models["too slow"], patience=SHORT_SECONDS),
        Trial("half copied", models["good"], half_copied=True, patience=SHORT_SECONDS),
        Trial("wrong signature", models["wrong signature"]),
    ]
