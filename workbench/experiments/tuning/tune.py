"""Finds batching parameters: simulates some fifty settings, and measures the best few.

The simulator is fast and nearly right, the server is slow and right. So the simulator puts batch
sizes of 1, 2, 4 ... with half a dozen timeouts in order for the wanted load, and the first few are
measured, in that order, until one is known to meet the latency. The order decides, and not which of
several good settings was measured a little faster, so the answer is the same when asked again.
The prediction covers only the engine; over REST and gRPC only the measurement includes the
transport.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from operator import itemgetter
from typing import Any

from workbench.client.server import ServerClient
from workbench.core.status import invalid_argument
from workbench.experiments.load.borrowed_settings import automatic, kept_settings
from workbench.experiments.load.generator import LIMITED
from workbench.experiments.load.measure import Where
from workbench.experiments.load.server_load import make_payload
from workbench.experiments.simulator.calibrate import calibrate
from workbench.experiments.simulator.calibration import Calibration
from workbench.experiments.store.running import Running
from workbench.experiments.store.server_turns import WhenBusy
from workbench.experiments.store.store import keep_result
from workbench.experiments.sweep.certainty import Goal, latency_intervals
from workbench.experiments.sweep.diagnosis import diagnose
from workbench.experiments.sweep.measuring import Measuring
from workbench.experiments.sweep.point import FAILING, STABLE, Point, condition
from workbench.experiments.sweep.sweep import OVERHEAD_SECONDS
from workbench.experiments.sweep.time_budget import Trial
from workbench.experiments.tuning.candidates import candidates, rank, shortlist
from workbench.experiments.tuning.tune_result import TuneResult
from workbench.load.arrivals import Schedule

VERIFIED = 3
SECONDS = 55.0
ANSWER_SECONDS = 6.0
"""A setting has its answer only after this much load: a machine that is busy with something else
now and then must have been so, and must not have been so all the time."""
_WINDOW_SECONDS = 1.0
_FIRST_SHARE = 0.5
"""The first setting may take this share of the time, the second this share of the rest ..."""


def tune(
    server: ServerClient,
    *,
    p99_ms: float,
    rate: float,
    payload: Any = None,
    rows: int = 1,
    where: Where = "engine",
    calibration: Calibration | None = None,
    verify: int = VERIFIED,
    seconds: float = SECONDS,
    seed: int = 0,
    apply: bool = False,
    keep: bool = True,
    progress: bool = True,
    when_busy: WhenBusy = "refuse",
) -> TuneResult:
    """Finds parameters that keep a latency at a rate; see `Server.tune`."""
    if not (p99_ms > 0 and rate > 0 and seconds > 0 and verify >= 1):
        raise invalid_argument(
            "p99_ms, rate, seconds and verify must be positive; were "
            f"{p99_ms}, {rate}, {seconds} and {verify}"
        )
    begun = time.monotonic()
    asked = make_payload(server, payload, rows=rows)
    interrupted = False

    def left() -> float:
        return max(0.0, seconds - (time.monotonic() - begun))

    with (
        Running("tune", server, keep, progress, when_busy) as running,
        kept_settings(server) as borrowed,
    ):
        running.say(
            f"Looking for a p99 of {p99_ms:g} ms at {rate:g} requests/s: {seconds:.0f} s at most"
        )
        if calibration is None:
            calibration = calibrate(
                server,
                payload,
                rows=rows,
                progress=lambda text: running.tell(f"calibrating: {text}", left=left()),
                keep=False,
            )
        before = server.batching or automatic(server)
        before = replace(before, num_batch_threads=calibration.slots)
        found = candidates(before, calibration, p99_ms, rate, seed)
        chosen = shortlist(rank(found, p99_ms), verify)
        running.say(f"Simulated {len(found)} settings; measuring the best {len(chosen)}")
        goal = Goal(p99_ms=p99_ms)
        measuring = Measuring(server, borrowed, asked, where, Schedule("poisson", rate, 1.0), seed)
        trials = [
            Trial(each.parameters, {"rate": rate}, seconds, _WINDOW_SECONDS) for each in chosen
        ]

        def measure(trial: Trial) -> None:
            measuring.add_window(trial)
            words = f"measured setting {trials.index(trial) + 1} of {len(trials)}"
            running.tell(f"{words} for {trial.loaded:.0f} s", 1 - left() / seconds, left())

        def load_left() -> float:
            return left() * _WINDOW_SECONDS / (_WINDOW_SECONDS + OVERHEAD_SECONDS[where])

        try:
            verify_in_turn(trials, goal, measure, load_left)
        except KeyboardInterrupt:
            if not any(trial.windows for trial in trials):
                raise
            interrupted = True
        pairs = [
            (measuring.point(trial, goal), candidate, meets(trial, goal))
            for trial, candidate in zip(trials, chosen, strict=True)
            if trial.windows
        ]
    # Sorting keeps the order of preference among equals.
    pairs.sort(key=lambda pair: _order(pair[0], pair[2]))
    best, _, answer = pairs[0]
    if apply and answer:
        server.batching = best.batching
    tuned = TuneResult(
        parameters=best.batching,
        meets=answer,
        p99_ms=p99_ms,
        rate=rate,
        measured=tuple(point for point, _, _ in pairs),
        predicted_ms=tuple(candidate.p99 * 1e3 for _, candidate, _ in pairs),
        limit="" if answer else explain(best, calibration, p99_ms),
        applied=apply and answer is True,
        where=where,
        answers=tuple(answer for _, _, answer in pairs),
        headroom=pairs[0][1].headroom,
        interrupted=interrupted,
        seconds=time.monotonic() - begun,
    )
    return keep_result("tune", server.model, tuned, tuned.finding()) if keep else tuned


def verify_in_turn(
    trials: Sequence[Trial],
    goal: Goal,
    measure: Callable[[Trial], None],
    load_left: Callable[[], float],
) -> None:
    """Measure trials in their order until the first one that can meet the latency is known to.

    A trial that probably meets it in the time that is left is measured to its answer. Another one
    waits when it has had its share of the time, until the later ones have been looked at. Then the
    time goes to the one that lacks the least.

    Args:
        measure: adds a window to a trial.
        load_left: how many seconds of load there is time for; one window is always measured.
    """
    all_seconds = load_left()
    shares = [all_seconds * _FIRST_SHARE ** (turn + 1) for turn in range(len(trials))]
    while True:
        left = load_left()
        if left < trials[0].window_seconds and any(trial.windows for trial in trials):
            return
        open_ones = []
        for trial, share in zip(trials, shares, strict=True):
            answer = meets(trial, goal)
            if answer:
                return
            if answer is None and not _is_stuck(trial):
                early = trial.loaded < max(share, ANSWER_SECONDS)
                if early or (_leans_to_meet(trial, goal) and trial.lacks(goal) <= left):
                    open_ones = [trial]
                    break
                open_ones.append(trial)
        if not open_ones:
            return
        measure(min(open_ones, key=lambda trial: trial.lacks(goal)))


def _leans_to_meet(trial: Trial, goal: Goal) -> bool:
    found = latency_intervals(trial.windows, "p99").get("p99")
    return found is not None and found.estimate <= (goal.p99_ms or math.inf) / 1e3


def meets(trial: Trial, goal: Goal) -> bool | None:
    """Whether a setting meets the latency; None if that is not known yet. One that rejects a
    request does not: it has no room for a burst."""
    if not trial.windows:
        return None
    if any(window.failures.get("rejected", 0) for window in trial.windows):
        return False
    loaded, state = trial.loaded, condition(trial.load, trial.windows)
    if state != STABLE:
        return None if state == LIMITED or loaded < ANSWER_SECONDS else False
    found = latency_intervals(trial.windows, "p99").get("p99")
    if found is None or not goal.is_reached(found):
        return None
    within = found.high <= (goal.p99_ms or math.inf) / 1e3
    return within if loaded >= ANSWER_SECONDS else None


def _is_stuck(trial: Trial) -> bool:
    """Whether more load will not help: the load generator is the limit."""
    return (
        trial.loaded >= ANSWER_SECONDS
        and bool(trial.windows)
        and condition(trial.load, trial.windows) == LIMITED
    )


def _order(point: Point, answer: bool | None) -> tuple[float, ...]:
    if answer:
        return (0.0,)
    p99 = point.percentile("p99")
    return (1.0 if answer is None else 2.0, point.lost, math.inf if math.isnan(p99) else p99)


def explain(point: Point, calibration: Calibration, p99_ms: float) -> str:
    """The reason, in words, why the 99th percentile at this point is not lower."""
    if point.verdict == FAILING:
        return str(diagnose(point)[0])
    single = calibration.service.median(point.rows) / 1e3
    if single > p99_ms:
        return (
            f"The model is the limit: a single request runs for {single:.3g} ms, more than the "
            f"{p99_ms:g} ms allowed."
        )
    size = point.batching.batch_limit
    capacity = calibration.service.capacity(size, point.slots, max(1, size // point.rows))
    offered = point.offered * point.rows
    if offered > 0.9 * capacity:
        return (
            f"The executors are the limit: {point.slots} of them run at most {capacity:.0f} "
            f"rows/s, and {offered:.0f} rows/s are offered."
        )
    problems = diagnose(point)
    if problems:
        return str(problems[0])
    seconds, cause, cure = max(
        (point.queue, "Waiting for a batch is", ""),
        (point.run, "Running is", " Only a faster model would help."),
        (point.overhead, "Transport and handling are", ""),
        key=itemgetter(0),
    )
    total = point.queue + point.run + point.overhead
    return (
        f"{cause} the largest part of the latency ({seconds * 1e3:.2f} ms of {total * 1e3:.2f} ms "
        f"on average).{cure}"
    )
