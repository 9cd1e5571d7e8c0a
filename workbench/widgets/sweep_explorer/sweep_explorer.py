"""The sweep explorer: drag a setting, see the simulator's prediction, measure it, apply it.

    explorer = server.sweep_explorer()
    explorer                            # the sliders, in a notebook
    explorer.calibrate()                # the buttons are methods too
    explorer.measure()
    explorer.export("batching.txt")

It measures only the engine, batching and model, which is also what the simulator predicts.
`server.sweep(where="rest")` includes the transport.
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from workbench.client.server import ServerClient
from workbench.core.status import failed_precondition, invalid_argument
from workbench.experiments.load.borrowed_settings import in_force
from workbench.experiments.showing import in_notebook
from workbench.experiments.simulator.calibrate import calibrate as run_calibration
from workbench.experiments.simulator.calibration import Calibration
from workbench.experiments.store import running
from workbench.experiments.store.server_turns import Turn, WhenBusy
from workbench.experiments.sweep.explore import (
    Setting,
    curve_values,
    point_figures,
    predicted_curve,
    scales,
)
from workbench.experiments.sweep.point import Point
from workbench.experiments.sweep.sweep import sweep
from workbench.experiments.sweep.sweep_result import SweepResult
from workbench.formats.config_files import write_batching_parameters
from workbench.widgets.base.durable import Durable, Lasting, display_live
from workbench.widgets.base.latest import Latest
from workbench.widgets.base.live import LiveWidget, view

if TYPE_CHECKING:
    import pandas as pd

    from workbench.experiments.figure import Picture

Report = Callable[[str, float | None], None]
"""Called with the progress in words, and as a share from 0 to 1 where known."""

_NEWS_SECONDS = 1.0
_LONGEST_SECONDS, _TIMES_LONGER, _SPARE = 60.0, 4.0, 1.3
"""Of a setting that is measured again because it lacked an answer; the time that it lacks is an
estimate, or unknown."""


class Cancelled(Exception):
    """The user pressed Cancel."""


class SweepExplorer(Durable):
    """Sliders over batching and load of one server's model; see `Server.sweep_explorer`.

    Attributes:
        server: its batching is changed during calibration and measurement, and restored afterwards.
        setting: the sliders' position.
        axis: the one of `explore.AXES` against which the curve is drawn.
        calibration: what the curve is simulated with; None before there is one.
        points: the measured points of the version measured last, in order. Each is kept in the
            store too (`wb.history()`).
    """

    def __init__(
        self,
        server: ServerClient,
        calibration: Calibration | None = None,
        *,
        payload: Any = None,
        rows: int = 1,
        rate: float = 500.0,
        seconds: float = 4.0,
    ) -> None:
        if calibration is not None and calibration.rows != rows:
            raise invalid_argument(
                f"The calibration is for requests of {calibration.rows} rows, not {rows}: "
                f"calibrate with rows={rows}"
            )
        self.server = server
        self.calibration = calibration
        self.axis = "batch_timeout_micros"
        self.points: list[Point] = []
        self._payload = payload
        self._rows = rows
        self._seconds = seconds
        self._base = in_force(server)
        self.setting = Setting.of(self._base, rate)
        self._scales = scales(self.setting, rows)
        self._result: SweepResult | None = None
        self._busy = ""
        self._cancel = threading.Event()
        self._widget = _Face(self)

    def calibrate(
        self, report: Report = lambda text, share: None, when_busy: WhenBusy = "refuse"
    ) -> str:
        """Measure the model's run times, which loads the server for about 8 s.

        Args:
            when_busy: as for `server.sweep`.

        Returns:
            A summary in words.

        Raises:
            ServingError: as `server.calibrate`, or another experiment is running.
            Cancelled: by `cancel`.
        """

        def on_step(text: str) -> None:
            if self._cancel.is_set():
                raise Cancelled("Cancelled: the server has its parameters back.")
            report(text, None)

        with self._occupied("calibrating", "calibration", when_busy, report):
            self._base = in_force(self.server)
            try:
                self.calibration = run_calibration(
                    self.server, self._payload, rows=self._rows, progress=on_step
                )
            except running.Cancelled as error:
                raise Cancelled(f"{error}: the server has its parameters back.") from error
        self._renew()
        return self._about_calibration()

    def curve(self, setting: Setting, axis: str) -> list[Point]:
        """Simulate along `axis`, with everything else as in `setting`, which is one of the points.
        Moves the sliders there.

        Raises:
            ServingError: FAILED_PRECONDITION, nothing is calibrated yet; or as
                `explore.predicted_curve`.
        """
        if self.calibration is None:
            raise failed_precondition("Calibrate first: the simulator knows no run times yet")
        values = curve_values(self._scales.get(axis, [1]), getattr(setting, axis, 1))
        found = predicted_curve(self.calibration, self._base, setting, axis, values)
        self.setting, self.axis = setting, axis
        return found

    def measure(
        self,
        setting: Setting | None = None,
        report: Report = lambda text, share: None,
        when_busy: WhenBusy = "refuse",
    ) -> Point:
        """Load the real server with a setting, and restore its parameters. A setting that lacked
        an answer when it was measured last is measured for as much longer as that lacked.

        Args:
            setting: by default that of the sliders.
            when_busy: as for `server.sweep`.

        Raises:
            ServingError: as `server.sweep`, or another experiment is running.
            Cancelled: by `cancel`.
        """
        chosen = setting or self.setting

        most = self._seconds_for(chosen)

        def on_window(_: int, seconds: float) -> None:
            if self._cancel.is_set():
                raise KeyboardInterrupt
            report(f"measured {seconds:.1f} of at most {most:.1f} s", seconds / most)

        with self._occupied("measuring", "sweep", when_busy, report):
            self._base = in_force(self.server)
            report(f"measuring for at most {most:.1f} s", 0.0)
            found = sweep(
                self.server,
                rate=chosen.rate,
                base=chosen.parameters(self._base),
                payload=self._payload,
                rows=self._rows,
                seconds=most,
                progress=False,
                on_window=on_window,
            )
            if not found.points:
                raise Cancelled("Cancelled: the server has its parameters back.")
            self.setting = chosen
            self._keep(found)
        self._renew()
        return found.points[0]

    def _seconds_for(self, setting: Setting) -> float:
        """The most load for this setting, in seconds."""
        for point in reversed(self.points):
            if Setting.of(point.batching, point.load["rate"]) == setting:
                lacks = min(point.lacks or 0.0, _TIMES_LONGER * point.seconds)
                wanted = point.seconds + _SPARE * lacks
                return min(max(self._seconds, wanted), max(self._seconds, _LONGEST_SECONDS))
        return self._seconds

    def cancel(self) -> None:
        """End a running calibration or measurement, at the end of its present window of load."""
        self._cancel.set()

    def apply(self, setting: Setting | None = None) -> str:
        """Apply a setting, by default that of the sliders, to the server.

        Raises:
            ServingError: the server refuses it, or has ended.
        """
        chosen = setting or self.setting
        parameters = chosen.parameters(in_force(self.server))
        self.server.batching = parameters
        self._base = parameters
        return f"In force: {chosen}."

    def batching_parameters(self, setting: Setting | None = None) -> str:
        """The text of a `--batching_parameters_file` for TensorFlow Serving."""
        return write_batching_parameters((setting or self.setting).parameters(self._base))

    def export(self, path: str | os.PathLike[str], setting: Setting | None = None) -> Path:
        """Write a `--batching_parameters_file` with a setting, by default that of the sliders."""
        target = Path(path)
        target.write_text(self.batching_parameters(setting))
        return target

    @property
    def result(self) -> SweepResult | None:
        """All measured points as one sweep; None before there is any."""
        return self._result

    @property
    def frame(self) -> pd.DataFrame:
        """One row for each measured point."""
        import pandas as pd

        return pd.DataFrame([point.line() for point in self.points])

    def plot(self) -> Picture | None:
        """Latency and throughput along the axis: the simulated curve and the measured points with
        their intervals; None without either."""
        if self.calibration is None and not self.points:
            return None
        from workbench.widgets.sweep_explorer.explorer_figure import draw

        predicted = [] if self.calibration is None else self.curve(self.setting, self.axis)
        return draw(self.server.model, self.setting, self.axis, predicted, self.points)

    def __str__(self) -> str:
        title = f"Sweep explorer of {self.server.model} on {self.server.name}"
        lines = [title, self._about_calibration()]
        if self._result is None:
            return "\n".join([*lines, "Nothing is measured yet."])
        columns = [
            *("batch_timeout_micros", "max_batch_size", "num_batch_threads", "rate"),
            *("achieved_per_s", "p50_ms", "p99_ms", "p99_low", "p99_high", "verdict"),
        ]
        table = self.frame[columns].round(3).to_string(index=False)
        measured = f"Measured with version {self._result.version}:"
        return "\n".join([*lines, measured, table, *self._result.diagnoses()])

    def __repr__(self) -> str:
        known = "not calibrated" if self.calibration is None else "calibrated"
        return f"<SweepExplorer {self.server.model}: {known}, {len(self.points)} points measured>"

    def _repr_pretty_(self, printer: Any, cycle: bool) -> None:
        printer.text(str(self))

    def _ipython_display_(self) -> None:
        if not (in_notebook() and self.server.running):
            raise NotImplementedError
        self._output = display_live(self._widget, self.lasting())

    def lasting(self) -> Lasting:
        """Its contents for a notebook without the kernel."""
        from workbench.widgets.sweep_explorer.explorer_figure import page

        picture = self.plot()
        png = None if picture is None else picture._repr_png_()
        return Lasting(page(str(self), self._result, png), str(self), png)

    def _about_calibration(self) -> str:
        found = self.calibration
        if found is None:
            return "Not calibrated: the simulator knows no run times yet."
        service = found.service
        size = int(service.rows[-1])
        most = service.capacity(size, found.slots, max(1, size // found.rows))
        return (
            f"Calibrated with version {found.version}: one row runs {service.median(1) / 1e3:.2g} "
            f"ms, {size} rows {service.median(size) / 1e3:.2g} ms; {found.slots} threads answer "
            f"at most {most / found.rows:.0f} requests/s."
        )

    @contextmanager
    def _occupied(
        self, doing: str, kind: str, when_busy: WhenBusy, report: Report
    ) -> Iterator[None]:
        """Holds the server's turn during the block. The page shows what is being done, and Cancel
        ends it; it also ends the waiting for the turn."""
        if self._busy:
            raise failed_precondition(f"The explorer is already {self._busy}: wait, or cancel it")

        def on_wait(text: str) -> None:
            if self._cancel.is_set():
                raise Cancelled("Cancelled: nothing was measured.")
            report(text, None)

        self._cancel.clear()
        self._busy = doing
        self._widget.send(self._state())
        try:
            turn = Turn(kind, self.server, when_busy, on_wait, leads=False)
            try:
                yield
            finally:
                turn.end()
        finally:
            self._busy = ""
            self._widget.send(self._state())

    def _keep(self, found: SweepResult) -> None:
        if self._result is None or self._result.version != found.version:
            self.points = []
        self.points = [*self.points, *found.points]
        self._result = replace(
            found,
            started_at=found.started_at if self._result is None else self._result.started_at,
            seconds=sum(point.seconds for point in self.points),
            predicted_seconds=self._seconds * len(self.points),
            interrupted=False,
            points=tuple(self.points),
            failure=None,
            number=None,
        )

    def _state(self) -> dict[str, Any]:
        """The whole state, for a page that begins or continues."""
        found = self.calibration
        return {
            "kind": "state",
            "scales": self._scales,
            "setting": self.setting.to_json(),
            "axis": self.axis,
            "seconds": self._seconds,
            "busy": self._busy,
            "calibration": None
            if found is None
            else {"text": self._about_calibration(), "version": found.version},
            "points": [point_figures(point) for point in self.points],
        }


class _Face(LiveWidget):
    """The explorer in the browser.

    Curves are not orders: of many requested curves only the last is simulated, also during a
    measurement.
    """

    face = view("sweep")

    def __init__(self, explorer: SweepExplorer) -> None:
        self._explorer = explorer
        self._curves: Latest[Mapping[str, Any]] = Latest(
            lambda asked: self._answer(asked, self._curve),
            lambda asked: self._answer(asked, lambda _: ""),
            "widget-curve",
        )
        orders = {
            "calibrate": lambda asked: explorer.calibrate(self._progress, _when_busy(asked)),
            "measure": self._measure,
            "apply": lambda asked: explorer.apply(_setting(asked)),
            "export": lambda asked: explorer.batching_parameters(_setting(asked)),
        }
        server = explorer.server
        about = {"name": f"{server.model} on {server.name}"}
        super().__init__(server.name, server.model, about, orders, _NEWS_SECONDS)

    def _measure(self, asked: Mapping[str, Any]) -> str:
        point = self._explorer.measure(_setting(asked), self._progress, _when_busy(asked))
        p99 = point.latency.get("p99")
        latency = "" if p99 is None else f", p99 {p99.estimate * 1e3:.3g} ms"
        return (
            f"Measured {point.achieved.estimate:.0f} requests/s{latency}: {point.verdict_text()}. "
            "The server has its parameters back."
        )

    def _progress(self, text: str, share: float | None) -> None:
        self.send({"kind": "progress", "text": text, "share": share})

    def _curve(self, asked: Mapping[str, Any]) -> str:
        begun = time.perf_counter()
        setting, axis = _setting(asked), asked["axis"]
        points = self._explorer.curve(setting, axis)
        self.send(
            {
                "kind": "curve",
                "setting": setting.to_json(),
                "axis": axis,
                "points": [point_figures(point) for point in points],
                "millis": 1e3 * (time.perf_counter() - begun),
            }
        )
        return ""

    def _cancel(self, _: Mapping[str, Any]) -> str:
        self._explorer.cancel()
        return "cancelling …"

    def _on_message(self, widget: Any, message: Any, buffers: Any) -> None:
        op = message.get("op")
        if op == "curve":
            self._curves.push(message)
        elif op == "cancel":
            # Not an order, which would wait for the end of the measurement.
            self._answer(message, self._cancel)
        else:
            if op == "hello":
                self.send(self._explorer._state())
            super()._on_message(widget, message, buffers)


def _when_busy(asked: Mapping[str, Any]) -> WhenBusy:
    chosen: WhenBusy = asked.get("when_busy", "refuse")
    return chosen


def _setting(asked: Mapping[str, Any]) -> Setting:
    return Setting.from_json(asked["setting"])
