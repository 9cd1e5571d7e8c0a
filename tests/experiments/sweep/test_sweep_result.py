"""A sweep's table, figure, recommendation and file, from points that are given."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from pathlib import Path

import pytest

from tests.experiments.points import interval, point
from workbench.core.batching.parameters import BatchingParameters
from workbench.core.status import Code, ServingError
from workbench.experiments.load.generator import LIMITED
from workbench.experiments.simulator.calibration import Calibration
from workbench.experiments.simulator.service_time import ServiceTime
from workbench.experiments.sweep.point import Point
from workbench.experiments.sweep.sweep_figure import knee, lines_of
from workbench.experiments.sweep.sweep_result import SweepResult
from workbench.formats.config_files import read_batching_parameters, write_batching_parameters
from workbench.load.intervals import Interval

SLOW = point(timeout=5000, achieved=3000, p99=0.02)
QUICK = point(timeout=0, achieved=1000, p99=0.004)
QUICK_BUT_LOSSY = point(timeout=0, achieved=995, p99=0.004, rejected=0.005)
FAILED = point(
    verdict="failing", failed=1.0, latency={}, samples=0, first_error="Version 3 is gone"
)
DROWNED = point(timeout=0, achieved=4000, p99=0.5, verdict="saturated")
UNSURE = point(
    timeout=0,
    achieved=900,
    latency={"p50": interval(0.001), "p99": Interval(0.001, 0.002, math.inf, 0.95)},
    verdict="not sure yet",
    lacks=math.inf,
)


def result(*points: object, arrivals: str = "poisson") -> SweepResult:
    return SweepResult(
        model="digits",
        version=3,
        where="engine",
        arrivals=arrivals,
        seed=0,
        started_at=1.7e9,
        seconds=12.0,
        predicted_seconds=20.0,
        interrupted=False,
        points=points,  # type: ignore[arg-type]
    )


def test_the_recommendation_has_the_most_throughput_within_the_limit() -> None:
    swept = result(SLOW, QUICK, DROWNED, UNSURE)

    assert swept.recommend().point is SLOW
    assert swept.recommend(p99_ms=10).point is QUICK
    assert swept.recommend(rate=1000).point is QUICK
    assert str(swept.recommend(p99_ms=10)) == (
        "batch_timeout_micros 0, max_batch_size 32: 1000 requests/s with a 99th percentile of 4 ms "
        "(3.6 to 4.4)"
    )


def test_a_limit_that_nobody_keeps() -> None:
    with pytest.raises(ServingError) as none:
        result(SLOW, QUICK).recommend(p99_ms=4.1)
    assert none.value == ServingError(
        Code.FAILED_PRECONDITION,
        "No point is known to keep its 99th percentile within 4.1 ms; the closest is 4 ms with "
        "batch_timeout_micros 0, max_batch_size 32 at 1000 requests/s",
    )


@pytest.mark.parametrize(
    ("points", "sentence"),
    [
        ((), "No point was measured: sweep again"),
        ((DROWNED,), "The server was saturated: lower the rate, or allow larger batches"),
        ((UNSURE,), "No point has enough samples for a 99th percentile yet: sweep with more "
         "seconds"),
        ((replace(UNSURE, lacks=5.5), QUICK_BUT_LOSSY), "No point has enough samples for a 99th "
         "percentile yet: sweep with seconds=8"),
        ((QUICK_BUT_LOSSY,), "Each stable point lost requests, up to 0.5%: lower the rate, or "
         "raise max_enqueued_batches"),
        ((point(verdict=LIMITED),), "The load generator was the limit: lower the rate, or measure "
         "with where='engine'"),
        ((FAILED,), "The requests failed: Version 3 is gone"),
    ],
)  # fmt: skip
def test_the_cure_is_that_of_the_cause(points: tuple[Point, ...], sentence: str) -> None:
    with pytest.raises(ServingError) as none:
        result(*points).recommend()
    assert none.value == ServingError(Code.FAILED_PRECONDITION, sentence)
    assert result(*points).finding() == sentence


def test_with_a_wanted_latency_each_point_has_an_answer() -> None:
    swept = replace(
        result(SLOW, QUICK, DROWNED, replace(UNSURE, lacks=3.2), QUICK_BUT_LOSSY, FAILED), p99_ms=10
    )
    assert swept.frame["verdict"].tolist() == [
        "does not meet",
        "meets",
        "does not meet: saturated",
        "not sure yet: about 4 s of load more",
        "does not meet: 0.5% of the requests rejected",
        "does not meet: 100.0% of the requests failed",
    ]
    assert swept.recommend().point is QUICK
    assert "answered in time" in swept._repr_html_()
    assert [line.get_ydata()[0] for line in swept.plot().axes[0].lines].count(10) == 1


def test_what_is_known_of_the_measurement_is_noted_once() -> None:
    swept = replace(
        result(replace(QUICK, others=300.0), FAILED, FAILED),
        voids=("version 4 was loaded", "version 4 was loaded", "the model was removed"),
        failure="The server is gone",
        interrupted=True,
    )
    text = str(swept)
    for note in (
        "Ended early: The server is gone.",
        "Interrupted: the points measured before were kept.",
        "3 windows of load were void and measured again, because version 4 was loaded, the model "
        "was removed.",
        "Others sent up to 300 requests/s meanwhile: rows a batch, queue and run include them.",
        "2000 of 2000 requests failed: Version 3 is gone. Cure: mend the requests or the model, "
        "then measure again. (Likewise at 1 other point.)",
    ):
        assert text.count(note) == 1, note
    assert "Others sent" not in str(result(replace(QUICK, others=1.0)))


def test_it_survives_json_and_has_no_infinity_in_it() -> None:
    swept = result(SLOW, UNSURE)

    text = json.dumps(swept.to_json(), allow_nan=False)

    assert SweepResult.from_json(json.loads(text)) == swept


def test_the_frame_has_a_row_for_each_point() -> None:
    frame = result(SLOW, QUICK).frame

    assert frame["batch_timeout_micros"].tolist() == [5000, 0]
    assert frame["p99_ms"].tolist() == [20.0, 4.0]
    assert frame["p99.9_ms"].isna().all()
    assert frame["closed_full"].tolist() == [1.0, 1.0]


def test_the_html_stands_alone_and_says_what_is_wrong() -> None:
    html = result(QUICK, UNSURE, point(rejected=0.12))._repr_html_()

    assert "<b>Sweep of digits, version 3: 3 points, engine, open loop, poisson, 12 s</b>" in html
    assert "<td>2 [1, ?]</td>" in html
    assert "The queue rejected 12% of the requests" in html
    assert "<p>batch_timeout_micros 0, max_batch_size 32: 1000 requests/s" in html
    assert html.count("data:image/png;base64,") == 1
    assert "<script" not in html


def test_the_figure_has_a_line_for_each_delay_and_the_knee() -> None:
    rising = [
        point(timeout=2000, achieved=a, p99=p) for a, p in ((1e3, 4e-3), (3e3, 5e-3), (4e3, 0.1))
    ]
    figure = result(*rising, QUICK).plot()

    axes = figure.axes[0]
    assert [text.get_text() for text in axes.get_legend().get_texts()] == ["2 ms", "0 ms"]
    assert axes.get_xlabel() == "throughput (requests/s)"
    assert axes.get_ylabel() == "latency, p99 (ms)"
    assert axes.get_yscale() == "log"
    assert knee(rising) is rising[1]
    assert knee([DROWNED]) is None
    assert list(lines_of((SLOW, point(size=64)))) == ["5 ms, size 32", "0 ms, size 64"]


def test_prediction_and_measurement_are_drawn_together_and_their_disagreement_is_a_number() -> None:
    calibration = Calibration(ServiceTime.linear(1000, 0), model="m", version=1, slots=2, rows=1)
    swept = result(
        # A lone request runs for 1 ms, so it is predicted rightly, and by half.
        point(load={"rate": 50.0}, achieved=50.0, p99=0.001),
        point(load={"rate": 50.0}, achieved=100.0, p99=0.002, timeout=1000),
        point(load={"rate": 60.0}, achieved=1.0, p99=0.1, verdict="saturated"),
    )

    found = swept.disagreement(calibration)

    assert list(found) == ["achieved", "p50", "p90", "p99"]
    assert found["achieved"] == pytest.approx(0.25, abs=0.03)  # none, and half
    assert found["p99"] == pytest.approx(0.0, abs=0.03)
    closed = result(point(load={"clients": 2}, achieved=1000.0, p99=0.001), arrivals="closed")
    assert closed.disagreement(calibration)["achieved"] == pytest.approx(1.0, abs=0.01)

    axes = swept.plot(predicted=calibration).axes[0]
    dotted = [line for line in axes.lines if line.get_linestyle() == ":"]
    assert [len(line.get_xdata()) for line in dotted] == [2, 1]
    assert axes.texts[0].get_text().endswith("; dotted: predicted, median error 0%")
    with pytest.raises(ServingError) as other:
        result(point(rows=3)).disagreement(calibration)
    assert str(other.value) == (
        "The sweep's requests have 3 rows and the calibration's have 1: calibrate with rows=3"
    )


def test_the_parameters_file_is_tensorflow_servings_text_form(tmp_path: Path) -> None:
    path = tmp_path / "batching.txt"
    text = result(SLOW).to_batching_parameters(path)

    assert text == path.read_text() == result(SLOW).to_batching_parameters()
    assert text == (
        "max_batch_size {\n  value: 32\n}\n"
        "batch_timeout_micros {\n  value: 5000\n}\n"
        "max_enqueued_batches {\n  value: 10\n}\n"
        "num_batch_threads {\n  value: 2\n}\n"
    )
    assert read_batching_parameters(path) == SLOW.batching
    everything = BatchingParameters(
        max_batch_size=8,
        allowed_batch_sizes=(4, 8),
        pad_variable_length_inputs=True,
        enable_large_batch_splitting=True,
        max_execution_batch_size=4,
    )
    # The server's own reader, of the same text form, finds the same in it.
    written = tmp_path / "everything.txt"
    written.write_text(write_batching_parameters(everything))
    assert read_batching_parameters(written) == everything
    flat = " ".join(written.read_text().split())
    assert flat[flat.index("allowed_batch_sizes") :] == (
        "allowed_batch_sizes: 4 allowed_batch_sizes: 8 pad_variable_length_inputs: true "
        "enable_large_batch_splitting { value: true } max_execution_batch_size { value: 4 }"
    )
