"""Recordings: what is read from one made by hand, and two of a real server."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

import workbench as wb
from workbench.core.status import ServingError
from workbench.experiments.load.generator import LoadResult
from workbench.experiments.recording.recorded_timeline import Decision, Drain, Gap, Span
from workbench.experiments.recording.recording import Recording, predict_job, record
from workbench.load.arrivals import Schedule


def load(*outcomes: Any, until: float = 10.0) -> LoadResult:
    """Requests as (due time, HTTP status, version, and when it was done); without the last, after
    10 ms."""
    due = np.array([float(o[0]) for o in outcomes])
    return LoadResult(
        target="POST /v1/models/m:predict",
        schedule={"kind": "poisson"},
        connections=1,
        started_at=100.0,
        sent_until_s=until,
        stopped=True,
        failures={},
        waited=0,
        busy_share=0.0,
        lag_p99_s=0.0,
        limited=False,
        intended=due,
        sent=due,
        done=np.array([o[3] if len(o) > 3 else o[0] + 0.01 for o in outcomes], float),
        status=np.array([o[1] for o in outcomes], np.int32),
        size=np.zeros(len(outcomes), np.int64),
        version=np.array([o[2] for o in outcomes], np.int64),
    )


def made(
    states: list[tuple[float, int, str]],
    memory: list[tuple[float, int, int]] = (),  # type: ignore[assignment]
    requests: list[Any] = (),  # type: ignore[assignment]
    others: list[tuple[float, int, str, dict[str, Any]]] = (),  # type: ignore[assignment]
) -> Recording:
    """A recording of `states` (time, version, state), `memory` (time, version, bytes) and `others`
    (time, version, kind, data)."""
    recording = Recording("by hand", "m")
    recording.load = load(*requests)
    rows = [
        {"seq": i, "kind": "state", "model": "m", "version": v, "data": {"state": s}, "at": at}
        for i, (at, v, s) in enumerate(states)
    ]
    rows += [
        {"seq": 100 + i, "kind": kind, "model": "m", "version": v, "data": data, "at": at}
        for i, (at, v, kind, data) in enumerate(others)
    ]
    # What is another model's does not count.
    rows += [
        {"seq": 200, "kind": kind, "model": "other", "version": 1, "data": data, "at": 0.5}
        for kind, data in (("state", {"state": "END"}), ("aspired", None))
    ]
    recording.events = pd.DataFrame(rows)
    recording.memory = pd.DataFrame(
        [(at, "m", v, 2 * size, size, i % 2 == 0) for i, (at, v, size) in enumerate(memory)],
        columns=["at", "model", "version", "pss", "uss", "measured"],
    )
    return recording


SMOOTH = [
    (-5.0, 1, "AVAILABLE"), (2.0, 2, "START"), (2.5, 2, "LOADING"), (4.0, 2, "AVAILABLE"),
    (4.0, 1, "UNLOADING"), (6.0, 1, "END"),
]  # fmt: skip
UNLOAD_FIRST = [
    (-5.0, 1, "AVAILABLE"), (2.0, 2, "START"), (2.0, 1, "UNLOADING"), (3.0, 1, "END"),
    (3.0, 2, "LOADING"), (4.5, 2, "AVAILABLE"),
]  # fmt: skip


def test_spans_of_states() -> None:
    assert made(SMOOTH).spans() == [
        Span(1, "AVAILABLE", -5.0, 4.0),
        Span(2, "START", 2.0, 2.5),
        Span(2, "LOADING", 2.5, 4.0),
        Span(2, "AVAILABLE", 4.0, 10.0),
        Span(1, "UNLOADING", 4.0, 6.0),
    ]
    # What ended before the first request was due, or came after the last, is not shown.
    outside = [(-5.0, 1, "LOADING"), (-1.0, 1, "END"), (11.0, 2, "START")]
    assert made(outside).spans() == []


@pytest.mark.parametrize(
    ("states", "gap"),
    [
        (SMOOTH, 0.0),
        (UNLOAD_FIRST, 2.5),
        # Twice away; what is before the first available version is no gap.
        ([(0.0, 1, "LOADING"), (1.0, 1, "AVAILABLE"), (2.0, 1, "UNLOADING"), (3.0, 2, "AVAILABLE"),
          (4.0, 2, "END"), (4.5, 1, "AVAILABLE")], 1.5),
        # Never back, whatever was tried: that is no gap of 0.
        ([(-1.0, 1, "AVAILABLE"), (1.0, 1, "UNLOADING"), (1.5, 1, "END"), (2.0, 2, "LOADING"),
          (3.0, 2, "END")], math.inf),
        ([(-1.0, 1, "AVAILABLE"), (1.0, 1, "END"), (2.0, 2, "AVAILABLE"), (3.0, 2, "END")],
         math.inf),
    ],
)  # fmt: skip
def test_how_long_nothing_was_available(states: list[Any], gap: float) -> None:
    recording = made(states)
    assert recording.gap_seconds == gap
    assert recording.summary()["gap_ms"] == gap * 1e3


def test_gaps() -> None:
    gone = [(-1.0, 1, "AVAILABLE"), (1.0, 1, "END"), (2.0, 2, "AVAILABLE"), (3.0, 2, "END")]
    assert made(gone).gaps == [Gap(1.0, 2.0), Gap(3.0, math.inf)]
    assert made(SMOOTH).gaps == []


@pytest.mark.parametrize(
    ("requests", "seen"),
    [
        ([(1.0, 200, 1), (2.0, 200, 1)], 0.0),
        ([(1.0, 200, 1), (2.0, 404, 0), (3.0, 404, 0), (4.0, 200, 2), (5.0, 200, 2)], 2.0),
        ([(1.0, 200, 1), (2.0, 404, 0), (3.0, 0, 0)], math.inf),
    ],
)
def test_how_long_callers_were_refused(requests: list[Any], seen: float) -> None:
    assert made(SMOOTH, requests=requests).gap_seen_seconds == seen


def test_how_long_two_versions_held_memory() -> None:
    # From the beginning of a load to the end of an unload; START holds nothing yet.
    assert made(SMOOTH).overlap_seconds() == 3.5
    assert made(UNLOAD_FIRST).overlap_seconds() == 0.0


def test_memory_of_a_worker_that_is_gone_is_not_that_of_the_next() -> None:
    memory = [(0.5, 1, 10), (1.0, 2, 99), (4.2, 2, 20)]
    table = made(UNLOAD_FIRST, memory).memory_by_version()
    assert table[2].max() == 20
    assert table[2][table.index < 4.2].max() == 0


def test_memory_over_time() -> None:
    samples = [(0.5, 1, 100), (3.0, 2, 40), (3.5, 2, 60), (5.0, 1, 90), (5.5, 2, 70)]
    recording = made(SMOOTH, memory=samples)
    table = recording.memory_by_version()
    assert list(table.columns) == [1, 2]
    assert (table.index[0], table.index.name) == (0.0, "at")

    def at(seconds: float) -> list[float]:
        return [float(v) for v in table.iloc[round(seconds / 0.02)]]

    # Before the first sample of a version that was there already, it is as large as in that.
    assert at(0.1) == [100, 0]
    assert at(2.6) == [100, 0]
    assert at(3.1) == [100, 40]
    assert at(4.5) == [100, 60]
    assert at(5.2) == [90, 60]
    assert at(7.0) == [0, 70]
    assert recording.peak_bytes() == 160
    assert made(SMOOTH).peak_bytes() == 0


def test_the_summary() -> None:
    requests = [(1.0, 200, 1), (2.5, 404, 0), (5.0, 200, 2)]
    recording = made(UNLOAD_FIRST, [(1.0, 1, 2**20)], requests)
    assert recording.summary() == {
        "requests": 3,
        "answered": 2,
        "failed": 1,
        "held": 0,
        "held_wait_ms": 0.0,
        "gap_ms": 2500.0,
        "p50_ms": 10.0,
        "p99_ms": 10.0,
        "memory_overlap_s": 0.0,
        "peak_mb": 1.0,
        "peak_pss_mb": 2.0,
    }
    assert repr(recording) == (
        "Recording of m, by hand: 3 requests, 1 failed, no version for 2500 ms; p99 10 ms; "
        "peak memory 1 MB."
    )
    first, head, *rows = str(recording).splitlines()
    assert (first, head.split()) == (repr(recording), ["measure", "value"])
    assert rows[0].split() == ["requests", "3"]
    # Of latencies that differ, as in life.
    requests = [(1.0, 200, 1, 1.002), (2.5, 404, 0), (5.0, 200, 2, 5.3)]
    page = made(UNLOAD_FIRST, [(1.0, 1, 2**20)], requests)._repr_html_()
    assert page.count("data:image/png;base64,") == page.count("<table") == 1
    assert page.startswith("<p>Recording of m, by hand: 3 requests, 1 failed, ")
    assert repr(Recording("smooth", "m")) == "Recording of m, smooth: it has not ended."
    assert Recording("smooth", "m")._repr_html_().startswith("<p>Recording of m")
    nothing = made(SMOOTH).summary()
    assert (nothing["requests"], nothing["p50_ms"], nothing["p99_ms"]) == (0, None, None)


HELD = [
    (2.0, 2, "aspired", None), (2.0, 1, "decision", {"act": "unload", "why": "memory"}),
    (2.0, 1, "quiescing", {"pending": 2}), (2.6, 1, "quiesced", {"unanswered": 0}),
    (3.0, 2, "decision", {"act": "load", "why": "none is left"}),
    (3.6, 2, "warmup_started", {}), (4.0, 2, "warmup_finished", {"records": 3}),
    (4.5, 2, "held_released", {"requests": 2, "seconds": 2.0}),
]  # fmt: skip


def test_requests_that_were_held() -> None:
    requests = [
        (1.0, 200, 1), (1.9, 200, 1, 2.5), (2.5, 200, 2, 4.6), (3.5, 200, 2, 4.7),
        # Refused at once, and come when they had gone on.
        (4.0, 503, 0), (4.51, 200, 2),
    ]  # fmt: skip
    recording = made(UNLOAD_FIRST, requests=requests, others=HELD)
    assert recording.held.tolist() == [False, False, True, True, False, False]
    assert recording.held_wait.tolist() == [0, 0, 2.0, 1.0, 0, 0]
    summary = recording.summary()
    assert (summary["failed"], summary["held"], summary["held_wait_ms"]) == (1, 2, 2000.0)
    assert recording.frame["held_wait"].tolist() == [0, 0, 2.0, 1.0, 0, 0]
    # The same requests without word of the server are only late.
    assert not made(UNLOAD_FIRST, requests=requests).held.any()


def test_requests_that_the_old_version_still_had() -> None:
    requests = [(1.0, 200, 1), (1.9, 200, 1, 2.5), (1.95, 200, 1, 2.2), (5.0, 200, 2)]
    recording = made(UNLOAD_FIRST, requests=requests, others=HELD)
    assert recording.drains() == [Drain(1, 2.0, 2.6, 2, 0)]
    assert recording.draining.to_dict("list") == {
        "at": [2.0, 2.2, 2.5],
        "version": [1, 1, 1],
        "requests": [2, 1, 0],
    }
    # It never ended.
    assert made(UNLOAD_FIRST, others=HELD[:3]).drains() == [Drain(1, 2.0, 10.0, 2, 2)]


def test_steps_decisions_and_warm_up_on_the_same_axis() -> None:
    steps = [
        (1.9, 2, "state", {"state": "START", "harness": "new"}),
        (2.7, 1, "unloading", {}), (3.0, 1, "state", {"state": "END", "harness": "disabled"}),
        (3.0, 2, "state", {"state": "LOADING", "harness": "load-approved"}),
        (3.1, 2, "loading", {}), (4.5, 2, "state", {"state": "AVAILABLE", "harness": "ready"}),
    ]  # fmt: skip
    first = (-5.0, 1, "state", {"state": "AVAILABLE", "harness": "ready"})
    recording = made([], others=[first, *HELD, *steps])
    assert recording.wanted_at == 2.0
    assert [(s.version, s.state, s.start, s.end) for s in recording.harness_spans()] == [
        (1, "ready", -5.0, 2.0),
        (2, "new", 1.9, 3.0),
        (1, "unload-requested", 2.0, 2.0),
        (1, "quiescing", 2.0, 2.6),
        (1, "quiesced", 2.6, 2.7),
        (1, "unloading", 2.7, 3.0),
        (2, "load-requested", 3.0, 3.0),
        (1, "disabled", 3.0, 10.0),
        (2, "load-approved", 3.0, 3.1),
        (2, "loading", 3.1, 4.5),
        (2, "ready", 4.5, 10.0),
    ]
    assert recording.decisions() == [
        Decision(2.0, 1, "unload", "memory"),
        Decision(3.0, 2, "load", "none is left"),
    ]
    assert recording.warm_ups() == [Span(2, "warm-up", 3.6, 4.0)]
    table = recording.timeline
    assert table.columns.tolist() == ["at", "until", "kind", "version", "what"]
    assert table["at"].is_monotonic_increasing
    assert {k: int((table["kind"] == k).sum()) for k in sorted(set(table["kind"]))} == {
        "decision": 2,
        "drain": 1,
        "harness": 11,
        "state": 4,
        "warm-up": 1,
    }


def test_a_recording_comes_back_from_json() -> None:
    requests = [(1.0, 200, 1), (2.5, 200, 2, 4.6), (4.0, 503, 0)]
    recording = made(UNLOAD_FIRST, [(1.0, 1, 2**20), (3.5, 2, 2**21)], requests, HELD)
    data = json.loads(json.dumps(recording.to_json()))
    again = Recording.from_json(data)
    assert again.summary() == recording.summary()
    assert again.spans() == recording.spans()
    assert again.frame.equals(recording.frame)
    assert again.memory["measured"].tolist() == [True, False]
    assert json.loads(json.dumps(again.to_json())) == data


# A real server.


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory, models: Path) -> Iterator[wb.Server]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("JUPYTER_RUNTIME_DIR", str(tmp_path_factory.mktemp("runtime")))
        with wb.serve(models / "half_plus_two", "half") as server:
            yield server


def test_a_smooth_transition_and_one_that_unloads_first(server: wb.Server, models: Path) -> None:
    with record(server, np.array([1.0]), rate=200, lead_seconds=0.3) as smooth:
        server.publish(models / "half_plus_three")
    assert (smooth.title, smooth.model) == ("smooth", "half")
    assert smooth.failed == 0
    assert smooth.answered == len(smooth.load.intended) > 0
    assert set(smooth.load.version.tolist()) == {1, 2}
    assert smooth.gap_seconds == 0.0
    assert smooth.overlap_seconds() > 0
    assert {1, 2} <= set(smooth.memory_by_version().columns)

    server.transition = "unload_first"
    with record(server, [1.0], rate=200, title="back", lead_seconds=0.3) as back:
        server.rollback()
    assert back.title == "back"
    assert back.overlap_seconds() == 0.0
    assert back.gap_seconds > 0
    assert back.failed > 0
    assert set(back.load.status[~back.load.succeeded].tolist()) == {404}
    # Both figures that a reader compares are of the same moment.
    assert back.gap_seen_seconds > 0
    figure = back.plot()
    assert [a.get_ylabel() for a in figure.axes] == ["", "memory, MB", "latency, ms"]


def test_what_happens_in_the_block_is_not_swallowed(server: wb.Server) -> None:
    with (
        pytest.raises(ZeroDivisionError),
        record(server, [1.0], rate=50, lead_seconds=0.05) as recording,
    ):
        raise ZeroDivisionError
    assert not hasattr(recording, "load")


def test_a_ramp_cannot_be_recorded(server: wb.Server) -> None:
    with (
        pytest.raises(ServingError, match="A ramp cannot be recorded: use a constant, poisson or"),
        record(server, [1.0], load=Schedule("ramp", 10.0, 1.0)),
    ):
        pytest.fail("it began")


def test_any_other_load_can(server: wb.Server) -> None:
    with record(server, [1.0], load=Schedule("constant", 100.0, 1.0), lead_seconds=0.1) as found:
        pass
    assert np.allclose(np.diff(found.load.intended), 0.01)


def test_the_requests_carry_the_token(server: wb.Server) -> None:
    job = predict_job(server, np.array([[1.0, 2.0]]), Schedule("constant", 1.0, 1.0))
    assert job.target == "/v1/models/half:predict"
    assert list(job.bodies) == [b'{"instances": [[1.0, 2.0]]}']
    assert job.headers == {
        "Content-Type": "application/json",
        "Authorization": f"Bearer {server.token}",
    }
    assert server.token not in repr(job)
