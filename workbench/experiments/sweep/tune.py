"""Finding batching parameters: some fifty settings simulated, the best few measured.

The simulator is quick and nearly right, the server is slow and right. So the simulator ranks
batch sizes of 1, 2, 4 ... and half a dozen timeouts for the wanted load, and only the best few
are measured. Nothing is changed on the server unless it is asked for.

What is predicted is the engine alone: where the load enters over REST or gRPC, the way there
and back comes on top, and only the measurement knows of it.
"""

from __future__ import annotations

import html
import math
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from itertools import product
from typing import TYPE_CHECKING, Any

from workbench.client.server import ServerClient
from workbench.core.batching.parameters import BatchingParameters
from workbench.experiments.load.borrowed_settings import automatic
from workbench.experiments.load.measure import Where
from workbench.experiments.simulator.calibrate import Calibration, calibrate
from workbench.experiments.simulator.service_time import sizes_up_to
from workbench.experiments.simulator.simulate import simulate
from workbench.experiments.store.progress import Progress
from workbench.experiments.store.running import Running
from workbench.experiments.sweep.diagnosis import diagnose
from workbench.experiments.sweep.point import STABLE, Point, without_infinity
from workbench.experiments.sweep.sweep import sweep
from workbench.load.arrivals import poisson

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.figure import Figure

VERIFIED = 3
SIMULATED_REQUESTS = 4000
ROOMY = 0.7
"""Executors that are busy for less than this share of the time still have room for bursts."""
_TIMEOUT_STEPS = (0.0, 0.05, 0.1, 0.2, 0.4, 0.7)
"""Timeouts that are tried, as shares of the latency that is allowed."""


@dataclass(frozen=True)
class Candidate:
    """A setting, and what the simulator thinks of it."""

    parameters: BatchingParameters
    p99: float
    achieved: float
    rejected: float
    occupancy: float


