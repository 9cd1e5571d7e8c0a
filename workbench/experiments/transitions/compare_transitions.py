"""Measures the same change of version under different transition policies, with the same traffic.

Each run loads a server with the same seeded arrivals, brings the new version in under one policy,
and takes it back. Policies take turns in random order, so a slow minute of the machine does not
affect only one of them. At the end the server is restored.
"""

from __future__ import annotations

import contextlib
import shutil
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from workbench.client.publishing.saving import ASIDE, version_folders
from workbench.client.server import ServerClient
from workbench.core.status import failed_precondition, invalid_argument
from workbench.core.versions.policies import policy_name
from workbench.experiments.load.generator import Closed, run_load
from workbench.experiments.recording.recording import LEAD_SECONDS, predict_job, record
from workbench.experiments.store.running import Running
from workbench.experiments.store.server_turns import WhenBusy
from workbench.experiments.store.store import keep_result
from workbench.experiments.transitions.page_cache import bring_in, cached_share, evict
from workbench.experiments.transitions.transition_certainty import LEAST_RUNS, is_certain
from workbench.experiments.transitions.transition_comparison import TransitionComparison
from workbench.experiments.transitions.transition_run import Disk, Run
from workbench.load.arrivals import Schedule

POLICIES = ("smooth", "unload_first", "unload_first+hold", "staged")
PRECISION = 0.1
MOST_REPEATS = 20
_DISKS = ("warm", "cold")
_QUICK_REPEATS = 3
_SETTLE_SECONDS = 0.3
_WARM_UP_CLIENTS = 4
_WARM_UP_SECONDS = 0.5


def compare_transitions(
    server: ServerClient,
    new: Any,
    x: Any,
    *,
    policies: Sequence[str] = POLICIES,
    rate: float = 100.0,
    load: Schedule | None = None,
    repeats: int | None = None,
    precision: float = PRECISION,
    most_repeats: int = MOST_REPEATS,
    disk: Disk | Sequence[Disk] = "warm",
    seed: int = 0,
    lead_seconds: float = LEAD_SECONDS,
    keep: bool = True,
    progress: bool = True,
    when_busy: WhenBusy = "refuse",
) -> TransitionComparison:
    """Measures the same change of version under each policy; see `Server.compare_transitions`."""
    if (repeats is not None and repeats < 1) or not rate > 0 or most_repeats < 1:
        raise invalid_argument(
            f"repeats, most_repeats and rate must be positive; were {repeats}, {most_repeats} and "
            f"{rate}"
        )
    if not 0 < precision < 1:
        raise invalid_argument(f"precision must be between 0 and 1; was {precision}")
    names, disks = _policy_names(policies), _disks(disk)
    old = server.versions.available
    if not old:
        raise failed_precondition(f"No version of {server.model} is available: publish one first")
    arrivals = load or Schedule("poisson", rate=rate, duration_s=1.0, seed=seed)
    if arrivals.kind == "ramp":
        raise invalid_argument("A ramp cannot be compared: use a constant, poisson or bursty load")
    conditions = [(name, each) for each in disks for name in names]
    plan = _Plan(conditions, repeats, precision, most_repeats, seed)
    runs: list[Run] = []
    interrupted = False
    # Only smooth needs memory for both versions.
    back = "smooth" if set(names) == {"smooth"} else "unload_first"
    with (
        Running("transitions", server, keep, progress, when_busy) as running,
        _on_trial(server, new, old[0], back) as (version, seconds),
    ):
        each = seconds + 2 * lead_seconds + _WARM_UP_SECONDS + 1
        running.say(plan.announcement(each))
        started = time.monotonic()
        try:
            for name, on in plan.turns(runs):
                if runs:
                    each = (time.monotonic() - started) / len(runs)
                many, left = plan.many, plan.time_left(len(runs), each)
                running.tell(
                    f"Change {len(runs) + 1} of {many}: {name}, {on} disk; {left} left",
                    len(runs) / plan.limits[1],
                )
                runs.append(
                    _run(server, (old[0], version), name, on, back, x, arrivals, lead_seconds)
                )
        except KeyboardInterrupt:
            interrupted = True
    if not runs:
        running.say("Interrupted before the first change of version was measured.")
        raise KeyboardInterrupt
    found = TransitionComparison(
        server.model,
        (old[0], version),
        arrivals,
        tuple(names),
        tuple(runs),
        disks,
        precision if repeats is None else None,
        interrupted,
    )
    if interrupted:
        running.say(f"Interrupted after {len(runs)} of {plan.many} changes. {found.advice}")
    return keep_result("transitions", found.model, found, found.advice) if keep else found


