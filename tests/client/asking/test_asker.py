"""Signatures change from version to version; a handle that has asked before notices in time."""

from __future__ import annotations

import itertools
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import workbench as wb
from tests.client.test_server import refused
from tests.client.trainer import Trainer
from workbench.client.asking.asker import Asker
from workbench.client.asking.data_client import SignatureChanged, Target
from workbench.client.publishing import saving
from workbench.core.signature import Signature, TensorInfo
from workbench.core.status import Code, ServingError, invalid_argument, unavailable

PLAIN = Target("m", None, None, "serving_default")


def takes(name: str, dtype: str = "float", *shape: int) -> Signature:
    return Signature({name: TensorInfo(dtype, shape or (-1,))}, {"y": TensorInfo("float", (-1,))})


class FakeServer:
    """Both planes of a server with one model; `versions` says what each of them takes."""

    name = "fake"

    def __init__(self, **versions: Signature) -> None:
        self.versions = {int(name[1:]): signature for name, signature in versions.items()}
        self.labels: dict[str, int] = {}
        self.described = 0
        self.asked: list[dict[str, Any]] = []
        self.before_answer: Callable[[], None] = lambda: None
        self.refuses: ServingError | None = None

    # The control plane.

    def entry(self) -> None:
        return None

    def describe_model(self, model: str) -> dict[str, Any]:
        assert model == "m"
        self.described += 1
        versions = [
            {"version": v, "state": "AVAILABLE", "error": None,
             "signatures": {"serving_default": s.to_json()}}
            for v, s in self.versions.items()
        ]  # fmt: skip
        return {
            "name": "m",
            "versions": versions,
            "waiting": {},
            "outages": [],
            "labels": self.labels,
        }

    # The data plane.

    def predict(
        self, entry: None, target: Target, inputs: dict[str, np.ndarray], outputs: Any, digest: str
    ) -> tuple[int, dict[str, np.ndarray]]:
        self.before_answer()
        version = target.version or self.labels.get(target.label or "") or max(self.versions)
        if version not in self.versions:
            raise ServingError(Code.NOT_FOUND, "no such version")
        signature = self.versions[version]
        if digest != signature.digest():
            raise SignatureChanged("another", signature)
        self.asked.append(inputs)
        if self.refuses is not None:
            raise self.refuses
        assert inputs.keys() == signature.inputs.keys()
        return {"y": np.float32(version)}


def asker(server: FakeServer) -> Asker:
    return Asker(server, server)  # type: ignore[arg-type]


def ask(client: Asker, x: Any = (1, 2), target: Target = PLAIN, outputs: Any = ()) -> float:
    return float(client.predict(target, x, outputs)["y"])


def test_the_signature_is_asked_for_once() -> None:
    server = FakeServer(v1=takes("a"))
    client = asker(server)
    assert [ask(client) for _ in range(3)] == [1.0, 1.0, 1.0]
    assert (server.described, len(server.asked)) == (1, 3)


@pytest.mark.parametrize(
    "second",
    [takes("b"), takes("a", "int32"), takes("a", "float", 2)],
    ids=["name", "dtype", "shape"],
)
def test_a_version_with_another_signature(second: Signature) -> None:
    server = FakeServer(v1=takes("a"))
    client = asker(server)
    ask(client)
    server.versions[2] = second
    assert ask(client) == 2.0
    (last,) = server.asked[-1].values()
    assert last.dtype.name == ("int32" if "int32" in str(second) else "float32")
    # The new one was in the refusal: nothing else was asked for it.
    assert (server.described, len(server.asked)) == (1, 2)
    # And back.
    del server.versions[2]
    assert ask(client) == 1.0


def test_a_version_whose_signature_does_not_take_it() -> None:
    server = FakeServer(v1=takes("a"))
    client = asker(server)
    ask(client)
    server.versions[2] = takes("a", "string")
    assert refused(lambda: ask(client)).message.startswith("Input 'a' must be strings")
    assert len(server.asked) == 1


def test_every_way_to_name_a_version() -> None:
    server = FakeServer(v1=takes("a"), v2=takes("b"))
    server.labels = {"stable": 1}
    client = asker(server)
    one, stable = PLAIN._replace(version=1), PLAIN._replace(label="stable")
    assert [ask(client, target=t) for t in (PLAIN, one, stable)] == [2.0, 1.0, 1.0]
    server.labels = {"stable": 2}
    assert ask(client, target=stable) == 2.0
    # A version's folder may be taken away and its number used again.
    server.versions[1] = takes("c")
    assert ask(client, target=one) == 1.0


