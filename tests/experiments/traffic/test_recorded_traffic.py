"""Traffic as data: where it comes from, what it says of itself, and how it is kept."""

from __future__ import annotations

from datetime import datetime, timedelta
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

import workbench as wb
from workbench.core.status import Code, ServingError
from workbench.experiments.store.store import keep_result
from workbench.experiments.traffic.recorded_traffic import Traffic
from workbench.experiments.traffic.traffic_figure import step_seconds
from workbench.load.arrivals import bursty, poisson


def traffic(times: list[float], rows: list[int], duration: float = 10.0) -> Traffic:
    sizes = np.array(rows, np.int64)
    return Traffic(np.array(times), sizes, sizes * 40, duration, "shop", 1.7e9)


FEW = traffic([0.5, 0.6, 4.0, 9.25], [1, 16, 3, 2])


def test_what_traffic_says_of_itself() -> None:
    assert str(FEW) == (
        "4 requests to shop in 10.0 s: 0.4 a second, at most 2 in one second, burstiness 0.73; "
        "1 to 16 rows each, 5.5 on average"
    )
    one = Traffic.from_times([3.0])
    assert str(one) == "1 request in 1.0 s: 1 a second, at most 1 in one second; 1 row each"
    assert FEW.frame.to_dict("list") == {
        "time_s": [0.5, 0.6, 4.0, 9.25],
        "rows": [1, 16, 3, 2],
        "bytes": [40, 640, 120, 80],
    }


def test_burstiness_tells_regular_from_irregular_traffic() -> None:
    regular = Traffic.from_times(np.arange(1000) / 10).burstiness
    random = Traffic.from_times(poisson(50, seed=1, duration=200)).burstiness
    bursts = Traffic.from_times(bursty(50, seed=1, duration=200)).burstiness
    assert regular == pytest.approx(0, abs=1e-6)
    assert random == pytest.approx(1, abs=0.05)
    assert bursts > 2


@pytest.mark.parametrize("factor", [0.25, 3.0])
def test_another_speed_keeps_the_pattern(factor: float) -> None:
    faster = FEW.faster(factor)
    assert faster.times_s == pytest.approx(FEW.times_s / factor)
    assert faster.rate == pytest.approx(FEW.rate * factor)
    assert faster.burstiness == pytest.approx(FEW.burstiness)
    assert faster.rows.tolist() == FEW.rows.tolist()
    assert faster.slower(factor).times_s == pytest.approx(FEW.times_s)
    assert FEW.schedule(speed=factor).arrivals() == pytest.approx(faster.times_s)
    for refused in (FEW.faster, FEW.slower, lambda speed: FEW.schedule(speed=speed)):
        with pytest.raises(ServingError) as wrong:
            refused(0.0)
        assert wrong.value.code is Code.INVALID_ARGUMENT


def test_times_of_an_access_log_become_traffic() -> None:
    start = datetime(2026, 3, 1, 12)
    offsets = [2.5, 0.0, 1.0, 1.25]
    moments = [start + timedelta(seconds=s) for s in offsets]
    log = pd.DataFrame({"when": moments, "examples": [4, 1, 2, 3]}, index=[7, 8, 9, 10])
    texts = [f"{moment.isoformat()}+01:00" for moment in moments]
    numbers = [1e9 + s for s in offsets]
    for times in (log["when"], moments, np.array(moments, "datetime64[ms]"), texts, numbers):
        found = Traffic.from_times(times, log["examples"])
        assert found.times_s == pytest.approx([0.0, 1.0, 1.25, 2.5])
        assert found.rows.tolist() == [1, 2, 3, 4]
        assert found.duration_s == pytest.approx(2.5 * 4 / 3)
    assert Traffic.from_times(numbers, duration_s=60.0).rate == pytest.approx(4 / 60)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Traffic.from_times([]), "Traffic needs at least one request"),
        (lambda: Traffic.from_times(["soon"]), "Traffic cannot be made of these times: .*soon"),
        (lambda: Traffic.from_times([1.0, np.nan]), "must be finite, not negative, and in"),
        (lambda: Traffic.from_times([1, 2], [1, 2, 3]), "Traffic cannot be made of these times"),
        (lambda: Traffic.from_times([1, 2], [1, np.nan]), "rows and bytes must be whole numbers"),
        (lambda: Traffic.from_times([1, 2], 1.5), "rows and bytes must be whole numbers"),
        (lambda: Traffic.from_times([0, 5], duration_s=4), "came after 5 s; duration_s was 4"),
        (lambda: traffic([0, 1], [1]), "there are 2 times, 1 rows and 1 bytes"),
        (lambda: traffic([1, 0], [1, 1]), "in increasing order"),
        (lambda: traffic([0, 1], [1, -1]), "must not be negative"),
    ],
)
def test_what_is_no_traffic_is_refused(make: object, message: str) -> None:
    with pytest.raises(ServingError, match=message) as wrong:
        make()  # type: ignore[operator]
    assert wrong.value.code is Code.INVALID_ARGUMENT


@pytest.mark.parametrize("ending", [".json", ".csv"])
def test_traffic_is_kept_in_a_file(tmp_path: Path, ending: str) -> None:
    again = Traffic.load(FEW.save(tmp_path / f"traffic{ending}"))
    assert again.times_s == pytest.approx(FEW.times_s)
    assert (again.rows.tolist(), again.input_bytes.tolist()) == ([1, 16, 3, 2], [40, 640, 120, 80])
    assert again.duration_s == FEW.duration_s
    if ending == ".json":
        assert again == FEW
        assert again != FEW.faster(2)


def test_files_of_others_are_read_or_refused_with_their_name(tmp_path: Path) -> None:
    log = tmp_path / "access.csv"
    log.write_text("time_s, bytes, rows\n2026-03-01 12:00:01.5, 90, 8\n2026-03-01 12:00:00, 7, 2\n")
    found = Traffic.load(log)
    assert (found.times_s.tolist(), found.rows.tolist()) == ([0.0, 1.5], [2, 8])
    assert found.input_bytes.tolist() == [7, 90]
    log.write_text("when\n12\n")
    with pytest.raises(ServingError, match=r"access\.csv cannot .* no column time_s; its columns"):
        Traffic.load(log)
    later = tmp_path / "later.json"
    later.write_text('{"format": 99}')
    with pytest.raises(ServingError, match=r"later\.json: This traffic has format 99") as refused:
        Traffic.load(later)
    assert refused.value.code is Code.FAILED_PRECONDITION
    later.write_text('{"format": 1, "gaps_micros": "AAAA", "rows": "", "bytes": ""}')
    with pytest.raises(ServingError, match="is not recorded traffic"):
        Traffic.load(later)
    with pytest.raises(ServingError, match=r"cannot be read as traffic: .*No such file"):
        Traffic.load(tmp_path / "none.json")
    with pytest.raises(ServingError, match=r"a \.json or \.csv file; the file was traffic\.txt"):
        FEW.save(tmp_path / "traffic.txt")


def test_traffic_is_kept_and_drawn(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("JUPYTER_DATA_DIR", str(tmp_path))
    kept = keep_result("traffic", "shop", FEW, str(FEW))
    assert kept.number is not None
    assert wb.load_experiment(kept.number) == FEW
    from workbench.experiments.face import face

    found = face(kept.number)
    assert (found["kind"], found["sentences"]) == ("traffic", [f"{FEW}."])
    assert found["picture"]
    assert FEW.plot()._repr_png_().startswith(b"\x89PNG")
    assert [step_seconds(s) for s in (0.5, 10, 60, 3600, 86400)] == [0.01, 0.2, 1.0, 10.0, 200.0]
