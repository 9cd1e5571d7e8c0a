"""Under 32 callers no answer differs from the model's own answer to that request alone, and models
whose rows do not depend on one another are merged all the same."""

from __future__ import annotations

import re
import time
from pathlib import Path

import pytest

from tests.servers import Server
from tests.zoo.asking import (
    answers_alone,
    answers_of_callers,
    is_same,
    merging,
    most_merged,
    serve,
)
from tests.zoo.mixing import MIXING
from tests.zoo.mixing_hidden import MIXING_HIDDEN
from tests.zoo.rowwise import ROWWISE
from tests.zoo.rowwise_keras import ROWWISE_KERAS
from tests.zoo.specimens import Specimen

# The first test of a session waits for the export of the zoo.
pytestmark = pytest.mark.timeout(300)

# A model whose made-up inputs are refused is first asked alone, and is merged from then on.
_MERGED_WITHIN_SECONDS = 15.0
_WITNESSES = {"graph", "run", "requests", "audit", "settings", "state"}


def named(specimens: list[Specimen]) -> pytest.MarkDecorator:
    return pytest.mark.parametrize("specimen", specimens, ids=lambda specimen: specimen.name)


@named([*MIXING, *MIXING_HIDDEN])
def test_a_model_that_mixes_rows_answers_each_caller_as_if_alone(
    server: Server, tmp_path: Path, specimen: Specimen
) -> None:
    async def test() -> None:
        served, requests = await serve(server, specimen, tmp_path / "m")
        answers = await answers_of_callers(server, requests)
        if specimen.repeats:
            expected = await answers_alone(server, requests)
            wrong = sum(
                not is_same(answer, alone, specimen.tolerance)
                for answer, alone in zip(answers, expected, strict=True)
            )
            assert wrong == 0, f"{wrong} of {len(requests)} answers depend on other callers"
        else:
            # The next answer to the same request is another: only the batches can be looked at.
            assert most_merged(served) == 1, f"{most_merged(served)} requests were merged"
        told = merging(served)
        assert told["merged"] is False
        assert told["by"] in _WITNESSES
        assert specimen.mixes is not None
        assert re.search(specimen.mixes, f"{told['operation']} {told['reason']}"), told

    server.run(test())


@named([*ROWWISE, *ROWWISE_KERAS])
def test_a_model_of_independent_rows_is_merged_and_answers_alike(
    server: Server, tmp_path: Path, specimen: Specimen
) -> None:
    async def test() -> None:
        served, requests = await serve(server, specimen, tmp_path / "m")
        expected = await answers_alone(server, requests)
        end = time.monotonic() + _MERGED_WITHIN_SECONDS
        while most_merged(served) < 2:
            assert time.monotonic() < end, f"its requests are not merged: {merging(served)}"
            answers = await answers_of_callers(server, requests)
            for request, answer, alone in zip(requests, answers, expected, strict=True):
                assert is_same(answer, alone, specimen.tolerance), (request, answer, alone)
        told = merging(served)
        assert told["merged"] is True, told
        assert told["by"] in _WITNESSES

    server.run(test())


def test_every_model_of_the_zoo_is_asked_for_what_makes_it_special() -> None:
    """What the numbers of rows are for: most requests have one row, some have two or three."""
    for specimen in [*MIXING, *MIXING_HIDDEN, *ROWWISE, *ROWWISE_KERAS]:
        rows = [len(next(iter(request.values()))) for request in specimen.requests(32)]
        assert sorted(set(rows)) == [1, 2, 3]
        assert rows.count(1) == 28
        assert (specimen.mixes is None) == (specimen in ROWWISE or specimen in ROWWISE_KERAS)
    assert len([*MIXING, *MIXING_HIDDEN]) >= 24
    assert len([*ROWWISE, *ROWWISE_KERAS]) >= 24
