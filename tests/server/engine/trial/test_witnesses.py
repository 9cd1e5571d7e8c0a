"""Live requests as witnesses, the audit of merged ones, and what is kept for the next version."""

from __future__ import annotations

import numpy as np
import pytest

from workbench.core.batching.merging import Merging
from workbench.server.engine.trial.audit import Audit
from workbench.server.engine.trial.live_witness import Witness
from workbench.server.engine.trial.recent import Recent

UNDECIDED = Merging(None, "requests", batch_sizes=(1, 4))
SECOND = 1_000_000


def tensors(*values: float) -> dict[str, np.ndarray]:
    return {"x": np.array(values, np.float32)}


def answers(*values: float) -> dict[str, np.ndarray]:
    return {"y": np.array(values, np.float32)}


def heard(witness: Witness) -> dict[str, np.ndarray]:
    """Three requests and their answers, of which the second has two rows."""
    assert witness.hear(tensors(1), answers(2)) is None
    assert witness.hear(tensors(2, 3), answers(4, 6)) is None
    batch = witness.hear(tensors(4), answers(8))
    assert batch is not None
    return batch


def test_three_requests_make_a_batch_and_decide_by_its_answer() -> None:
    witness = Witness()
    assert heard(witness)["x"].tolist() == [1, 2, 3, 4]
    assert witness.hear(tensors(5), answers(10)) is None
    assert witness.judge(answers(2, 4, 6, 8), UNDECIDED) == Merging(
        True, "requests", batch_sizes=(1, 4)
    )


def test_another_answer_in_the_batch_decides_against_merging() -> None:
    witness = Witness()
    heard(witness)
    decided = witness.judge(answers(2, 4, 6, 7), UNDECIDED)
    assert (decided.merged, decided.by) == (False, "requests")


def test_a_batch_that_is_refused_is_tried_again_and_then_decides_against_merging() -> None:
    witness = Witness()
    for _ in range(2):
        heard(witness)
        assert witness.judge(None, UNDECIDED) is UNDECIDED
    heard(witness)
    assert witness.judge(None, UNDECIDED).merged is False


def test_requests_of_another_shape_begin_anew_and_large_ones_are_not_heard() -> None:
    witness = Witness()
    assert witness.hear(tensors(1), answers(2)) is None
    wide = {"x": np.ones((1, 3), np.float32)}
    assert witness.hear(wide, answers(3)) is None
    assert witness.hear(tensors(1), answers(2)) is None
    assert witness.hear(tensors(2), answers(4)) is None
    assert witness.hear(tensors(*range(17)), answers(*range(17))) is None
    assert witness.hear({"x": np.array(1.0)}, answers(3)) is None
    assert witness.hear(tensors(3), answers(6)) is not None


def test_the_audit_takes_a_request_now_and_then_and_knows_a_wrong_answer() -> None:
    audit = Audit()
    assert not audit.is_due(0), "the first answers of a version"
    assert audit.is_due(SECOND // 10)
    sample = audit.take(SECOND, tensors(1), answers(2))
    assert sample is not None
    assert not audit.is_due(2 * SECOND), "one is being asked"
    assert audit.judge(sample, answers(2))
    assert audit.checked == 1
    assert not audit.is_due(SECOND + SECOND // 10)
    assert audit.is_due(2 * SECOND)
    assert not audit.judge(sample, answers(3))


def test_the_audit_is_not_alarmed_by_one_tie_but_by_three() -> None:
    audit, other = Audit(), {"y": np.array([4])}
    sample = audit.take(0, tensors(1), {"y": np.array([3])})
    assert sample is not None
    assert [audit.judge(sample, other) for _ in range(3)] == [True, True, False]


def test_an_audit_that_could_not_be_made_says_nothing() -> None:
    audit = Audit()
    sample = audit.take(0, tensors(1), answers(2))
    assert sample is not None
    assert audit.judge(sample, None)
    assert audit.checked == 0
    assert audit.take(0, {"x": np.zeros(10**6)}, answers(2)) is None


@pytest.mark.parametrize("size", [1, 100_000])
def test_a_few_small_requests_are_kept_and_copied(size: int) -> None:
    recent, x = Recent(), np.zeros(size, np.float32)
    for number in range(6):
        assert recent.is_due(number * SECOND, "s")
        recent.keep(number * SECOND, number, "s", {"x": x}, answers(number))
        assert not recent.is_due(number * SECOND + 1, "s")
        # One that is asked all the time keeps no other from being heard.
        assert recent.is_due(number * SECOND + 1, "other")
    x[:] = 1
    kept = recent.of("s")
    assert [asked.version for asked in kept] == ([5, 4, 3, 2] if size == 1 else [])
    assert all(not asked.inputs["x"].any() for asked in kept)
    assert recent.of("other") == []