@dataclass(frozen=True)
class TuneResult:
    """What to set, and why.

    Attributes:
        parameters: the best that was found.
        meets: whether it was measured to keep within the wanted latency, surely.
        p99_ms, rate: what was wanted.
        measured: the settings that were verified, best first, as sweep points.
        predicted_ms: for each of them, the 99th percentile that was predicted, of the engine alone.
        limit: in words, what keeps it from being faster.
        applied: whether the server now has the parameters.
        where: where the load of the measurements entered.
        number: in the store; None if it was not kept.
    """

    parameters: BatchingParameters
    meets: bool
    p99_ms: float
    rate: float
    measured: tuple[Point, ...] = field(repr=False)
    predicted_ms: tuple[float, ...]
    limit: str
    applied: bool
    where: str = "engine"
    number: int | None = None

    @property
    def frame(self) -> pd.DataFrame:
        """One row for each setting that was verified."""
        import pandas as pd

        frame = pd.DataFrame([point.line() for point in self.measured])
        frame.insert(3, "predicted_p99_ms", list(self.predicted_ms))
        return frame

    def __str__(self) -> str:
        best = self.measured[0]
        found = best.latency.get("p99")
        p99 = "unknown" if found is None else f"{found.estimate * 1e3:.3g} ms"
        verb = "meets" if self.meets else "does not meet"
        alone = "" if self.where == "engine" else f" for the engine, without {self.where}"
        return (
            f"batch_timeout_micros {self.parameters.batch_timeout_micros}, max_batch_size "
            f"{self.parameters.max_batch_size} {verb} {self.p99_ms:g} ms at {self.rate:g} "
            f"requests/s: measured p99 {p99}, predicted {self.predicted_ms[0]:.3g} ms{alone}. "
            f"{self.limit}{' Applied.' if self.applied else ''}"
        )

    def plot(self) -> Figure:
        """The 99th percentile of each setting that was verified, measured with its interval and
        predicted, and the limit."""
        from matplotlib.figure import Figure

        figure = Figure(figsize=(6, 3.6), layout="constrained")
        axes = figure.add_subplot()
        for at, (point, predicted) in enumerate(zip(self.measured, self.predicted_ms, strict=True)):
            found = point.latency.get("p99")
            if found is not None:
                middle, low, high = found.estimate * 1e3, found.low * 1e3, found.high * 1e3
                axes.plot(at, middle, "o", color="C0", label=None if at else "measured")
                if math.isfinite(low) and math.isfinite(high):
                    axes.vlines(at, low, high, color="C0")
            if math.isfinite(predicted):
                axes.plot(at, predicted, "x", color="0.3", label=None if at else "predicted")
        axes.axhline(self.p99_ms, color="C3", linewidth=0.9, linestyle=":", label="limit")
        axes.set_xticks(range(len(self.measured)), [_short(p) for p in self.measured])
        axes.set(ylabel="latency, p99 (ms)", ylim=(0, None))
        axes.set_title(f"{self.rate:g} requests/s, {self.where}", fontsize=10)
        axes.spines[["top", "right"]].set_visible(False)
        axes.legend(frameon=False, fontsize=9)
        return figure

    def _repr_html_(self) -> str:
        """The sentence and the settings that were verified, readable without kernel or script."""
        rows = "".join(
            f"<tr><td>{html.escape(_short(point))}</td><td>{point.percentile('p99') * 1e3:.3g}</td>"
            f"<td>{predicted:.3g}</td><td>{html.escape(point.verdict)}</td></tr>"
            for point, predicted in zip(self.measured, self.predicted_ms, strict=True)
        )
        return (
            f"<p>{html.escape(str(self))}</p><table><thead><tr><th>setting</th>"
            "<th>p99 (ms)</th><th>predicted (ms)</th><th>verdict</th></tr></thead>"
            f"<tbody>{rows}</tbody></table>"
        )

    def to_json(self) -> dict[str, Any]:
        """Everything as plain data; what is infinite as null."""
        data = {k: v for k, v in self.__dict__.items() if k != "number"}
        return {
            **data,
            "parameters": self.parameters.to_json(),
            "measured": [point.to_json() for point in self.measured],
            "predicted_ms": without_infinity(self.predicted_ms),
        }

    @classmethod
    def from_json(cls, data: Mapping[str, Any], number: int | None = None) -> TuneResult:
        return cls(
            **{
                **data,
                "parameters": BatchingParameters.from_json(data["parameters"]),
                "measured": tuple(Point.from_json(each) for each in data["measured"]),
                "predicted_ms": tuple(
                    math.inf if each is None else each for each in data["predicted_ms"]
                ),
                "number": number,
            }
        )


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
    seconds: float = 3.0,
    seed: int = 0,
    apply: bool = False,
    keep: bool = True,
    progress: bool = True,
) -> TuneResult:
    """Find parameters with a 99th percentile within `p99_ms` at `rate` requests a second.

    Args:
        payload, rows, where: as for `sweep`.
        calibration: of this model on this machine; without, one is made first (some 4 s).
        verify: so many of the best settings are measured, `seconds` each at most.
        apply: put the winner in force; otherwise the server is left as it was.

    Raises:
        ServingError: as `calibrate` and `sweep`.
    """
    said = Progress(progress)
    with Running("tune", server, keep, said) as running:
        if calibration is None:
            said.say("Calibrating: some 4 s")
            calibration = calibrate(
                server,
                payload,
                rows=rows,
                report=lambda text: running.tell(f"calibrating: {text}"),
                keep=False,
            )
        before = server.batching or automatic(server)
        before = replace(before, num_batch_threads=calibration.slots)
        found = candidates(before, calibration, p99_ms, rate, seed)
        chosen = best_of_each_timeout(rank(found, p99_ms))[:verify]
        said.say(f"Simulated {len(found)} settings; measuring the best {len(chosen)}")
        pairs: list[tuple[Point, Candidate]] = []

        def on_window(_: int, loaded: float) -> None:
            share = (len(pairs) + min(1.0, loaded / seconds)) / len(chosen)
            running.tell(f"measured {len(pairs)} of {len(chosen)}", share)

        for candidate in chosen:
            result = sweep(
                server,
                rate=rate,
                payload=payload,
                rows=rows,
                where=where,
                base=candidate.parameters,
                seconds=seconds,
                seed=seed,
                keep=False,
                progress=False,
                on_window=on_window,
            )
            if result.interrupted:
                raise KeyboardInterrupt
            pairs.append((result.points[0], candidate))
            said.update(f"measured {len(pairs)} of {len(chosen)}")
    said.close()
    pairs.sort(key=lambda pair: _cost(pair[0], p99_ms))
    best = pairs[0][0]
    meets = best.verdict == STABLE and best.latency["p99"].high <= p99_ms / 1e3
    if apply:
        server.batching = best.batching
    tuned = TuneResult(
        parameters=best.batching,
        meets=meets,
        p99_ms=p99_ms,
        rate=rate,
        measured=tuple(point for point, _ in pairs),
        predicted_ms=tuple(candidate.p99 * 1e3 for _, candidate in pairs),
        limit=explain(best, calibration, p99_ms),
        applied=apply,
        where=where,
    )
    if keep:
        from workbench.experiments.store.store import keep_result

        about = f"p99 {p99_ms:g} ms at {rate:g}/s: {'met' if meets else 'not met'}"
        tuned = keep_result("tune", server.model, tuned, about)
    return tuned


