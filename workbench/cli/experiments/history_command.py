"""`workbench history`: lists the saved experiments, or shows one."""

from __future__ import annotations

import argparse
import json

from workbench.cli.arguments import Commands, add_command, add_json, add_plot
from workbench.cli.experiments.result_printing import print_frame, print_json, save_figure


def add(commands: Commands) -> None:
    """Add `workbench history [NUMBER]`."""
    one = add_command(commands, "history", "list the saved experiments", _run)
    one.add_argument("number", nargs="?", type=int, help="show this experiment")
    one.add_argument("--model", help="list only experiments with this model")
    add_plot(one, "with a number: ")
    add_json(one)


def _run(arguments: argparse.Namespace) -> int:
    from workbench.experiments.store.store import Store, history, load_experiment
    from workbench.experiments.traffic.recorded_traffic import Traffic
    from workbench.experiments.transitions.transition_comparison import TransitionComparison
    from workbench.experiments.versions.version_comparison import VersionComparison

    if arguments.number is not None:
        result = load_experiment(arguments.number)
        if arguments.plot:
            save_figure(result, arguments.plot)
        if arguments.json:
            print_json(result)
        elif isinstance(result, (Traffic, TransitionComparison, VersionComparison)):
            print(result)
        else:
            print_frame(result.frame)
        return 0
    if arguments.json:
        with Store() as store:
            print(json.dumps(store.list(arguments.model)))
        return 0
    frame = history(arguments.model)
    if frame.empty:
        print("No experiment has been saved yet.")
    else:
        print_frame(frame.reset_index())
    return 0
