"""The store: what is kept, many writers, and files of other versions."""

from __future__ import annotations

import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest

from workbench.core.status import Code, ServingError
from workbench.experiments.store import store as store_module
from workbench.experiments.store.store import (
    MIGRATIONS,
    Store,
    history,
    load_experiment,
    store_path,
)


def test_what_is_kept_comes_back(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "experiments.sqlite"
    with Store(path) as store:
        first = store.add("sweep", "digits", {"a": [1, 2.5, None]}, "a summary")
        second = store.add("tune", "other", {})
    with Store(path) as store:
        assert store.get(first) == ("sweep", {"a": [1, 2.5, None]})
        listed = store.list()
        assert [(e["number"], e["kind"], e["model"], e["summary"]) for e in listed] == [
            (second, "tune", "other", ""),
            (first, "sweep", "digits", "a summary"),
        ]
        assert [e["number"] for e in store.list("digits")] == [first]
        store.remove(first)
        with pytest.raises(ServingError) as missing:
            store.get(first)
    assert missing.value == ServingError(
        Code.NOT_FOUND, f"There is no experiment {first}: see wb.history()"
    )


def test_several_processes_write_at_once(tmp_path: Path) -> None:
    path = tmp_path / "experiments.sqlite"
    script = (
        "import sys, pathlib; from workbench.experiments.store.store import Store\n"
        "with Store(pathlib.Path(sys.argv[1])) as store:\n"
        "    for n in range(20): store.add('sweep', sys.argv[2], {'n': n})\n"
    )
    writers = [
        subprocess.Popen([sys.executable, "-c", script, str(path), name]) for name in ("a", "b")
    ]
    assert [writer.wait(60) for writer in writers] == [0, 0]

    with Store(path) as store:
        assert [len(store.list(name)) for name in ("a", "b")] == [20, 20]
        kept = [store.get(entry["number"])[1]["n"] for entry in store.list("a")]
    assert kept == list(reversed(range(20)))


def test_an_empty_file_is_migrated_and_a_later_one_refused(tmp_path: Path) -> None:
    path = tmp_path / "experiments.sqlite"
    with Store(path) as store:
        store.add("sweep", "m", {})
    connection = sqlite3.connect(path)
    assert connection.execute("PRAGMA user_version").fetchone() == (len(MIGRATIONS),)
    assert connection.execute("PRAGMA journal_mode").fetchone() == ("wal",)
    connection.execute("PRAGMA user_version=99")
    connection.close()

    with pytest.raises(ServingError) as refused:
        Store(path)

    assert refused.value == ServingError(
        Code.FAILED_PRECONDITION,
        f"{path} was written by a later version of the workbench (99 > {len(MIGRATIONS)}): "
        "update this one",
    )


def test_history_is_a_data_frame(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("JUPYTER_DATA_DIR", str(tmp_path))
    assert store_path() == tmp_path / "workbench" / "experiments.sqlite"
    assert history().empty
    with Store() as store:
        number = store.add("probe", "m", {})

    frame = history("m")

    assert frame.index.tolist() == [number]
    assert frame["kind"].tolist() == ["probe"]
    with pytest.raises(ServingError) as unknown:
        load_experiment(number)
    assert str(unknown.value) == (f"Experiment {number} is a probe, which cannot be loaded")


def test_a_file_of_an_earlier_version_is_migrated(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "experiments.sqlite"
    with Store(path) as store:
        number = store.add("sweep", "m", {"a": 1}, "before")
    added = """
    ALTER TABLE experiments ADD COLUMN note TEXT NOT NULL DEFAULT 'none';
    CREATE TABLE labels (label TEXT)
    """
    monkeypatch.setattr(store_module, "MIGRATIONS", (*MIGRATIONS, added))

    for _ in range(2):  # the second time there is nothing to do any more
        with Store(path) as store:
            assert store.get(number) == ("sweep", {"a": 1})
            later = store.add("tune", "m", {"b": 2})
            assert store.get(later) == ("tune", {"b": 2})

    connection = sqlite3.connect(path)
    assert connection.execute("PRAGMA user_version").fetchone() == (len(MIGRATIONS) + 1,)
    assert connection.execute("SELECT note FROM experiments").fetchall() == [("none",)] * 3
    assert connection.execute("SELECT * FROM labels").fetchall() == []
    connection.close()
    monkeypatch.setattr(store_module, "MIGRATIONS", MIGRATIONS)
    with pytest.raises(ServingError, match="was written by a later version of the workbench"):
        Store(path)


def test_a_migration_that_fails_changes_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "experiments.sqlite"
    with Store(path) as store:
        number = store.add("sweep", "m", {"a": 1})
    broken = "CREATE TABLE half (a); CREATE TABLE experiments (b)"
    monkeypatch.setattr(store_module, "MIGRATIONS", (*MIGRATIONS, broken))
    with pytest.raises(sqlite3.OperationalError, match="table experiments already exists"):
        Store(path)
    monkeypatch.setattr(store_module, "MIGRATIONS", MIGRATIONS)

    with Store(path) as store:
        assert store.get(number) == ("sweep", {"a": 1})
    connection = sqlite3.connect(path)
    assert connection.execute("SELECT name FROM sqlite_master WHERE name = 'half'").fetchall() == []
    connection.close()
