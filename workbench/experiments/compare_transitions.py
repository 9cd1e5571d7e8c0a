"""The same change of version under different transition policies, with the same traffic.

Each run loads a server with the same seeded arrivals, brings the new version in under one of the
policies, and takes it back; policies take turns in a drawn order, so that a slow minute of the
machine harms no one of them alone. In the end the server is as it was.
"""

from __future__ import annotations

import contextlib
import shutil
import time
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from workbench.client.saving import ASIDE, version_folders
from workbench.client.server import LOAD_TIMEOUT_SECONDS, Server
from workbench.core.status import failed_precondition, invalid_argument
from workbench.core.transitions import ALIASES, policy_name
from workbench.experiments.generator import Closed, run_load
from workbench.experiments.progress import Progress
from workbench.experiments.recording import LEAD_SECONDS, predict_job, record
from workbench.experiments.transition_comparison import Run, TransitionComparison

_SETTLE_SECONDS = 0.3
_WARM_UP_CLIENTS = 4
_WARM_UP_SECONDS = 0.5


def compare_transitions(
    server: Server,
    new: Any,
    x: Any,
    *,
    policies: Sequence[str] = tuple(ALIASES),
    rate: float = 100.0,
    repeats: int = 5,
    seed: int = 0,
    lead_seconds: float = LEAD_SECONDS,
    progress: bool = True,
) -> TransitionComparison:
    """Bring a new version in under each policy, again and again, and take it back each time.

    The new version's files are in the page cache from the second time on, as the first one is
    not recorded. Interrupting keeps what has been measured, and puts the server back.

    Args:
        new: the next version: a Keras model, a `tf.Module`, or the path of a SavedModel.
        x: one example (or batch): what each request asks.
        policies: by their names: ``"smooth"``, ``"unload_first"``, ``"unload_first+hold"``.
        rate: offered load, requests a second; Poisson arrivals, the same in each run.
        repeats: runs of each policy; with 5, the range of a figure over the runs holds its true
            median in 94 of 100 cases.
        seed: of the arrivals and of the order of runs.
        lead_seconds: of traffic before and after each change.

    Raises:
        ServingError: INVALID_ARGUMENT, this is no comparison; FAILED_PRECONDITION, the model has
            no version that serves; or why the new version does not load.
    """
    names = [policy_name(name) for name in policies]
    if not names or len(set(names)) < len(names):
        raise invalid_argument(f"Name each policy once; had {', '.join(policies) or 'none'}")
    if repeats < 1 or not rate > 0:
        raise invalid_argument(f"repeats and rate must be positive; were {repeats} and {rate}")
    old = server.versions.available
    if not old:
        raise failed_precondition(f"No version of {server.model} serves: publish one first")
    shown = Progress(progress)
    random = np.random.default_rng(seed)
    order = [name for _ in range(repeats) for name in random.permutation(names)]
    runs: list[Run] = []
    interrupted = False
    seconds = 2 * lead_seconds + 2
    shown.say(f"{len(order)} changes of version, about {seconds * len(order):.0f} s")
    with _on_trial(server, new, old[0]) as version:
        try:
            for number, name in enumerate(order, 1):
                shown.update(f"{number} of {len(order)}: {name}")
                runs.append(_run(server, version, old[0], name, x, rate, seed, lead_seconds))
        except KeyboardInterrupt:
            interrupted = True
        finally:
            shown.close()
    if not runs:
        raise KeyboardInterrupt
    return TransitionComparison(
        server.model, (old[0], version), rate, seed, tuple(names), tuple(runs), interrupted
    )


@contextlib.contextmanager
def _on_trial(server: Server, new: Any, old: int) -> Iterator[int]:
    """Have the new version's files ready, not served; in the end they are gone, and the old
    version serves as before."""
    transition = server.transition
    base = server.base_path
    server.transition = "smooth"
    version = None
    try:
        version = server.publish(new)
        server.rollback(version)
        yield version
    finally:
        server.transition = "smooth"
        if version is None:
            # It did not load: its folder must not be tried again and again.
            version = max(version_folders(base))
            if version != old:
                shutil.rmtree(version_folders(base)[version], ignore_errors=True)
        else:
            if version in version_folders(base):
                server.rollback(version)
            aside = version_folders(base / ASIDE).get(version)
            if aside is not None:
                _remove(aside)
        server.transition = transition


def _remove(folder: Any) -> None:
    if folder.is_symlink():
        folder.unlink()
    else:
        shutil.rmtree(folder)


def _run(
    server: Server,
    version: int,
    old: int,
    policy: str,
    x: Any,
    rate: float,
    seed: int,
    lead_seconds: float,
) -> Run:
    server.transition = policy
    # The old version was loaded a moment ago; its slow first runs, with each number of requests
    # in a batch, are not what is asked about.
    run_load(predict_job(server, x, Closed(_WARM_UP_CLIENTS, _WARM_UP_SECONDS)))
    with record(
        server, x, rate=rate, title=policy, seed=seed, lead_seconds=lead_seconds
    ) as recording:
        server.undo()
        server._wait_gone(old, LOAD_TIMEOUT_SECONDS)
        time.sleep(_SETTLE_SECONDS)
    server.transition = "smooth"
    server.rollback(version)
    return Run(policy, recording, old, version)
