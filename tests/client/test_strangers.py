"""Models as people have them, asked with what people have, through a live server."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import ml_dtypes
import numpy as np
import pandas as pd
import pytest

import workbench as wb
from tests.client.test_server import add_model, refused
from tests.client.trainer import Trainer

Ask = Callable[..., Any]


@pytest.fixture(scope="module")
def ask(
    live: wb.Server, trainer: Trainer, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Ask]:
    """Asks a model of that kind, built and served at its first use."""
    served: dict[str, str] = {}

    def ask(kind: str, x: Any, **asked: Any) -> Any:
        if kind not in served:
            name = served[kind] = f"stranger-{len(served)}"
            base = tmp_path_factory.mktemp(name)
            trainer.put_new(kind, str(base), 1)
            live.control.put_model(name, {"base_path": str(base)})
            live.control.poll(name, [1])
            wb.Server(live.name, name).wait_for(1)
        answer = live.predict(x, model=served[kind], **asked)
        return {n: a.tolist() for n, a in answer.items()} if isinstance(answer, dict) else answer

    yield ask
    for name in served.values():
        live.control.delete_model(name)


@pytest.mark.parametrize(
    "x",
    [
        pd.DataFrame({"a": [1, 2], "b": [10, 20]}),
        pd.DataFrame({"id": ["u", "v"], "b": [10, 20], "a": [1.0, 2.0]}),
        pd.DataFrame({"a": [1, 2], "b": [10, 20]}, dtype="Int64"),
        [{"a": 1, "b": 10}, {"a": 2, "b": 20}],
        {"a": [1, 2], "b": [10, 20]},
        {"a": [[1], [2]], "b": np.array([[10], [20]])},
        {"a": pd.Series([1, 2]), "b": pd.Series([10, 20])},
    ],
)
def test_two_inputs_of_one_column_each(ask: Ask, x: Any) -> None:
    assert ask("columns", x).tolist() == [[11.0], [22.0]]


def test_an_image_without_its_batch_dimension_is_not_sent(ask: Ask, live: wb.Server) -> None:
    images = np.ones((3, 2, 2, 1), np.float32)
    assert ask("images", images).tolist() == [[4.0]] * 3
    before = live.events()["seq"].max()
    for x, cure in (
        (images[0], "the batch dimension is missing, add it with x[np.newaxis]"),
        (images[..., 0], "the last dimension is missing, add it with x[..., np.newaxis]"),
        (images[0, ..., 0], "the batch dimension and the last one are missing, add them with "
                            "x[np.newaxis, ..., np.newaxis]"),
        (np.ones((3, 4)), "the sizes are those of another shape, use x.reshape(-1, 2, 2, 1)"),
        (np.ones((1, 1, 2, 2)), "dimension 1 must be the last one, move it with np.moveaxis(x, 1, "
                                "-1)"),
    ):  # fmt: skip
        error = refused(lambda x=x: ask("images", x))  # type: ignore[misc]
        shown = f"({', '.join(map(str, x.shape))})"
        assert error.message == (
            f"Input 'image' (float[?, 2, 2, 1]) cannot have the shape {shown}: {cure}"
        )
    # Each of these would have ended the worker.
    assert "worker_died" not in set(live.events(since=int(before))["kind"])
    assert ask("images", images[:0]).shape == (0, 1)


def test_text(ask: Ask) -> None:
    wanted = [[2, 3], [3, 0]]
    for x in (["good bad", "bad"], [["good bad"], ["bad"]], pd.Series(["good bad", "bad"]),
              pd.DataFrame({"review": ["good bad", "bad"], "stars": [5, 1]})):  # fmt: skip
        assert ask("text", x).tolist() == wanted
    assert refused(lambda: ask("text", "good")).message == (
        "Input 'review' (string[?, 1]) cannot have the shape (): it is a single value, give it as "
        "[[x]]"
    )


def test_a_dictionary_in_and_out(ask: Ask) -> None:
    wanted = {"total": [[6.0]], "price": [[2.0]]}
    assert ask("shop", {"price": [[2]], "count": [[3]]}) == wanted
    assert ask("shop", [{"price": 2, "count": 3}]) == wanted
    assert ask("shop", [{"price": 2, "count": 3}], outputs="total").tolist() == [[6.0]]
    assert refused(lambda: ask("shop", {"price": [[2]]})).message == (
        "There is no value for input count: give a dictionary with one entry for each input"
    )


def test_inputs_that_keras_has_named(ask: Ask) -> None:
    assert ask("subclass", {"price": [[2]], "count": [[3]]}).tolist() == [[-1.0]]
    assert ask("unnamed pair", [[[1.0]], [[2.0]]]).tolist() == [[3.0]]
    assert ask("unnamed pair", {"input_0": [1.0], "input_1": [2.0]}).tolist() == [[3.0]]
    error = refused(lambda: ask("unnamed pair", [[[1.0]]]))
    assert error.message.startswith("This signature has 2 inputs (input_0, input_1): ")


def test_where_the_rank_is_not_known_every_shape_is_sent(ask: Ask) -> None:
    for x, rank in ((1.0, 0), ([1.0], 1), ([[[1.0]]], 3)):
        assert ask("stranger's module", x, outputs=["rank"]).tolist() == rank


def test_shapes_of_a_module(ask: Ask) -> None:
    kind = "stranger's module"
    assert ask(kind, 2, signature="scalar").tolist() == 4.0
    assert ask(kind, [["a"], ["bc"]], signature="two").tolist() == [[1], [2]]
    assert refused(lambda: ask(kind, [2], signature="scalar")).message == (
        "Input 'rate' (float[]) cannot have the shape (1,): it has one dimension too many, "
        "remove the outermost pair of brackets"
    )
    assert refused(lambda: ask(kind, [["a"]], signature="two")).message == (
        "Input 'words' (string[2, ?]) cannot have the shape (1, 1): dimension 0 is 1 and must be "
        "2, as the model was exported for that number of rows"
    )


@pytest.mark.parametrize(
    ("dtype", "x"),
    [
        ("bfloat16", [1.5, -2]),
        ("float8_e5m2", [0.5, -2]),
        ("float8_e4m3fn", np.array([0.5, -2], ml_dtypes.float8_e4m3fn)),
        ("int4", [-8, 7]),
        ("uint4", np.array([0, 15], ml_dtypes.uint4)),
        ("half", np.array([0.5, -2], ">f8")),
        ("complex64", [1 + 2j, 3]),
        ("bool", [True, False]),
        ("bool", np.array([1, 0], np.uint8)),
        ("uint64", [2**64 - 1, 0]),
        ("int64", np.arange(4)[::2]),
        ("string", ["a\0", ""]),
    ],
)
def test_every_dtype_there_and_back(server: wb.Server, models: Path, dtype: str, x: Any) -> None:
    identity = _identity(server, models)
    answer = identity.predict(x, signature=dtype)
    expected = [v.encode() for v in x] if dtype == "string" else list(x)
    assert isinstance(answer, np.ndarray)
    assert answer.tolist() == expected
    empty = identity.predict([], signature=dtype) if dtype != "int64" else answer[:0]
    assert empty.shape == (0,)  # type: ignore[union-attr]


def _identity(server: wb.Server, models: Path) -> wb.Server:
    return add_model(server, models, "identity")


class TestRagged:
    """Rows of unequal lengths and sparse tensors, of models that take or give them."""

    def test_in(self, server: wb.Server, models: Path) -> None:
        ragged = add_model(server, models, "ragged")
        assert ragged.predict([[1.0, 2], [], [3]]).tolist() == [3.0, 0.0, 3.0]  # type: ignore[union-attr]
        texts = add_model(server, models, "sentences")
        x = {"x": [[["a", "b"], ["c"]], [["d"]]], "weight": [1, 2]}
        assert texts.predict(x).tolist() == [3.0, 2.0]  # type: ignore[union-attr]
        sparse = add_model(server, models, "sparse")
        import scipy.sparse

        dense = np.array([[0, 5.0, 0], [6, 0, 0]])
        answer = sparse.predict(scipy.sparse.csr_array(dense))
        assert answer.tolist() == dense.tolist()  # type: ignore[union-attr]

    def test_out(self, server: wb.Server, models: Path) -> None:
        model = add_model(server, models, "composites")
        answer = model.predict([1.0, 0, 3])
        assert isinstance(answer, dict)
        assert answer["halves/row_splits_0"].tolist() == [0, 1, 3]
        assert answer["some/indices"].tolist() == [[0], [2]]
        assert model.predict([1.0, 0], outputs="twice").tolist() == [2.0, 0.0]  # type: ignore[union-attr]
        assert refused(lambda: model.predict([1.0], outputs=["some"])).message == (
            "Output 'some' is not one dense tensor: ask for its parts, some/dense_shape, "
            "some/indices, some/values"
        )