def candidates(
    base: BatchingParameters, calibration: Calibration, p99_ms: float, rate: float, seed: int
) -> list[Candidate]:
    """What the simulator says of batches of up to 1, 2, 4 ... requests, each with a few timeouts.

    Everything else is as in `base`; see `resized`.
    """
    largest = int(calibration.service.rows[-1])
    arrivals = poisson(rate, seed=seed, count=SIMULATED_REQUESTS)
    sizes = [size * calibration.rows for size in sizes_up_to(max(1, largest // calibration.rows))]
    found = []
    for size, share in product(sizes, _TIMEOUT_STEPS):
        parameters = replace(resized(base, size), batch_timeout_micros=round(share * p99_ms * 1e3))
        result = simulate(
            parameters,
            arrivals,
            calibration.service,
            calibration.slots,
            rows=calibration.rows,
            seed=seed,
        ).summary()
        found.append(
            Candidate(
                parameters,
                result["latency_s"].get(99.0, math.inf),
                result["achieved_per_s"],
                result["rejected_share"],
                result["occupancy"],
            )
        )
    return found


def resized(base: BatchingParameters, rows: int) -> BatchingParameters:
    """`base` with batches of at most `rows` rows.

    Where tasks are split, tasks that were accepted stay accepted. Where batches are padded, they
    are padded up to the largest.
    """
    splitting = base.enable_large_batch_splitting
    largest = max(rows, base.max_batch_size) if splitting else rows
    allowed = {size for size in base.allowed_batch_sizes if size < rows} | {rows, largest}
    return replace(
        base,
        max_batch_size=largest,
        max_execution_batch_size=rows if splitting else None,
        allowed_batch_sizes=tuple(sorted(allowed)) if base.allowed_batch_sizes else (),
    )


def rank(found: list[Candidate], p99_ms: float) -> list[Candidate]:
    """The best first: those that keep within the latency, reject nothing and leave executors time
    for bursts, by latency; then the others that keep within it, by occupancy; then the rest."""

    def key(candidate: Candidate) -> tuple[int, float]:
        if candidate.rejected or candidate.p99 > 0.9 * p99_ms / 1e3:
            return (2, candidate.p99 + candidate.rejected * 1e3)
        if candidate.occupancy > ROOMY:
            return (1, candidate.occupancy)
        return (0, candidate.p99)

    return sorted(found, key=key)


def best_of_each_timeout(ranked: list[Candidate]) -> list[Candidate]:
    """The same, with only the best of those that share a timeout: where the simulator is wrong, it
    is wrong about all of them."""
    first: dict[int, Candidate] = {}
    for candidate in ranked:
        first.setdefault(candidate.parameters.batch_timeout_micros, candidate)
    return list(first.values())


def _cost(point: Point, p99_ms: float) -> tuple[bool, float]:
    stable = point.verdict == STABLE
    if stable and point.latency["p99"].high <= p99_ms / 1e3:
        return (False, point.occupancy)
    return (True, point.percentile("p99") if stable else math.inf)


def explain(point: Point, calibration: Calibration, p99_ms: float) -> str:
    """What keeps the 99th percentile at this point from being lower."""
    single = calibration.service.median(point.rows) / 1e3
    if single > p99_ms:
        return (
            f"The model is the limit: a lone request runs for {single:.3g} ms, more than the "
            f"{p99_ms:g} ms allowed."
        )
    size = point.batching.batch_limit
    capacity = calibration.service.capacity(size, point.slots, max(1, size // point.rows))
    offered = point.offered * point.rows
    if offered > 0.9 * capacity:
        return (
            f"The executors are the limit: {point.slots} of them run {capacity:.0f} rows/s at "
            f"most, and {offered:.0f} are offered."
        )
    problems = diagnose(point)
    if problems:
        return str(problems[0])
    if point.queue >= max(point.run, point.overhead):
        return (
            f"Waiting for a batch is the largest part of the latency "
            f"({point.queue * 1e3:.2f} ms of {_total(point):.2f} ms in the mean)."
        )
    if point.run >= point.overhead:
        return (
            f"Running is the largest part of the latency ({point.run * 1e3:.2f} ms of "
            f"{_total(point):.2f} ms in the mean): only a quicker model would help."
        )
    return (
        f"Neither waiting nor running: {point.overhead * 1e3:.2f} ms of {_total(point):.2f} ms in "
        "the mean are spent on the way."
    )


def _short(point: Point) -> str:
    return f"{point.parameters['batch_timeout_micros'] / 1e3:g} ms, {point.batching.batch_limit}"


def _total(point: Point) -> float:
    return (point.queue + point.run + point.overhead) * 1e3