def test_what_does_not_fit_what_was_known_may_fit_now() -> None:
    server = FakeServer(v1=takes("a", "float", -1, 2))
    client = asker(server)
    ask(client, [[1, 2]])
    server.versions[2] = takes("b", "float", -1, 3)
    assert ask(client, [[1, 2, 3]]) == 2.0
    assert ask(client, {"b": [[1, 2, 3]]}) == 2.0
    error = refused(lambda: ask(client, {"a": [[1, 2]]}))
    assert error == invalid_argument("There is no input 'a'; the inputs are b")
    assert refused(lambda: ask(client, [[1, 2, 3]], outputs=["z"])) == invalid_argument(
        "There is no output 'z'; the outputs are y"
    )


def test_a_request_is_made_again_only_where_nothing_ran() -> None:
    server = FakeServer(v1=takes("a"))
    client = asker(server)
    ask(client)
    for error in (invalid_argument("the model's own"), unavailable("busy")):
        server.refuses = error
        sent = len(server.asked)
        assert refused(lambda: ask(client)) == error
        assert len(server.asked) == sent + 1


def test_uneven_rows_are_named_where_the_model_refuses_them() -> None:
    inputs = {"a": TensorInfo("float", (-1, 2)), "b": TensorInfo("float", (-1,))}
    server = FakeServer(v1=Signature(inputs, {"y": TensorInfo("float", (-1,))}))
    client = asker(server)
    uneven = {"a": [[1, 2], [3, 4]], "b": [1]}
    assert ask(client, uneven) == 1.0
    server.refuses = invalid_argument("ConcatOp : Dimension 0 must be equal")
    assert refused(lambda: ask(client, uneven)) == invalid_argument(
        "The inputs do not have the same number of rows ('a' has 2, 'b' has 1): give the "
        "same number for each. The model says: ConcatOp : Dimension 0 must be equal"
    )
    assert refused(lambda: ask(client, {"a": [[1, 2]], "b": [1]})) == server.refuses


def test_a_signature_that_changes_all_the_time_is_not_followed_for_ever() -> None:
    server = FakeServer(v1=takes("a"))
    client = asker(server)
    ask(client)
    number = itertools.count()
    server.before_answer = lambda: server.versions.update({1: takes(f"b{next(number)}")})
    assert isinstance(refused(lambda: ask(client)), SignatureChanged)
    assert len(server.asked) == 1


def test_a_version_that_is_gone_is_told_with_those_that_there_are() -> None:
    server = FakeServer(v1=takes("a"), v2=takes("b"))
    client = asker(server)
    target = PLAIN._replace(version=1)
    ask(client, target=target)
    del server.versions[1]
    assert refused(lambda: ask(client, target=target)) == ServingError(
        Code.NOT_FOUND,
        "Servable not found for request: Specific(m, 1); the versions of m are: 2 AVAILABLE",
    )


# Against a live server, with Keras models that name nothing.


@pytest.fixture
def unnamed(live: wb.Server, trainer: Trainer, tmp_path: Path) -> Any:
    """A model of its own on the live server; call it to put the next version there."""
    name = f"unnamed-{tmp_path.name}"
    base = tmp_path / "base"
    server = wb.Server(live.name, name)

    def publish(kind: str = "unnamed") -> int:
        version = saving.next_version(base)
        trainer.put_exported(kind, str(base), version)
        if version == 1:
            server.control.put_model(name, {"base_path": str(base)})
        server.control.poll(name, [version])
        server.wait_for(version)
        return version

    publish.server = server  # type: ignore[attr-defined]
    publish()
    yield publish
    server.control.delete_model(name)


def names(server: wb.Server) -> list[str]:
    return list(server.signature().inputs)


X = np.array([[1.0, 2.0]], np.float32)


def test_the_next_versions_of_an_unnamed_model(live: wb.Server, unnamed: Any) -> None:
    server, other = unnamed.server, wb.Server(live.name, unnamed.server.model)
    seen = {tuple(names(server))}
    assert server.predict(X).tolist() == other.predict(X).tolist() == [[3.0]]
    for _ in range(2):
        unnamed()
        # The handle that has asked before, another notebook's, and one that asks by model name.
        assert server.predict(X).tolist() == [[3.0]]
        assert other.predict(X).tolist() == [[3.0]]
        assert live.predict(X, model=server.model).tolist() == [[3.0]]  # type: ignore[union-attr]
        seen.add(tuple(names(server)))
    assert len(seen) == 3
    server.rollback()
    assert server.predict(X).tolist() == other.predict(X).tolist() == [[3.0]]
    server.undo()
    assert server.predict(X).tolist() == other.predict(X).tolist() == [[3.0]]


