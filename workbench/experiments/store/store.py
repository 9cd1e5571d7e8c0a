"""Keeps experiments in one SQLite file.

The file lies in Jupyter's data folder. Several notebooks may write to it at once: it is in SQLite's
write-ahead mode, and a writer waits for its turn.
"""

from __future__ import annotations

import contextlib
import json
import re
import sqlite3
import time
import warnings
import zlib
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypedDict, TypeVar, cast

from workbench.core.status import ServingError, failed_precondition, not_found, unavailable
from workbench.processes.lifetime import ProcessId

if TYPE_CHECKING:
    import pandas as pd

T = TypeVar("T", bound=Any)

WAIT_SECONDS = 10.0
_DISK = re.compile("disk|unable to open|readonly")
"""Matches SQLite's errors about files, and none about statements (error codes need Python 3.11)."""
_ABOUT = "id AS number, kind, model, saved_at, summary"

MIGRATIONS = (
    """
    CREATE TABLE experiments (
        id INTEGER PRIMARY KEY AUTOINCREMENT,
        kind TEXT NOT NULL,
        model TEXT NOT NULL,
        saved_at REAL NOT NULL,
        summary TEXT NOT NULL,
        data BLOB NOT NULL
    );
    CREATE INDEX experiments_by_model ON experiments (model, saved_at);
    """,
    """
    CREATE TABLE running (
        id INTEGER PRIMARY KEY AUTOINCREMENT,
        kind TEXT NOT NULL,
        model TEXT NOT NULL,
        server TEXT NOT NULL,
        pid INTEGER NOT NULL,
        process_started REAL NOT NULL,
        started_at REAL NOT NULL,
        told_at REAL NOT NULL,
        text TEXT NOT NULL,
        share REAL,
        cancelled INTEGER NOT NULL DEFAULT 0
    );
    """,
)
"""Each migrates a file from one version to the next (`PRAGMA user_version`). Only append to these:
users have files of every version."""


class Experiment(TypedDict):
    """A kept experiment without its data.

    Attributes:
        saved_at: in seconds since the epoch.
    """

    number: int
    kind: str
    model: str
    saved_at: float
    summary: str


class RunningExperiment(TypedDict):
    """An experiment that runs in some notebook or terminal.

    Attributes:
        number: among the running ones; it gets another one when it is saved.
        text: its progress in words.
        share: its progress from 0 to 1; null if unknown.
    """

    number: int
    kind: str
    model: str
    server: str
    started_at: float
    told_at: float
    text: str
    share: float | None
    cancelled: bool


def store_path() -> Path:
    """`workbench/experiments.sqlite` in Jupyter's data folder."""
    from jupyter_core.paths import jupyter_data_dir

    return Path(jupyter_data_dir()) / "workbench" / "experiments.sqlite"


