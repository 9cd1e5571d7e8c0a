"""The event log: numbering, bounds, listeners, and TensorFlow Serving's log lines."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from workbench.core.events import Event, EventLog, log_line


def ticking_log(capacity: int = 20_000) -> EventLog:
    times = iter(range(10_000))
    return EventLog(lambda: ((t := next(times)) / 10, 1e9 + t), capacity)


def test_events_are_numbered_and_timed() -> None:
    log = ticking_log()
    log.add("model_added", "m", config={"name": "m"})
    log.add("state", "m", 2, state="START")
    log.add("zygote_started")
    assert list(log.since(0)) == [
        Event(1, "model_added", 0.0, 1e9, "m", None, {"config": {"name": "m"}}),
        Event(2, "state", 0.1, 1e9 + 1, "m", 2, {"state": "START"}),
        Event(3, "zygote_started", 0.2, 1e9 + 2),
    ]
    assert [event.to_json() for event in log.since(1)] == [
        {
            "seq": 2,
            "kind": "state",
            "monotonic": 0.1,
            "wall": 1e9 + 1,
            "model": "m",
            "version": 2,
            "data": {"state": "START"},
        },
        {"seq": 3, "kind": "zygote_started", "monotonic": 0.2, "wall": 1e9 + 2},
    ]


@given(added=st.integers(0, 30), since=st.integers(0, 40), capacity=st.integers(1, 12))
def test_a_reader_gets_what_is_kept_after_its_number(added: int, since: int, capacity: int) -> None:
    log = ticking_log(capacity)
    for _ in range(added):
        log.add("tick")
    assert log.last_seq == added
    assert log.first_seq == max(1, added - capacity + 1)
    assert [e.seq for e in log.since(since)] == list(
        range(max(since + 1, log.first_seq), added + 1)
    )


def test_listeners_hear_each_event_until_they_stop() -> None:
    log = ticking_log()
    heard: list[int] = []
    stop = log.listen(lambda event: heard.append(event.seq))
    log.add("a")
    log.add("b")
    stop()
    log.add("c")
    assert heard == [1, 2]


def test_a_listener_may_stop_while_it_listens() -> None:
    log = ticking_log()
    heard: list[str] = []

    def once(event: Event) -> None:
        heard.append("once")
        stop()

    stop = log.listen(once)
    log.listen(lambda event: heard.append("always"))
    log.add("a")
    log.add("b")
    assert heard == ["once", "always", "always"]


SERVABLE = ("my_mnist_model", 2)
ID = "{name: my_mnist_model version: 2}"


@pytest.mark.parametrize(
    ("kind", "about", "data", "line"),
    [
        ("model_added", ("m", None), {"config": {}}, " (Re-)adding model: m"),
        ("model_removed", ("m", None), {}, "Removing model: m"),
        (
            "reserved",
            SERVABLE,
            {"bytes": 12},
            f"Successfully reserved resources to load servable {ID}",
        ),
        ("load_approved", SERVABLE, {}, f"Approving load for servable version {ID}"),
        ("loading", SERVABLE, {}, f"Loading servable version {ID}"),
        ("reading_saved_model", SERVABLE, {"path": "/m/2"}, "Reading SavedModel from: /m/2"),
        (
            "reading_meta_graph",
            SERVABLE,
            {"tags": "serve"},
            "Reading meta graph with tags { serve }",
        ),
        (
            "loaded_saved_model",
            SERVABLE,
            {"tags": "serve", "micros": 42910},
            "SavedModel load for tags { serve }; Status: success: OK. Took 42910 microseconds.",
        ),
        ("warmup_absent", SERVABLE, {"path": "/w"}, "No warmup data file found at /w"),
        (
            "warmup_started",
            SERVABLE,
            {"path": "/w", "options": ""},
            "Starting to read warmup data for model at /w with model-warmup-options ",
        ),
        (
            "warmup_finished",
            SERVABLE,
            {"path": "/w", "records": 3, "micros": 42},
            "Finished reading warmup data for model at /w. Number of warmup records read: 3. "
            "Elapsed time (microseconds): 42.",
        ),
        ("available", SERVABLE, {}, f"Successfully loaded servable version {ID}"),
        (
            "load_retry",
            SERVABLE,
            {"attempt": 1},
            f"Retrying of Loading servable: {ID} retry: 1",
        ),
        (
            "load_failed",
            SERVABLE,
            {"code": "NOT_FOUND", "message": "no file"},
            f"Loading servable: {ID} failed: NOT_FOUND: no file",
        ),
        ("load_cancelled", SERVABLE, {}, f"Loading of servable cancelled: {ID}"),
        (
            "error",
            SERVABLE,
            {"code": "NOT_FOUND", "message": "no file"},
            f"Encountered an error for servable version {ID}: NOT_FOUND: no file",
        ),
        ("quiescing", SERVABLE, {"pending": 3}, f"Quiescing servable version {ID}"),
        ("quiesced", SERVABLE, {"unanswered": 0}, f"Done quiescing servable version {ID}"),
        ("unloading", SERVABLE, {}, f"Unloading servable version {ID}"),
        ("unloaded", SERVABLE, {}, f"Done unloading servable version {ID}"),
        (
            "worker_exited",
            SERVABLE,
            {"pid": 7, "reason": "exit code 1"},
            f"Worker process 7 of servable version {ID} ended: exit code 1",
        ),
        (
            "worker_replaced",
            SERVABLE,
            {"pid": 8},
            f"Worker process 8 now serves servable version {ID}",
        ),
        ("source_waiting", SERVABLE, {"message": "Version 2 waits"}, "Version 2 waits"),
        ("source_error", ("m", None), {"message": "No such folder"}, "No such folder"),
        (
            "server_ready",
            (None, None),
            {"address": "localhost:8501"},
            "Exporting HTTP/REST API at:localhost:8501 ...",
        ),
        ("models_adding", (None, None), {}, "Adding/updating models."),
        ("models_added", (None, None), {}, "Finished adding/updating models"),
        ("grpc_insecure", (None, None), {}, "Using InsecureServerCredentials"),
        ("session_wrapped", SERVABLE, {}, "Wrapping session to perform batch processing"),
        (
            "load_retries_exhausted",
            SERVABLE,
            {"retries": 5},
            f"Retrying of Loading servable: {ID} exhausted max_num_retries: 5",
        ),
        (
            "load_retry_cancelled",
            SERVABLE,
            {},
            f"Retrying of Loading servable: {ID} was cancelled.",
        ),
        (
            "not_loaded",
            SERVABLE,
            {"code": "NOT_FOUND", "message": "no file"},
            f"Servable {ID} cannot be loaded: NOT_FOUND: no file",
        ),
        (
            "source_unreadable",
            ("m", None),
            {"message": "No such folder"},
            "FileSystemStoragePathSource encountered a filesystem access error: No such folder",
        ),
        (
            "config_entry",
            (None, None),
            {"index": 0, "path": "/m", "name": "m", "platform": "tensorflow"},
            "\nConfig entry\n\tindex : 0\n\tpath : /m\n\tname : m\n\tplatform : tensorflow",
        ),
        ("reload_failed", (None, None), {"message": "no"}, "ReloadConfig failed: no"),
        ("server_stopping", (None, None), {"reason": "SIGTERM"}, "Server is stopping: SIGTERM"),
        ("decision", SERVABLE, {"act": "load", "why": "new"}, None),
    ],
)
def test_log_lines(kind: str, about: tuple[Any, Any], data: dict[str, Any], line: str) -> None:
    assert log_line(Event(1, kind, 0.0, 0.0, *about, data or None)) == line
