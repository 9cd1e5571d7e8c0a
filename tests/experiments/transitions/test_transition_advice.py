"""What is advised on a change of version, from figures made by hand."""

from __future__ import annotations

import math

import pytest

from workbench.experiments.transitions.transition_advice import advise
from workbench.load.intervals import Interval


def figures(
    gap: float = 0.0,
    failed: float = 0.0,
    peak: float = 100.0,
    both: float = 0.0,
    held: float = 0.0,
    serves: float = 1.0,
) -> dict[str, Interval]:
    """Each known within 5 %; the wait of the held is the gap and 20 ms."""
    values = {
        "gap (ms)": gap,
        "failed requests": failed,
        "peak memory (MB)": peak,
        "both in memory (s)": both,
        "held requests": held,
        "longest wait of those held (ms)": gap + 20,
        "until the new version serves (s)": serves,
    }
    return {n: Interval(v * 0.95, v, v * 1.05, 0.9375) for n, v in values.items()}


SMOOTH = figures(peak=200, both=1.234)
PLAIN = figures(gap=500, failed=50)
HOLD = figures(gap=500, held=50)


def test_all_four() -> None:
    measured = {
        "smooth": SMOOTH,
        "unload_first": PLAIN,
        "unload_first+hold": HOLD,
        "staged": figures(gap=200, failed=20, peak=110),
    }
    assert advise(measured, 100.0) == (
        "Choose smooth if there is enough memory: no request failed, and it needs 100 MB more "
        "memory for 1.2 s. Under unload_first 50 requests failed while no version served for "
        "500 ms (at 100 requests/s), and both versions were never in memory together. Under "
        "unload_first+hold no request failed, and 50 waited up to 520 ms. Under staged 20 requests "
        "failed while no version served for 200 ms (at 100 requests/s), 60% shorter than under "
        "unload_first, with 10 MB more memory."
    )


@pytest.mark.parametrize(
    ("gap", "said"),
    [
        (
            490,
            "not measurably shorter than under unload_first (the gaps differ by 60 ms at most), "
            "with hardly more memory.",
        ),
        (600, "20% longer than under unload_first, with hardly more memory."),
    ],
)
def test_a_gap_that_is_not_shorter(gap: float, said: str) -> None:
    measured = {"smooth": SMOOTH, "unload_first": PLAIN, "staged": figures(gap=gap, failed=9)}
    assert advise(measured, 100.0).endswith(said)


def test_without_smooth_the_one_that_loses_nothing_is_chosen() -> None:
    assert advise({"unload_first": PLAIN, "unload_first+hold": HOLD}, 80.0) == (
        "Of these policies choose unload_first+hold: under unload_first+hold no request failed, "
        "and 50 waited up to 520 ms. Under unload_first 50 requests failed while no version served "
        "for 500 ms (at 80 requests/s), and both versions were never in memory together."
    )


def test_a_choice_between_gaps_that_are_not_certainly_different() -> None:
    near = {"unload_first": PLAIN, "staged": figures(gap=490, failed=49)}
    assert advise(near, 80.0).startswith(
        "Of these policies so far, and not with certainty, choose staged: under staged 49 "
    )
    far = {"unload_first": PLAIN, "staged": figures(gap=200, failed=20)}
    assert advise(far, 80.0).startswith("Of these policies choose staged: ")


def test_smooth_that_is_hardly_larger_and_smooth_that_loses() -> None:
    small = {"smooth": figures(peak=102), "unload_first": PLAIN}
    assert "no request failed, and it needs hardly more memory." in advise(small, 100.0)
    losing = {"smooth": figures(failed=2.0), "unload_first": PLAIN}
    assert advise(losing, 100.0) == (
        "Even under smooth up to 2 requests failed; look at the events of its runs before choosing."
    )


def test_one_policy_is_no_choice() -> None:
    assert advise({"smooth": SMOOTH}, 100.0) == (
        "Under smooth 0 requests failed, and one version always served. Measure another "
        "policy to get advice."
    )


def test_a_version_that_never_served() -> None:
    never = {"smooth": SMOOTH, "unload_first": figures(gap=math.inf, serves=math.inf)}
    assert advise(never, 100.0).startswith(
        "Under unload_first the new version never became available; look at the events of its "
        "runs. Under smooth 0"
    )