class Store(contextlib.AbstractContextManager["Store"]):
    """The experiments in one file, which is created if it does not exist.

    Raises:
        ServingError: FAILED_PRECONDITION, a later workbench has written the file; UNAVAILABLE, the
            disk is full, or the file cannot be written for another reason.
    """

    def __init__(self, path: Path | None = None) -> None:
        self.path = path or store_path()
        with self._file_errors():
            self.path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            self._connection = sqlite3.connect(
                self.path, timeout=WAIT_SECONDS, isolation_level=None
            )
            self._connection.row_factory = sqlite3.Row
        try:
            with self._file_errors():
                self._write_ahead()
                self._connection.execute("PRAGMA synchronous=NORMAL")
                self._migrate()
        except BaseException:
            self._connection.close()
            raise

    @contextlib.contextmanager
    def _file_errors(self) -> Iterator[None]:
        """Turn errors of the file system into a ServingError that names the path and the reason."""
        try:
            yield
        except (sqlite3.OperationalError, OSError) as error:
            if not isinstance(error, OSError) and not _DISK.search(str(error)):
                raise
            raise unavailable(
                f"The experiments in {self.path} cannot be read or written: "
                f"{getattr(error, 'strerror', None) or error}"
            ) from error

    def _write_ahead(self) -> None:
        # Here SQLite does not wait for other writers: of two processes that create the file at
        # once, one would fail.
        end = time.monotonic() + WAIT_SECONDS
        while True:
            try:
                self._connection.execute("PRAGMA journal_mode=WAL")
                return
            except sqlite3.OperationalError as error:
                if "locked" not in str(error) or time.monotonic() > end:
                    raise
            time.sleep(0.01)

    def _migrate(self) -> None:
        (version,) = self._connection.execute("PRAGMA user_version").fetchone()
        if version == len(MIGRATIONS):
            # Nothing to write, so this works on a full disk too.
            return
        # Lock before reading the version: of two processes that open an old file at once, the
        # second finds it migrated.
        self._connection.execute("BEGIN IMMEDIATE")
        try:
            (version,) = self._connection.execute("PRAGMA user_version").fetchone()
            if version > len(MIGRATIONS):
                raise failed_precondition(
                    f"{self.path} was written by a later version of the workbench "
                    f"({version} > {len(MIGRATIONS)}): update this one"
                )
            for migration in MIGRATIONS[version:]:
                for statement in filter(str.strip, migration.split(";")):
                    self._connection.execute(statement)
            self._connection.execute(f"PRAGMA user_version={len(MIGRATIONS)}")
        except BaseException:
            self._connection.execute("ROLLBACK")
            raise
        self._connection.execute("COMMIT")

    def __exit__(self, *_: object) -> None:
        self._connection.close()

    def add(self, kind: str, model: str, data: dict[str, Any], summary: str = "") -> int:
        """Keep an experiment; returns its number.

        Raises:
            ServingError: UNAVAILABLE, the disk is full; nothing is kept.
        """
        packed = zlib.compress(json.dumps(data).encode())
        with self._file_errors():
            cursor = self._connection.execute(
                "INSERT INTO experiments (kind, model, saved_at, summary, data) "
                "VALUES (?, ?, ?, ?, ?)",
                (kind, model, time.time(), summary, packed),
            )
        assert cursor.lastrowid is not None
        return cursor.lastrowid

    def get(self, number: int) -> tuple[str, dict[str, Any]]:
        """The kind and data of an experiment.

        Raises:
            ServingError: NOT_FOUND, there is none of this number.
        """
        found = self._one("kind, data", number)
        return found["kind"], json.loads(zlib.decompress(found["data"]))

    def remove(self, number: int) -> None:
        """Forget an experiment; an unknown number is ignored."""
        self._connection.execute("DELETE FROM experiments WHERE id = ?", (number,))

    def begin(self, kind: str, model: str, server: str) -> int:
        """Record that an experiment of this process is running; returns its number."""
        me, now = ProcessId.me(), time.time()
        cursor = self._connection.execute(
            "INSERT INTO running (kind, model, server, pid, process_started, started_at, told_at, "
            "text) VALUES (?, ?, ?, ?, ?, ?, ?, '')",
            (kind, model, server, me.pid, me.started, now, now),
        )
        assert cursor.lastrowid is not None
        return cursor.lastrowid

    def tell(self, running: int, text: str, share: float | None) -> bool:
        """Record the progress, in words and from 0 to 1; returns whether it is cancelled."""
        self._connection.execute(
            "UPDATE running SET text = ?, share = ?, told_at = ? WHERE id = ?",
            (text, share, time.time(), running),
        )
        return self.is_cancelled(running)

    def is_cancelled(self, running: int) -> bool:
        """Whether somebody has asked to cancel a running experiment."""
        row = self._connection.execute(
            "SELECT cancelled FROM running WHERE id = ?", (running,)
        ).fetchone()
        return row is not None and bool(row[0])

    def end(self, running: int) -> None:
        """Record that a running experiment has ended."""
        self._connection.execute("DELETE FROM running WHERE id = ?", (running,))

    def cancel(self, running: int) -> None:
        """Ask a running experiment to end between two measurements.

        Raises:
            ServingError: NOT_FOUND, none of this number is running.
        """
        if running not in [each["number"] for each in self.running()]:
            raise not_found(f"No running experiment has the number {running}")
        self._connection.execute("UPDATE running SET cancelled = 1 WHERE id = ?", (running,))

    def running(self) -> list[RunningExperiment]:
        """The running experiments, oldest first; those of killed processes are removed."""
        rows = self._connection.execute(
            "SELECT id AS number, kind, model, server, started_at, told_at, text, share, "
            "cancelled, pid, process_started FROM running ORDER BY id"
        ).fetchall()
        found = []
        for each in map(dict, rows):
            if ProcessId(each.pop("pid"), each.pop("process_started")).alive():
                each["cancelled"] = each["cancelled"] == 1
                found.append(cast(RunningExperiment, each))
            else:
                self.end(each["number"])
        return found

    def about(self, number: int) -> Experiment:
        """An experiment as in `list`; raises as `get`."""
        return cast(Experiment, self._one(_ABOUT, number))

    def _one(self, columns: str, number: int) -> dict[str, Any]:
        row = self._connection.execute(
            f"SELECT {columns} FROM experiments WHERE id = ?", (number,)
        ).fetchone()
        if row is None:
            raise not_found(f"There is no experiment {number}: see wb.history()")
        return dict(row)

    def list(self, model: str | None = None, limit: int = 1000) -> list[Experiment]:
        """The experiments, latest first, without their data."""
        rows = self._connection.execute(
            f"SELECT {_ABOUT} FROM experiments WHERE ?1 IS NULL OR model = ?1 "
            "ORDER BY id DESC LIMIT ?2",
            (model, limit),
        )
        return [cast(Experiment, dict(row)) for row in rows]


