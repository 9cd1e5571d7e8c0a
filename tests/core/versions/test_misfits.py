"""How requests disagree with their signature, and which of them a version refuses."""

from __future__ import annotations

import pytest

from workbench.core.signature import Signature, TensorInfo
from workbench.core.versions.misfits import MOST_FORMS, MisfitTable, form_of, sentence

IMAGES = Signature({"image": TensorInfo("float", (-1, 28, 28, 1))}, {})
PAIR = Signature(
    {
        "a": TensorInfo("float", (-1, 2)),
        "b": TensorInfo("float", None),
        "c": TensorInfo("int32", ()),
    },
    {},
    originals={"a": "a (cm)"},
)  # fmt: skip


@pytest.mark.parametrize("shape", [(1, 28, 28, 1), (0, 28, 28, 1), (500, 28, 28, 1)])
def test_any_number_of_rows_fits(shape: tuple[int, ...]) -> None:
    assert form_of("s", IMAGES, {"image": shape}) is None


@pytest.mark.parametrize(
    ("one", "other", "text"),
    [
        # A forgotten batch dimension, and a forgotten channel.
        ((28, 28, 1), (1, 28, 28), "s(image: rank 3)"),
        ((1, 28, 28, 3), (64, 28, 28, 3), "s(image: [?, 28, 28, 3])"),
        ((), (), "s(image: rank 0)"),
    ],
)
def test_the_number_of_rows_makes_no_other_form(
    one: tuple[int, ...], other: tuple[int, ...], text: str
) -> None:
    form = form_of("s", IMAGES, {"image": one})
    assert form == form_of("s", IMAGES, {"image": other})
    assert str(form) == text
    assert form != form_of("another", IMAGES, {"image": one})


def test_unknown_ranks_and_unknown_inputs_fit() -> None:
    fitting = {"a": (3, 2), "b": (1, 2, 3), "c": (), "d": (7,)}
    assert form_of("s", PAIR, fitting) is None
    both = form_of("s", PAIR, {"a": (2,), "b": (), "c": (1,)})
    assert both is not None
    assert [name for name, _ in both.tensors] == ["a", "c"]


def test_the_sentence_is_that_of_the_client() -> None:
    assert sentence(IMAGES, {"image": (28, 28, 1)}) == (
        "Input 'image' (float[?, 28, 28, 1]) cannot have the shape (28, 28, 1): the batch "
        "dimension is missing, add it with x[np.newaxis]"
    )
    assert sentence(PAIR, {"c": (), "a": (2,)}) == (
        "Input 'a (cm)' (float[?, 2]) cannot have the shape (2,): the batch dimension is missing, "
        "add it with x['a (cm)'][np.newaxis]"
    )
    with pytest.raises(ValueError, match="fit"):
        sentence(PAIR, {"a": (1, 2)})


def test_after_a_few_forms_everything_that_disagrees_is_refused() -> None:
    forms = [form_of("s", IMAGES, {"image": (1,) * rank}) for rank in (0, 1, 2, 3, 5)]
    table = MisfitTable()
    assert not table
    for number, form in enumerate(forms[:MOST_FORMS], 1):
        assert form is not None
        assert not table.is_refused(form)
        table.refuse(form)
        assert table
        assert table.is_refused(form)
        assert table.full is (number == MOST_FORMS)
    last = forms[-1]
    assert last is not None
    assert table.is_refused(last)
