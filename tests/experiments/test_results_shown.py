"""A result in a cell is a sentence, a figure and a table, once each, and never raw arrays."""

from __future__ import annotations

import re
from typing import Any

import numpy as np
import pytest
from IPython.lib.pretty import pretty

from workbench.experiments.load.generator import LoadResult
from workbench.experiments.simulator.calibration import Calibration
from workbench.experiments.simulator.service_time import ServiceTime


def calibration() -> Calibration:
    samples = {
        (flight, rows): np.full(20, 100 * rows + 10 * flight)
        for flight in (0, 1, 2)
        for rows in (1, 2, 4)
    }
    return Calibration(ServiceTime.from_samples(samples), "digits", 3, 2, 1)


def load(status: int = 200) -> LoadResult:
    due = np.linspace(0, 1, 200)
    return LoadResult(
        target="/v1/models/m:predict",
        schedule={"kind": "constant"},
        connections=4,
        started_at=0.0,
        sent_until_s=1.1,
        stopped=False,
        failures={},
        waited=0,
        busy_share=0.1,
        lag_p99_s=0.0,
        limited=False,
        intended=due,
        sent=due,
        done=due + 0.01,
        status=np.array([status] + [200] * 199, np.int32),
        size=np.zeros(200, np.int64),
        version=np.ones(200, np.int64),
    )


@pytest.mark.parametrize(
    ("result", "sentence"),
    [
        (calibration(),
         "Calibration of digits, version 3: with 2 in flight, a batch of 1 row runs 0.12 ms and "
         "one of 4 rows 0.42 ms (medians): 4 times the rows take 3.5 times as long."),
        (load(),
         "200 requests to /v1/models/m:predict in 1.1 s (open loop), 181.8 answered a second, none "
         "failed, p50 10 ms, p99 10 ms: not sure yet."),
    ],
)  # fmt: skip
def test_a_sentence_a_figure_and_a_table(result: Any, sentence: str) -> None:
    assert repr(result) == sentence
    shown = str(result).splitlines()
    assert shown[0] == sentence
    assert 2 < len(shown) < 20
    assert pretty(result) == str(result)
    page = result._repr_html_()
    assert page.count("<table") == page.count("<img") == 1
    assert page.count(f"<p>{sentence}</p>") == 1
    assert "array(" not in page + str(result)
    assert re.search(r"<details>.*</details>", page, re.S)
    assert result.plot()._repr_png_().startswith(b"\x89PNG")


def test_a_load_says_how_many_failed() -> None:
    assert "1 failed" in load(status=503).sentence
    (axes,) = load(status=503).plot().axes
    assert [text.get_text() for text in axes.get_legend().get_texts()] == ["answered", "failed"]