def test_versions_and_labels_of_an_unnamed_model(unnamed: Any) -> None:
    server = unnamed.server
    server.version_policy = "all"
    unnamed()
    server.labels = {"stable": 1}
    for _ in range(2):
        for asked in ({}, {"version": 1}, {"version": 2}, {"label": "stable"}):
            assert server.predict(X, **asked).tolist() == [[3.0]]
        server.labels = {"stable": 2}


def test_threads_that_ask_while_versions_change(unnamed: Any) -> None:
    server = unnamed.server
    wrong: list[Any] = []
    stop = threading.Event()
    asked = [0] * 4

    def run(index: int) -> None:
        while not stop.is_set():
            try:
                answer = server.predict(X)
            except ServingError as error:
                wrong.append(error)
                continue
            asked[index] += 1
            if answer.tolist() != [[3.0]]:
                wrong.append(answer)

    threads = [threading.Thread(target=run, args=(i,)) for i in range(4)]
    for thread in threads:
        thread.start()
    try:
        unnamed()
        server.rollback()
        unnamed()
    finally:
        stop.set()
        for thread in threads:
            thread.join(30)
    assert wrong == []
    assert min(asked) > 0


@pytest.mark.parametrize(
    ("kind", "x", "answer", "names"),
    [
        ("unnamed", X, [[3.0]], ["input_0"]),
        ("unnamed pair", [[[1.0]], [[2.0]]], [[3.0]], ["input_0", "input_1"]),
        ("list subclass", [[[3.0]], [[2.0]]], [[1.0]], ["inputs_0", "inputs_1"]),
        ("keras 2 pair", [[[3.0]], [[2.0]]], [[1.0]], ["input_0", "input_1"]),
        ("text", ["bad"], [[3, 0]], ["review"]),
    ],
)
def test_the_order_that_a_newcomer_goes(
    live: wb.Server,
    trainer: Trainer,
    tmp_path: Path,
    kind: str,
    x: Any,
    answer: Any,
    names: list[str],
) -> None:
    """Serve, ask, train again, publish, ask, roll back, ask: with two handles."""
    base = tmp_path / "base"
    trainer.put_new(kind, str(base), 1)
    server = wb.Server(live.name, f"newcomer-{kind.replace(' ', '-')}")
    server.control.put_model(server.model, {"base_path": str(base)})
    server.control.poll(server.model, [1])
    server.wait_for(1)
    other = wb.Server(live.name, server.model)
    explorer = server.sweep_explorer(payload=x, rate=50.0, seconds=0.2)
    try:
        for change in (
            lambda: None,
            lambda: trainer.publish_new(live.name, server.model, kind),
            server.rollback,
            server.undo,
        ):
            change()
            for handle in (server, other):
                assert handle.predict(x).tolist() == answer  # type: ignore[union-attr]
                # A retrained model is asked in the same way as before.
                assert sorted(handle.signature().inputs) == names
            assert other.card().about["name"] == server.name
        found = server.sweep(rate=50, payload=x, seconds=0.2, progress=False, keep=False)
        assert found.version == 2
        assert sum(found.points[0].failures.values()) == 0
        measured = explorer.measure()
        assert sum(measured.failures.values()) == 0
        server.rollback()
        explorer.measure()
        assert "Measured with version 1:" in str(explorer)
    finally:
        live.control.delete_model(server.model)


def test_a_model_may_take_more_shapes_than_its_signature_says(server: wb.Server) -> None:
    """As many of TensorFlow Serving's own examples do."""
    matrix = np.ones((2, 2), np.float32)
    assert "cannot have the shape (2, 2)" in refused(lambda: server.predict(matrix)).message
    answer = server.predict(matrix, check_shapes=False)
    assert answer.tolist() == [[2.5, 2.5], [2.5, 2.5]]  # type: ignore[union-attr]


def test_a_version_of_another_width_or_type(unnamed: Any) -> None:
    server = unnamed.server
    assert server.predict(X).tolist() == [[3.0]]
    unnamed("whole numbers")
    assert refused(lambda: server.predict(X)).message.endswith(
        "convert it with .astype('int32') if that is meant"
    )
    assert server.predict([[1, 2]]).tolist() == [[3]]
    unnamed("wider")
    assert server.predict([[1, 2, 3]]).tolist() == [[6.0]]
    error = refused(lambda: server.predict(X))
    assert error.message.endswith("cannot have the shape (1, 2): dimension 1 is 2 and must be 3")
