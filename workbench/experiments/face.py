"""A stored experiment as plain data for a page: sentences, tables and a picture.

    python -m workbench.experiments.face NUMBER

writes it as JSON. The Jupyter Server runs it as a process, so that it need not import matplotlib
itself. An error is JSON too, with its `code` and `message`, and the exit status is 1.
"""

from __future__ import annotations

import base64
import json
import math
import sys
from typing import TYPE_CHECKING, Any, TypedDict

from workbench.core.status import ServingError
from workbench.experiments.figure import png
from workbench.experiments.simulator.calibration import Calibration
from workbench.experiments.store.store import Experiment, Store, load_experiment
from workbench.experiments.sweep.sweep_result import SweepResult
from workbench.experiments.traffic.recorded_traffic import Traffic
from workbench.experiments.transitions.transition_comparison import TransitionComparison
from workbench.experiments.tuning.tune_result import TuneResult
from workbench.experiments.versions.version_comparison import VersionComparison

if TYPE_CHECKING:
    import pandas as pd

_SWEEP_COLUMNS = (
    "max_batch_size", "batch_timeout_micros", "num_batch_threads", "rate", "clients",
    "achieved_per_s", "p50_ms", "p99_ms", "goodput", "batch_rows", "rejected", "failed", "verdict",
)  # fmt: skip
_TUNE_COLUMNS = (
    "max_batch_size", "batch_timeout_micros", "predicted_p99_ms", "p99_ms", "goodput", "rejected",
    "failed", "verdict",
)  # fmt: skip


class Table(TypedDict):
    """A table of texts."""

    title: str
    columns: list[str]
    rows: list[list[str]]


class Found(Experiment):
    """An experiment with its result.

    Attributes:
        picture: a PNG in base64.
    """

    sentences: list[str]
    tables: list[Table]
    picture: str


def face(number: int) -> Found:
    """A stored experiment with its result.

    Raises:
        ServingError: as `load_experiment`.
    """
    result = load_experiment(number)
    with Store() as store:
        about = store.about(number)
    sentences, tables = _found(result)
    return {**about, "sentences": sentences, "tables": tables, "picture": _picture(result)}


def _found(result: Any) -> tuple[list[str], list[Table]]:
    if isinstance(result, TransitionComparison):
        apart = result.by_disk()
        notes = [one.footnote() for _, one in apart]
        tables = [_table(title, one.words().reset_index(names="")) for title, one in apart]
        return [result.title(), result.advice, *notes], tables
    if isinstance(result, VersionComparison):
        return result.sentences(), [_table("", result.frame.reset_index(names=""))]
    if isinstance(result, Traffic):
        return [f"{result}."], []
    if isinstance(result, TuneResult):
        return [result.sentence()], [_table("", _columns(result.frame, _TUNE_COLUMNS))]
    if isinstance(result, SweepResult):
        said = [f"{result.finding()}.", *result.notes(), *result.diagnoses()]
        return said, [_table("", _columns(result.frame, _SWEEP_COLUMNS))]
    assert isinstance(result, Calibration)
    return [result.sentence], [_table("", result.frame)]


def _columns(frame: pd.DataFrame, names: tuple[str, ...]) -> pd.DataFrame:
    known = [name for name in names if name in frame and frame[name].notna().any()]
    return frame[known]


def _table(title: str, frame: pd.DataFrame) -> Table:
    rows = [[_text(value) for value in row] for row in frame.itertuples(index=False)]
    return {"title": title, "columns": [str(name) for name in frame.columns], "rows": rows}


def _text(value: Any) -> str:
    if value is None:
        return "–"
    if isinstance(value, float):
        # Large numbers keep all digits before the point.
        short = f"{value:.0f}" if abs(value) >= 1000 else f"{value:.4g}"
        return "–" if math.isnan(value) else short
    return str(value)


def _picture(result: Any) -> str:
    drawn = result.plot()
    return base64.b64encode(png(getattr(drawn, "figure", None) or drawn)).decode("ascii")


def main(arguments: list[str]) -> int:
    """Print the experiment as JSON; returns the exit status."""
    # There is no display where a Jupyter Server runs.
    import matplotlib as mpl

    mpl.use("agg")
    try:
        answer = face(int(arguments[0]))
    except ServingError as error:
        print(json.dumps({"code": error.code.name, "message": error.message}))
        return 1
    print(json.dumps(answer))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
