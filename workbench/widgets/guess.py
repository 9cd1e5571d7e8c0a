"""Predict, then reveal: draw the curve you expect, measure it, and compare.

    guess = wb.PredictThenReveal(
        "Throughput against batching delay?", delays, measure, x_label="ms",
        y_label="requests/s", y_range=(0, 20_000),
    )
    guess

It compares the learner's curve with the learner's own measurement on this machine.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from workbench.widgets.base.durable import Durable, Lasting, lasting
from workbench.widgets.base.live import View, view

if TYPE_CHECKING:
    import pandas as pd

    from workbench.experiments.figure import Picture

Report = Callable[[str], None]
Measure = Callable[[Report], Sequence[float]]
NEAR = 0.15
"""A good guess has at most this mean error, as a share of the measured range."""
_ALIKE = 0.7


class PredictThenReveal(Durable, View):
    """A question about a curve.

    Attributes:
        guess: the drawn values, one for each of `xs`; empty before `reveal`.
        truth: the measured values, likewise.
    """

    face = view("guess")

    def __init__(
        self,
        question: str,
        xs: Sequence[float],
        measure: Measure,
        *,
        x_label: str,
        y_label: str,
        y_range: tuple[float, float],
    ) -> None:
        if len(xs) < 2 or list(xs) != sorted(set(xs)):
            raise ValueError(f"xs must be two or more ascending numbers; were {list(xs)!r}")
        if not y_range[0] < y_range[1]:
            raise ValueError(f"y_range must be a lower and a higher number; was {y_range!r}")
        about = {
            "question": question,
            "xs": [float(x) for x in xs],
            "xLabel": x_label,
            "yLabel": y_label,
            "yRange": [float(y) for y in y_range],
        }
        orders = {"reveal": lambda asked: self.reveal(asked["guess"], self._report)}
        super().__init__(about, orders)
        self.guess: list[float] = []
        self.truth: list[float] = []
        self._measure = measure

    def reveal(self, guess: Sequence[float], report: Report = print) -> str:
        """Measure, and compare with `guess`; the button does the same.

        Args:
            guess: one value for each of `xs`.

        Returns:
            The verdict.

        Raises:
            ValueError: not one value for each of `xs`.
        """
        # The button and a cell may call it at the same time.
        with self._turn:
            places = len(self.about["xs"])
            if len(guess) != places or any(value is None for value in guess):
                raise ValueError(f"guess must have {places} values; has {len(guess)}")
            self.guess = [float(value) for value in guess]
            truth = [float(value) for value in self._measure(report)]
            if len(truth) != places:
                raise ValueError(f"measure must return {places} values; returned {len(truth)}")
            self.truth = truth
            self._renew()
            self._send_truth()
            return self.verdict

    @property
    def verdict(self) -> str:
        """The guess's mean error, and its largest one, in words."""
        if not self.truth:
            return "not revealed yet"
        truth, guess = np.array(self.truth), np.array(self.guess)
        span = float(np.ptp(truth)) or abs(float(truth[0])) or 1.0
        off = np.abs(guess - truth) / span
        worst = int(off.argmax())
        unit, place = self.about["xLabel"], self.about["xs"][worst]
        mean = float(off.mean())
        if mean <= NEAR:
            said = "You predicted it well"
        elif _alike(guess, truth):
            said = "The shape is right, but not the size"
        else:
            said = "It behaves differently from your guess"
        way = "high" if guess[worst] > truth[worst] else "low"
        return (
            f"{said}: the mean error is {mean:.0%} of the measured range. It is largest at "
            f"{place:g} {unit}, where your guess was too {way} ({guess[worst]:.3g} instead of "
            f"{truth[worst]:.3g})."
        )

    @property
    def frame(self) -> pd.DataFrame:
        """The guess and the measurement: one row for each of `xs`."""
        import pandas as pd

        places = self.about["xs"]
        empty = [float("nan")] * len(places)
        return pd.DataFrame(
            {
                self.about["xLabel"]: places,
                "guessed": self.guess or empty,
                "measured": self.truth or empty,
            }
        )

    def plot(self) -> Picture:
        """Both curves."""
        from workbench.experiments.figure import Picture
        from workbench.experiments.looks import FAILED, VERSIONS

        figure = Picture(figsize=(6.0, 3.2), layout="constrained")
        axes = figure.subplots()
        places = range(len(self.about["xs"]))
        if self.guess:
            axes.plot(places, self.guess, "o--", color=VERSIONS[0], label="guessed", markersize=4)
        if self.truth:
            axes.plot(places, self.truth, "o-", color=FAILED, label="measured", markersize=4)
            axes.legend(frameon=False)
        axes.set_xticks(places, [f"{x:g}" for x in self.about["xs"]])
        axes.set_xlabel(self.about["xLabel"])
        axes.set_ylabel(self.about["yLabel"])
        axes.set_title(self.about["question"], loc="left", fontsize=11)
        axes.spines[["top", "right"]].set_visible(False)
        return figure

    def lasting(self) -> Lasting:
        """Its contents for a notebook without the kernel."""
        return lasting(self.about["question"], repr(self), self.frame, self.plot())

    def _on_message(self, widget: Any, message: Any, buffers: Any) -> None:
        if message.get("op") == "hello" and self.truth:
            self._send_truth()
        super()._on_message(widget, message, buffers)

    def _send_truth(self) -> None:
        self.send(
            {"kind": "truth", "values": self.truth, "guess": self.guess, "text": self.verdict}
        )

    def _report(self, text: str) -> None:
        self.send({"kind": "progress", "text": text})

    def __repr__(self) -> str:
        return f"<PredictThenReveal {self.about['question']!r}: {self.verdict}>"


def _alike(guess: NDArray[np.float64], truth: NDArray[np.float64]) -> bool:
    """Whether both rise and fall together."""
    if not np.ptp(guess) or not np.ptp(truth):
        return False
    return float(np.corrcoef(guess, truth)[0, 1]) > _ALIKE