def keep_result(kind: str, model: str, result: T, summary: str) -> T:
    """Keep a result, a dataclass with `to_json` and `number`; returns it with its number.

    If it cannot be kept (the disk is full), the result is returned without a number, and a warning
    gives the reason.
    """
    try:
        with Store() as store:
            number = store.add(kind, model, result.to_json(), summary)
    except ServingError as error:
        warnings.warn(
            f"This result is not kept: {error.message}. It is returned all the same; its "
            "to_json() is the data to save.",
            stacklevel=3,
        )
        return result
    return replace(result, number=number)


def history(model: str | None = None) -> pd.DataFrame:
    """The kept experiments, latest first; `load_experiment(number)` loads one."""
    import pandas as pd

    with Store() as store:
        rows = store.list(model)
    frame = pd.DataFrame(rows, columns=["number", "kind", "model", "saved_at", "summary"])
    frame["saved_at"] = pd.to_datetime(frame["saved_at"], unit="s", utc=True)
    return frame.set_index("number")


def load_experiment(number: int) -> Any:
    """The kept result of an experiment.

    Raises:
        ServingError: NOT_FOUND, there is none of this number; FAILED_PRECONDITION, this workbench
            does not know its kind.
    """
    with Store() as store:
        kind, data = store.get(number)
    found = _classes().get(kind)
    if found is None:
        raise failed_precondition(f"Experiment {number} is a {kind}, which cannot be loaded")
    return found.from_json(data, number)


def _classes() -> dict[str, type[Any]]:
    """The class of each kind of experiment, with `to_json()` and `from_json(data, number)`."""
    from workbench.experiments.simulator.calibration import Calibration
    from workbench.experiments.sweep.sweep_result import SweepResult
    from workbench.experiments.traffic.recorded_traffic import Traffic
    from workbench.experiments.transitions.transition_comparison import TransitionComparison
    from workbench.experiments.tuning.tune_result import TuneResult
    from workbench.experiments.versions.version_comparison import VersionComparison

    return {
        "calibration": Calibration,
        "load": SweepResult,
        "sweep": SweepResult,
        "traffic": Traffic,
        "transitions": TransitionComparison,
        "tune": TuneResult,
        "versions": VersionComparison,
    }