def _policy_names(policies: Sequence[str]) -> list[str]:
    names = [policy_name(name) for name in policies]
    if not names or len(set(names)) < len(names):
        raise invalid_argument(f"Name each policy once; were {', '.join(policies) or 'none'}")
    return names


def _disks(disk: Disk | Sequence[Disk]) -> tuple[Disk, ...]:
    disks: tuple[Disk, ...] = (disk,) if isinstance(disk, str) else tuple(disk)
    if not disks or not set(disks) <= set(_DISKS) or len(set(disks)) < len(disks):
        raise invalid_argument(f"disk must be 'warm', 'cold' or both; was {disk!r}")
    return disks


@dataclass
class _Plan:
    """The order of runs: policies and disks take turns in random order, until each is certain or
    has had its most runs."""

    conditions: list[tuple[str, Disk]]
    repeats: int | None
    precision: float
    most_repeats: int
    seed: int

    @property
    def limits(self) -> tuple[int, int]:
        """The least and the most runs in total."""
        least = self.repeats or min(LEAST_RUNS, self.most_repeats)
        most = self.repeats or self.most_repeats
        return least * len(self.conditions), most * len(self.conditions)

    @property
    def many(self) -> str:
        """The number of runs in total, in words: ``20 to 80``."""
        least, most = self.limits
        return f"{least}" if least == most else f"{least} to {most}"

    def time_left(self, done: int, each: float) -> str:
        """The time for the other runs, in words, if each takes `each` seconds."""
        least, most = (_time(max(1, runs - done) * each) for runs in self.limits)
        return f"about {least}" if least == most else f"about {least} to {most}"

    def announcement(self, each: float) -> str:
        """What is going to be done and how long it takes, with the shorter way where there is one.

        Args:
            each: seconds that a run takes.
        """
        said = f"{self.many} changes of version take {self.time_left(0, each)}."
        quick = _QUICK_REPEATS * len(self.conditions)
        if self.repeats is not None or quick >= self.limits[0]:
            return said
        return (
            f"{said} For a quick look, {_QUICK_REPEATS} repeats of each policy take about "
            f"{_time(quick * each)} (repeats={_QUICK_REPEATS})."
        )

    def turns(self, runs: Sequence[Run]) -> Iterator[tuple[str, Disk]]:
        """The conditions in their order; `runs` is read as it grows."""
        random = np.random.default_rng(self.seed)
        for turn in range(self.repeats or self.most_repeats):
            for place in random.permutation(len(self.conditions)):
                name, disk = self.conditions[place]
                if self.repeats is None and turn >= LEAST_RUNS:
                    mine = [run for run in runs if (run.policy, run.disk) == (name, disk)]
                    if is_certain(mine, self.precision):
                        continue
                yield name, disk


def _time(seconds: float) -> str:
    return f"{seconds:.0f} s" if seconds < 100 else f"{seconds / 60:.1f} min"


@contextlib.contextmanager
def _on_trial(server: ServerClient, new: Any, old: int, back: str) -> Iterator[tuple[int, float]]:
    """Prepare the new version's files without serving it; yields its number and the seconds that
    loading it and rolling back took. Afterwards its files are gone and the old version serves."""
    transition, base = server.transition, server.base_path
    there = set(version_folders(base))
    version = None
    try:
        server.transition = back
        started = time.monotonic()
        version = server.publish(new)
        server.rollback(version)
        yield version, time.monotonic() - started
    finally:
        server.transition = back
        if version is None:
            # It did not load: remove its folder, so the server does not retry it.
            useless = [p for v, p in version_folders(base).items() if v not in there]
        else:
            if version in version_folders(base):
                server.rollback(version)
            useless = [p for v, p in version_folders(base / ASIDE).items() if v == version]
        for folder in useless:
            if folder.is_symlink():
                folder.unlink()
            else:
                shutil.rmtree(folder)
        server.control.poll(server.model, [old])
        server.wait_for(old)
        server.transition = transition


def _run(
    server: ServerClient,
    versions: tuple[int, int],
    policy: str,
    disk: Disk,
    back: str,
    x: Any,
    arrivals: Schedule,
    lead_seconds: float,
) -> Run:
    old, new = versions
    server.transition = policy
    # The old version was just loaded: warm it up, so its slow first runs are not measured.
    run_load(predict_job(server, x, Closed(_WARM_UP_CLIENTS, _WARM_UP_SECONDS)))
    files = version_folders(server.base_path / ASIDE)[new]
    (evict if disk == "cold" else bring_in)(files)
    cached = cached_share(files)
    with record(server, x, load=arrivals, title=policy, lead_seconds=lead_seconds) as recording:
        server.undo()
        server.wait_gone(old)
        time.sleep(_SETTLE_SECONDS)
    server.transition = back
    server.rollback(new)
    return Run(policy, recording, old, new, disk, cached)
