"""`workbench sweep | tune | load | history`: experiments from the command line."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable
from typing import Any

from workbench.facade import connect


def register(commands: Any) -> None:
    """Add the commands to argparse's subparsers; each sets `command`, which runs it and gives
    the exit code."""
    one = _command(commands, "sweep", "measure batching settings under load", _sweep)
    one.add_argument("--timeout", type=_numbers(int), metavar="MICROS,...")
    one.add_argument("--size", type=_numbers(int), metavar="ROWS,...")
    one.add_argument("--threads", type=_numbers(int), metavar="SLOTS,...")
    _add_load(one, many=True)
    one.add_argument("--seconds", type=float, default=2.0, help="for each point, at most")
    one.add_argument("--p99-ms", type=float, help="recommend the fastest within this")
    one.add_argument("--plot", metavar="FILE", help="where the figure goes (.png, .svg, .pdf)")
    one.add_argument("--parameters", metavar="FILE", help="for TensorFlow Serving: what is best")

    one = _command(commands, "tune", "find batching parameters for a latency at a rate", _tune)
    one.add_argument("--p99-ms", type=float, required=True)
    one.add_argument("--rate", type=float, required=True, help="requests a second")
    one.add_argument("--where", choices=("engine", "rest", "grpc"), default="engine")
    one.add_argument("--rows", type=int, default=1, help="of each request")
    one.add_argument("--apply", action="store_true", help="put the best parameters in force")

    one = _command(commands, "load", "load a server as it is set", _load)
    _add_load(one, many=False)
    one.add_argument("--seconds", type=float, default=5.0)

    one = commands.add_parser("history", help="list the experiments that were kept")
    one.add_argument("number", nargs="?", type=int, help="show this one")
    one.add_argument("--model")
    one.add_argument("--plot", metavar="FILE", help="with a number: where the figure goes")
    one.add_argument("--json", action="store_true")
    one.set_defaults(command=_history)


def _command(commands: Any, name: str, what: str, run: Callable[..., int]) -> Any:
    one = commands.add_parser(name, help=what)
    one.add_argument("name", nargs="?", help="of the server; default: the one started last")
    one.add_argument("--json", action="store_true")
    one.set_defaults(command=run)
    return one


def _add_load(one: Any, *, many: bool) -> None:
    each = one.add_mutually_exclusive_group(required=True)
    each.add_argument("--rate", type=_numbers(float) if many else float, help="requests a second")
    each.add_argument(
        "--clients", type=_numbers(int) if many else int, help="of a closed loop, instead"
    )
    one.add_argument("--where", choices=("engine", "rest", "grpc"), default="engine")
    one.add_argument("--rows", type=int, default=1, help="of each request")
    one.add_argument(
        "--arrivals", choices=("poisson", "constant", "bursty", "ramp"), default="poisson"
    )
    one.add_argument("--seed", type=int, default=0)


def _numbers(kind: Callable[[str], Any]) -> Callable[[str], list[Any]]:
    def parse(text: str) -> list[Any]:
        try:
            return [kind(part) for part in text.split(",")]
        except ValueError:
            raise argparse.ArgumentTypeError(f"{text!r} is no list like 1,10,100") from None

    return parse


def _sweep(arguments: argparse.Namespace) -> int:
    from workbench.experiments.sweep.sweep import sweep

    result = sweep(
        connect(arguments.name),
        batch_timeout_micros=arguments.timeout,
        max_batch_size=arguments.size,
        num_batch_threads=arguments.threads,
        rate=arguments.rate,
        clients=arguments.clients,
        rows=arguments.rows,
        where=arguments.where,
        arrivals=arguments.arrivals,
        seconds=arguments.seconds,
        seed=arguments.seed,
        progress=not arguments.json,
    )
    if arguments.plot:
        _save_figure(result, arguments.plot)
    if arguments.json:
        _print_json(result)
    else:
        _print_frame(result.frame)
        if result.failure is not None:
            print(f"Ended early: {result.failure}")
        for sentence in result.diagnoses():
            print(f"- {sentence}")
    if arguments.parameters:
        result.to_batching_parameters(
            arguments.parameters, result.recommend(p99_ms=arguments.p99_ms)
        )
    if not arguments.json and (arguments.p99_ms is not None or arguments.parameters):
        print(result.recommend(p99_ms=arguments.p99_ms))
    if result.failure is not None:
        return 1
    return 130 if result.interrupted else 0


def _tune(arguments: argparse.Namespace) -> int:
    from workbench.experiments.sweep.tune import tune

    result = tune(
        connect(arguments.name),
        p99_ms=arguments.p99_ms,
        rate=arguments.rate,
        rows=arguments.rows,
        where=arguments.where,
        apply=arguments.apply,
        progress=not arguments.json,
    )
    if arguments.json:
        _print_json(result)
    else:
        _print_frame(result.frame)
        print(result)
    return 0 if result.meets else 1


def _load(arguments: argparse.Namespace) -> int:
    from workbench.experiments.load.load_server import load_server

    result = load_server(
        connect(arguments.name),
        rate=arguments.rate,
        clients=arguments.clients,
        rows=arguments.rows,
        where=arguments.where,
        arrivals=arguments.arrivals,
        seconds=arguments.seconds,
        seed=arguments.seed,
    )
    if arguments.json:
        _print_json(result)
        return 0
    (point,) = result.points
    print(
        f"{result.where}, {result.loop}: offered {point.offered:.0f}, achieved "
        f"{point.achieved.estimate:.0f} requests/s: {point.verdict}"
    )
    for name, found in point.latency.items():
        low, high = found.low * 1e3, found.high * 1e3
        print(f"{name:>6} {found.estimate * 1e3:9.3f} ms   [{low:.3f}, {high:.3f}]")
    print(
        f"queue {point.queue * 1e3:.3f} + run {point.run * 1e3:.3f} + rest "
        f"{point.overhead * 1e3:.3f} ms; {point.batch_rows:.1f} rows a batch; rejected "
        f"{point.rejected:.1%}"
    )
    return 0


def _history(arguments: argparse.Namespace) -> int:
    from workbench.experiments.store.store import Store, history, load_experiment
    from workbench.experiments.transitions.transition_comparison import TransitionComparison
    from workbench.experiments.versions.version_comparison import VersionComparison

    if arguments.number is not None:
        result = load_experiment(arguments.number)
        if arguments.plot:
            _save_figure(result, arguments.plot)
        if arguments.json:
            _print_json(result)
        elif isinstance(result, (TransitionComparison, VersionComparison)):
            print(result)
        else:
            _print_frame(result.frame)
        return 0
    if arguments.json:
        with Store() as store:
            print(json.dumps(store.list(arguments.model)))
        return 0
    frame = history(arguments.model)
    if frame.empty:
        print("No experiment was kept yet.")
    else:
        _print_frame(frame.reset_index())
    return 0


_SHOWN = (
    "batch_timeout_micros", "max_batch_size", "num_batch_threads", "rate", "clients",
    "where", "arrivals", "achieved_per_s", "p50_ms", "p99_ms", "predicted_p99_ms", "batch_rows",
    "rejected", "verdict",
)  # fmt: skip


def _print_json(result: Any) -> None:
    # What is no number in JSON has no place in a result: rather an error than such an output.
    print(json.dumps({**result.to_json(), "number": result.number}, allow_nan=False))


def _save_figure(result: Any, file: str) -> None:
    drawn = result.plot()
    # Some results draw a figure, some draw on axes.
    getattr(drawn, "figure", drawn).savefig(file, dpi=150)


def _print_frame(frame: Any) -> None:
    columns = [name for name in _SHOWN if name in frame]
    shown = frame[columns] if "verdict" in frame else frame
    sys.stdout.write(shown.to_string(index=False, float_format=lambda v: f"{v:.4g}") + "\n")
