"""`Server`: a running server in the hands of a user, with experiments and live views."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from workbench.client.display.whole_server import html_of, text_of
from workbench.core.signature import DEFAULT_SIGNATURE
from workbench.facade.fleet_methods import FleetMethods

if TYPE_CHECKING:
    from workbench.core.batching.parameters import BatchingParameters
    from workbench.experiments.load.measure import Where
    from workbench.experiments.simulator.calibration import Calibration
    from workbench.experiments.store.server_turns import WhenBusy
    from workbench.experiments.sweep.point import Point
    from workbench.experiments.sweep.sweep_result import SweepResult
    from workbench.experiments.traffic.recorded_traffic import Traffic
    from workbench.experiments.transitions.transition_comparison import TransitionComparison
    from workbench.experiments.transitions.transition_run import Disk
    from workbench.experiments.tuning.tune_result import TuneResult
    from workbench.experiments.versions.version_comparison import VersionComparison
    from workbench.load.arrivals import Kind, Schedule
    from workbench.widgets.base.live import LiveWidget
    from workbench.widgets.ledger.ledger_widget import LedgerWidget
    from workbench.widgets.sweep_explorer.sweep_explorer import SweepExplorer
    from workbench.widgets.timeline.timeline import TimelineWidget


class Server(FleetMethods):
    """One running server and one of its models, which methods are about unless they name another.

    It holds no connection that could break: it finds the server by its name each time, also after
    the server process was replaced.
    """

    # Experiments.

    def sweep(
        self,
        *,
        batch_timeout_micros: Sequence[int] | int | None = None,
        max_batch_size: Sequence[int] | int | None = None,
        num_batch_threads: Sequence[int] | int | None = None,
        rate: Sequence[float] | float | None = None,
        clients: Sequence[int] | int | None = None,
        payload: Any = None,
        rows: int = 1,
        where: Where = "engine",
        arrivals: Kind | Schedule | Traffic = "poisson",
        precision: float = 0.2,
        p99_ms: float | None = None,
        seconds: float | None = None,
        seed: int = 0,
        base: BatchingParameters | None = None,
        keep: bool = True,
        progress: bool = True,
        when_busy: WhenBusy = "refuse",
        on_point: Callable[[Point], None] | None = None,
        on_window: Callable[[int, float], None] | None = None,
    ) -> SweepResult:
        """Measure every combination of batching settings and loads.

        The server's settings are restored afterwards.

        Args:
            batch_timeout_micros, max_batch_size, num_batch_threads: values to try; by default the
                one in force.
            rate: requests a second of an open loop, by default 500; latency counts from the
                intended time.
            clients: of a closed loop, instead of `rate`: each waits for its answer before it asks
                again.
            payload: examples to ask with, as for `predict`; by default zeros. `rows`: of a request.
            where: ``engine``: inside the server, batching and model alone; ``rest``, ``grpc``: over
                the network, from a separate process.
            arrivals: ``poisson``, ``constant``, ``bursty`` or ``ramp``; or a `Schedule`, whose
                rate, duration and seed are ignored; or recorded `Traffic`, with its own sizes and
                by default its own rate. A point with bursts, a ramp or traffic lasts `seconds`.
            precision: a point has its answer when the interval of its 99th percentile is at most
                this share of it wide.
            p99_ms: the 99th percentile that is wanted, in milliseconds. With it, a point has its
                answer when it is known to meet it or not to.
            seconds: the load for each point on average; by default 2 to 12, more where requests are
                rare. Points that have their answer sooner leave time to the others.
            seed: of the arrivals and of the order.
            base: the other parameters; by default those in force.
            keep: whether to store the result (`wb.history()`).
            when_busy: while another experiment holds the server: ``refuse``, ``wait`` for it, or
                ``take over``, which ends it and keeps its points so far.
            on_point: called with each point when it is measured.
            on_window: called after each window of load with the number of points measured before
                and the seconds of load of this one. A `KeyboardInterrupt` that `on_point` or
                `on_window` raises is an interruption.

        Returns:
            The points measured; after an interruption (also from the dashboard), or when the server
            fails at a later point, those that were finished by then.

        Raises:
            ServingError: INVALID_ARGUMENT, both `rate` and `clients`, or values that are not
                allowed; NOT_FOUND, no version is available; FAILED_PRECONDITION, another experiment
                holds the server; or the server's refusal at the first point.
            LoadError: the load generator failed at the first point.
        """
        from workbench.experiments.sweep.sweep import sweep

        return sweep(
            self,
            batch_timeout_micros=batch_timeout_micros,
            max_batch_size=max_batch_size,
            num_batch_threads=num_batch_threads,
            rate=rate,
            clients=clients,
            payload=payload,
            rows=rows,
            where=where,
            arrivals=arrivals,
            precision=precision,
            p99_ms=p99_ms,
            seconds=seconds,
            seed=seed,
            base=base,
            keep=keep,
            progress=progress,
            when_busy=when_busy,
            on_point=on_point,
            on_window=on_window,
        )

    def tune(
        self,
        *,
        p99_ms: float,
        rate: float,
        payload: Any = None,
        rows: int = 1,
        where: Where = "engine",
        calibration: Calibration | None = None,
        verify: int = 3,
        seconds: float = 55.0,
        seed: int = 0,
        apply: bool = False,
        keep: bool = True,
        progress: bool = True,
        when_busy: WhenBusy = "refuse",
    ) -> TuneResult:
        """Find batching parameters whose 99th percentile is within `p99_ms` at `rate` requests a
        second.

        Args:
            payload, rows, where: as for `sweep`.
            calibration: of this model on this machine; by default one is made first (about 4 s).
            verify: how many of the best settings to measure, `seconds` each at most.
            apply: put the winner in force; otherwise the server's settings are restored.

        Raises:
            ServingError: as `calibrate` and `sweep`.
        """
        from workbench.experiments.tuning.tune import tune

        return tune(
            self,
            p99_ms=p99_ms,
            rate=rate,
            payload=payload,
            rows=rows,
            where=where,
            calibration=calibration,
            verify=verify,
            seconds=seconds,
            seed=seed,
            apply=apply,
            keep=keep,
            progress=progress,
            when_busy=when_busy,
        )

    def calibrate(
        self,
        payload: Any = None,
        *,
        rows: int = 1,
        max_batch_size: int | None = None,
        seconds: float = 3.5,
        refine: Calibration | None = None,
        keep: bool = True,
        progress: bool | Callable[[str], None] = True,
        when_busy: WhenBusy = "refuse",
    ) -> Calibration:
        """Measure how long a batch of 1, 2, 4 ... rows occupies its slot, alone and beside others.

        Meanwhile its batching is changed; it is restored at the end, also after an interruption.

        Args:
            payload: as for `predict`, by default zeros; realistic if the run time depends on it.
            rows: of each request.
            max_batch_size: the largest batch; by default the server's, at most 256.
            seconds: for the run times, and a fifth more for the machine's hiccups.
            refine: an earlier calibration of the same version; the result averages both.
            keep: whether to store the result (`wb.history()`).
            progress: whether to show the progress; or what to call with a line about each step.
            when_busy: as for `sweep`.

        Raises:
            ServingError: the model refuses the requests; INVALID_ARGUMENT, `refine` is of something
                else; FAILED_PRECONDITION, the model is too slow, or another experiment holds the
                server; ABORTED, somebody else changed the batching or the version meanwhile.
        """
        from workbench.experiments.simulator.calibrate import calibrate

        return calibrate(
            self,
            payload,
            rows=rows,
            max_batch_size=max_batch_size,
            seconds=seconds,
            refine=refine,
            keep=keep,
            progress=progress,
            when_busy=when_busy,
        )

    def record_traffic(
        self, *, seconds: float = 60.0, keep: bool = True, progress: bool = True
    ) -> Traffic:
        """Record when requests to the model come and how large they are: times, rows and bytes, and
        nothing of their contents.

        Requests over REST and gRPC are recorded, also those that the queue rejects and those of a
        load generator outside; a load from inside the server (``where="engine"``) is not. An
        interruption ends the recording and keeps what it has.

        Args:
            seconds: how long to record, at most a day; it ends earlier with 1,000,000 requests.
            keep: whether to store the result (`wb.history()`).

        Raises:
            ServingError: FAILED_PRECONDITION, no request came; INVALID_ARGUMENT, a time that is not
                allowed; NOT_FOUND, the server process was replaced meanwhile.
        """
        from workbench.experiments.traffic.traffic_recording import record_traffic

        return record_traffic(self, seconds=seconds, keep=keep, progress=progress)

    def replay(
        self,
        traffic: Traffic,
        *,
        speed: float = 1.0,
        batching: BatchingParameters | None = None,
        where: Where = "engine",
        payload: Any = None,
        keep: bool = True,
        progress: bool = True,
        when_busy: WhenBusy = "refuse",
    ) -> SweepResult:
        """Measure the server with recorded traffic: the same pattern of times, and requests of the
        same sizes.

        Args:
            traffic: from `record_traffic`, a file (`wb.Traffic.load`) or an access log
                (`wb.Traffic.from_times`).
            speed: 2 sends the same requests in half the time.
            batching: parameters to try; the server's own are restored afterwards. By default it is
                measured as it is set.
            where: ``engine``: inside the server, batching and model alone; ``rest``, ``grpc``: over
                the network, from a separate process.
            payload: examples to ask with, as for `predict`, cut and repeated to the recorded sizes;
                by default zeros.
            keep: whether to store the result (`wb.history()`).
            when_busy: as for `sweep`.

        Returns:
            A result with one point.

        Raises:
            ServingError: INVALID_ARGUMENT, requests are larger than the parameters allow, or values
                that are not allowed; or the server's refusal.
            LoadError: the load generator failed.
        """
        from workbench.experiments.traffic.replay_traffic import replay

        return replay(
            self,
            traffic,
            speed=speed,
            batching=batching,
            where=where,
            payload=payload,
            keep=keep,
            progress=progress,
            when_busy=when_busy,
        )

    def compare_transitions(
        self,
        new: Any,
        x: Any,
        *,
        policies: Sequence[str] = ("smooth", "unload_first", "unload_first+hold", "staged"),
        rate: float = 100.0,
        load: Schedule | None = None,
        repeats: int | None = None,
        precision: float = 0.1,
        most_repeats: int = 20,
        disk: Disk | Sequence[Disk] = "warm",
        seed: int = 0,
        lead_seconds: float = 1.0,
        keep: bool = True,
        progress: bool = True,
        when_busy: WhenBusy = "refuse",
    ) -> TransitionComparison:
        """Bring a new version in under each transition policy, repeatedly, and take it back.

        With a warm disk the new version's files are in the page cache before each change; with a
        cold one they are only on the disk. An interruption keeps the measurements made so far.

        Args:
            new: the next version: a Keras model, a `tf.Module`, or the path of a SavedModel.
            x: one example (or batch), sent by each request.
            policies: their names, as `Server.transition` has them.
            rate: offered load in requests a second; Poisson arrivals, the same in each run.
            load: other arrivals, such as ``Schedule("constant", 500, 1)``, which go on for as long
                as a change takes; not a ramp.
            repeats: runs of each policy. By default each is repeated until the interval of its
                median gap is within `precision` (0.1 is 10 %), at most `most_repeats` times.
            disk: ``"warm"``, ``"cold"`` or both.
            seed: of the arrivals and of the order of runs.
            lead_seconds: of traffic before and after each change.
            keep: whether to store the result (`wb.history()`).
            when_busy: as for `sweep`.

        Raises:
            ServingError: INVALID_ARGUMENT, the arguments do not allow a comparison;
                FAILED_PRECONDITION, no version of the model serves; or the error with which the new
                version failed to load.
        """
        from workbench.experiments.transitions.compare_transitions import compare_transitions

        return compare_transitions(
            self,
            new,
            x,
            policies=policies,
            rate=rate,
            load=load,
            repeats=repeats,
            precision=precision,
            most_repeats=most_repeats,
            disk=disk,
            seed=seed,
            lead_seconds=lead_seconds,
            keep=keep,
            progress=progress,
            when_busy=when_busy,
        )

    def compare_versions(
        self,
        first: int,
        second: int,
        x: Any,
        y: Any = None,
        *,
        signature: str = DEFAULT_SIGNATURE,
        output: str | None = None,
        pairs: int = 500,
        alpha: float = 0.001,
        margin: float = 0.05,
        rtol: float = 1e-5,
        atol: float = 1e-6,
        seed: int = 0,
        keep: bool = True,
        progress: bool = True,
        when_busy: WhenBusy = "refuse",
    ) -> VersionComparison:
        """Compare two versions: answers, latency, memory, size, load time, signatures.

        A version that is not served is served for the time of the comparison.

        Args:
            x: examples, [n, ...], as for `predict`: an array, a list, or a dictionary of them.
            y: their labels, or their numbers if the answer is a number; by default the versions are
                only compared with each other.
            output: the output to compare; by default the only one, or the first classification.
            pairs: latency is measured on this many requests to each version, one example each.
            alpha: the probability of calling two equally fast versions different.
            margin: a difference in latency that counts as none (0.05 is 5 %).
            rtol, atol: numbers are equal if they differ by at most `atol` + `rtol` times the first.
            seed: of the order of requests.
            keep: whether to store the result (`wb.history()`).
            when_busy: as for `sweep`.

        Raises:
            ServingError: INVALID_ARGUMENT, the arguments do not allow a comparison; NOT_FOUND,
                there is no such version; or the error that a version answered.
        """
        from workbench.experiments.versions.compare_versions import compare_versions

        return compare_versions(
            self,
            first,
            second,
            x,
            y,
            signature=signature,
            output=output,
            pairs=pairs,
            alpha=alpha,
            margin=margin,
            rtol=rtol,
            atol=atol,
            seed=seed,
            keep=keep,
            progress=progress,
            when_busy=when_busy,
        )

    # Live views.

    def card(self, target_ms: float | None = None) -> LiveWidget:
        """The card of the model: state and controls, live while it is visible.

        Args:
            target_ms: shows the goodput too: the share of requests answered within this latency.

        Raises:
            ServingError: NOT_FOUND, the server has ended; INVALID_ARGUMENT, a wrong `target_ms`.
        """
        from workbench.widgets.card_widget import card

        return card(self, target_ms)

    def timeline(self) -> TimelineWidget:
        """The history of the model's versions, memory and traffic, live.

        Drag to go back in time, use Ctrl and the wheel (or + and -) to zoom, and space to pause.
        It does not show the time that a caller waited before the server accepted a request;
        `record` measures that.

        Raises:
            ServingError: NOT_FOUND, the server has ended.
        """
        from workbench.widgets.timeline.timeline import TimelineWidget

        return TimelineWidget(self)

    def ledger(self) -> LedgerWidget:
        """The owners of the machine's memory, live, with the budget. *Will it fit?* answers for any
        SavedModel under each transition, without loading it.

        Raises:
            ServingError: NOT_FOUND, the server has ended.
        """
        from workbench.widgets.ledger.ledger_widget import LedgerWidget

        return LedgerWidget(self)

    def sweep_explorer(
        self,
        calibration: Calibration | None = None,
        *,
        payload: Any = None,
        rows: int = 1,
        rate: float = 500.0,
        seconds: float = 4.0,
    ) -> SweepExplorer:
        """Sliders for delay, batch size, threads and offered rate. The simulator's curve follows
        them, and a button measures the real server.

        Args:
            calibration: of this model on this machine, as `calibrate` returns it; by default a
                button of the explorer makes one.
            payload: examples to ask with, as for `predict`; by default zeros. `rows`: of a request.
            rate: requests a second at which the slider begins.
            seconds: the most load for each measured point.

        Raises:
            ServingError: INVALID_ARGUMENT, the rate is not allowed, or the calibration is of
                requests of another size; NOT_FOUND, the server has ended.
        """
        from workbench.widgets.sweep_explorer.sweep_explorer import SweepExplorer

        return SweepExplorer(
            self, calibration, payload=payload, rows=rows, rate=rate, seconds=seconds
        )

    # How it reads in a cell and in a terminal.

    def _ipython_display_(self) -> None:
        from workbench.widgets.card_widget import show

        show(self)

    def _repr_html_(self) -> str:
        return html_of(self)

    def _repr_pretty_(self, printer: Any, cycle: bool) -> None:
        printer.text(text_of(self))
