"""`workbench history`: lists the saved experiments, or shows one."""

from __future__ import annotations

import argparse
import json
import shutil
import time
from collections.abc import Mapping, Sequence
from typing import Any

from workbench.cli.arguments import Commands, add_command, add_json, add_plot
from workbench.cli.experiments.result_printing import print_json, save_figure
from workbench.client.display.tables import aligned
from workbench.core.status import Code, ServingError, not_found


def add(commands: Commands) -> None:
    """Add `workbench history [NUMBER]`."""
    one = add_command(
        commands, "history", "list the saved experiments", _run, example="workbench history 3"
    )
    one.add_argument("number", nargs="?", type=int, help="show this experiment")
    one.add_argument("--model", help="list only experiments with this model (default: all)")
    add_plot(one, "with a number: ")
    add_json(one)


def _run(arguments: argparse.Namespace) -> int:
    from workbench.experiments.store.store import Store

    if arguments.number is not None:
        result = _found(arguments.number)
        if arguments.plot:
            save_figure(result, arguments.plot)
        if arguments.json:
            print_json(result)
        else:
            print(result)
        return 0
    with Store() as store:
        rows = store.list(arguments.model)
    if arguments.json:
        print(json.dumps(rows))
    elif not rows:
        print("No experiment has been saved yet.")
    else:
        print("\n".join(_table(rows, shutil.get_terminal_size().columns)))
    return 0


def _found(number: int) -> Any:
    from workbench.experiments.store.store import load_experiment

    try:
        return load_experiment(number)
    except ServingError as error:
        if error.code is not Code.NOT_FOUND:
            raise
        raise not_found(
            f"There is no experiment {number}: `workbench history` lists those that are saved"
        ) from error


def _table(rows: Sequence[Mapping[str, Any]], width: int) -> list[str]:
    """The experiments, a line each. A line that is longer than the screen is cut; `--json` and
    `workbench history NUMBER` show all of it."""
    table = [("NUMBER", "KIND", "MODEL", "SAVED", "RESULT")]
    for row in rows:
        saved = time.strftime("%Y-%m-%d %H:%M", time.localtime(row["saved_at"]))
        summary = " ".join(str(row["summary"]).split())
        table.append((str(row["number"]), row["kind"], row["model"], saved, summary))
    return [line if len(line) <= width else f"{line[: width - 1]}…" for line in aligned(table)]
