"""The sentences, each from the evidence that calls for it; and two of them from real runs."""

from __future__ import annotations

import workbench as wb
from tests.experiments.points import point
from workbench.experiments.sweep.diagnosis import diagnose
from workbench.experiments.sweep.point import Point
from workbench.experiments.sweep.sweep import sweep


def said(of: Point) -> list[str]:
    return [str(diagnosis) for diagnosis in diagnose(of)]


def test_a_good_setting_gets_no_diagnosis() -> None:
    assert said(point()) == []


def test_a_full_queue() -> None:
    assert said(point(rejected=0.12)) == [
        "The queue rejected 12% of the requests: it holds at most 10 waiting batches of 32 rows. "
        "Cure: lower the load, allow larger batches, or raise max_enqueued_batches if only bursts "
        "are rejected."
    ]


def test_a_timeout_that_buys_nothing() -> None:
    found = point(timeout=5000, sizes={3: 100}, reasons={"timeout": 95, "full": 5}, occupancy=0.1)
    assert said(found) == [
        "Batches of 32 are rarely filled: 95% of them waited the full 5 ms and ran with 3.0 rows, "
        "while the executors were idle 90% of the time. Cure: lower batch_timeout_micros; the "
        "delay adds latency without making batches larger."
    ]


def test_too_much_padding() -> None:
    found = point(allowed=(32,), sizes={8: 100}, reasons={"timeout": 100}, timeout=1, occupancy=0.6)
    assert said(found) == [
        "75% of the rows that run are padding. Cure: add smaller allowed_batch_sizes; most batches "
        "have 8 rows."
    ]


def test_executors_that_are_always_busy() -> None:
    found = point(occupancy=0.97, queue=0.01, run=0.002, reasons={"executor_idle": 100})
    assert said(found) == [
        "The executors are busy 97% of the time, and requests wait 5.0 times as long as they run. "
        "Cure: this is close to the model's capacity on this machine; lower the load or add "
        "servers."
    ]


def test_sixteen_clients_and_batches_of_32(served_digits: wb.Server) -> None:
    """tensorflow/serving issue 1529's configuration, really run."""
    result = sweep(
        served_digits,
        batch_timeout_micros=100_000,
        max_batch_size=32,
        clients=16,
        seconds=0.5,
        keep=False,
        progress=False,
    )

    assert result.points[0].reasons.keys() == {"timeout"}
    assert result.diagnoses() == [
        "16 clients can never fill a batch of 32: every batch waited its full 100 ms. Cure: set "
        "max_batch_size to 16, so that a batch runs as soon as all clients are in it, or set "
        "batch_timeout_micros to 0."
    ]


def test_timeout_0_with_eight_threads(served_digits: wb.Server) -> None:
    """tensorflow/serving issue 1312's configuration, really run: as many clients as threads never
    wait for each other. With one thread, the same clients share batches."""
    eight, one = (
        sweep(
            served_digits,
            batch_timeout_micros=0,
            max_batch_size=32,
            num_batch_threads=threads,
            clients=clients,
            seconds=0.5,
            keep=False,
            progress=False,
        )
        for threads, clients in ((8, 1), (1, 16))
    )

    (point,) = eight.points
    assert point.reasons.keys() == {"executor_idle"}
    assert point.batch_rows == 1
    assert eight.diagnoses() == [
        "With batch_timeout_micros 0 and 8 threads, requests run almost alone (1.0 rows in a "
        "batch, 32 possible). Cure: for more throughput, lower num_batch_threads, or set "
        f"batch_timeout_micros to about the run time of a batch ({max(point.run * 1e6, 100):.0f})."
    ]
    assert one.points[0].batch_rows > 2
    assert not any("almost alone" in sentence for sentence in one.diagnoses())
