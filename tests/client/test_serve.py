"""`wb.serve`, `wb.connect`, `wb.servers`: real servers, from a model to an answer and to an end."""

from __future__ import annotations

import os
import socket
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

import workbench as wb
from tests.client.trainer import Trainer
from workbench.client.outcomes import Launched, Reused
from workbench.core.status import Code, ServingError
from workbench.runtime import registry
from workbench.runtime.processes import ProcessId

Put = Callable[[Path, int, str], Path]


def refused(call: Callable[[], Any]) -> ServingError:
    with pytest.raises(ServingError) as caught:
        call()
    return caught.value


def left(runtime: Path, name: str) -> list[str]:
    return [entry for entry in os.listdir(runtime) if entry.startswith(f"workbench-{name}")]


# A SavedModel.


def test_a_saved_model_is_served_where_it_lies(live: wb.Server, models: Path) -> None:
    entry = live._control.entry()
    assert entry.owner == ProcessId.me()
    assert live.outcome == Launched("half", live.url)
    assert [(v.version, v.state) for v in live.versions] == [(1, "AVAILABLE")]
    # A link, not a copy.
    assert (live.base_path / "1").resolve() == models / "half_plus_two"


def test_the_same_again_is_reused(live: wb.Server, models: Path) -> None:
    again = wb.serve(str(models / "half_plus_two"), "half")
    assert again.outcome == Reused("half", live.url)
    assert str(again.outcome) == (
        f"Reusing half at {live.url}: it runs already and the model is the same"
    )
    assert again.versions.available == [1]


def test_connect_and_servers(live: wb.Server, monkeypatch: pytest.MonkeyPatch) -> None:
    assert wb.connect("half").url == live.url
    assert wb.connect().name == registry.entries()[-1].name
    assert "half" in [s.name for s in wb.servers()]
    assert refused(lambda: wb.connect("digits")).message.startswith(
        "No server named 'digits' is running (running: half"
    )
    assert refused(lambda: wb.connect("../half")).code is Code.INVALID_ARGUMENT


def test_without_any_server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("JUPYTER_RUNTIME_DIR", str(tmp_path))
    assert wb.servers() == []
    assert refused(wb.connect) == ServingError(
        Code.NOT_FOUND, "No server is running: start one with wb.serve()"
    )


def test_a_connection_to_a_server_of_other_models(live: wb.Server, server: wb.Server) -> None:
    """A server is found by its own name; the model is another's only where there is no such."""
    assert wb.connect("half").model == "half"
    assert repr(wb.Server("half", server.model)).count(server.model) == 1


# A model in memory.


@pytest.fixture(scope="module")
def keras(trainer: Trainer) -> Iterator[wb.Server]:
    trainer.serve("keras:2", "keras", transition="unload_first", labels={"first": 1})
    with wb.connect("keras") as server:
        yield server


def test_a_keras_model_is_served_and_published(keras: wb.Server, trainer: Trainer) -> None:
    assert keras.predict([[1.0, 2.0]]).tolist() == [[6.0]]  # type: ignore[union-attr]
    assert keras.predict([[1.0, 2.0]], label="first").tolist() == [[6.0]]  # type: ignore[union-attr]
    assert keras.transition == "unload_first"
    assert registry.find("keras").owner not in (None, ProcessId.me())
    assert trainer.serve("keras:2", "keras") == (
        f"Reusing keras at {keras.url}: it runs already and the model is the same"
    )
    told = trainer.serve("keras:3", "keras").splitlines()
    assert told[0] == f"Published version 2 of keras at {keras.url}"
    assert keras.predict([[1.0, 2.0]]).tolist() == [[9.0]]  # type: ignore[union-attr]
    assert keras.versions.available == [2]
    assert keras.rollback() == 1
    assert keras.predict([[1.0, 2.0]]).tolist() == [[6.0]]  # type: ignore[union-attr]
    assert keras.undo() == 2


def test_what_cannot_be_saved_is_no_new_version(keras: wb.Server, trainer: Trainer) -> None:
    before = keras.versions.available
    error = refused(lambda: trainer.serve("unbuilt", "keras"))
    assert error.message.startswith("Keras model 'unbuilt' has no input shape yet: ")
    assert keras.versions.available == before


# A folder of numbered versions, for as long as it is wanted.


def test_a_folder_of_versions_detached(
    runtime: Path, put: Put, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    base = tmp_path / "base"
    put(base, 3, "half_plus_two")
    put(base, 4, "half_plus_three")
    (base / "latest").symlink_to("4")
    with socket.create_server(("127.0.0.1", 0)) as sock:
        port = sock.getsockname()[1]
    monkeypatch.setenv("HOME", str(tmp_path))
    server = wb.serve(
        "~/base", "folder", version_policy=2, batching={"max_batch_size": 16}, port=port,
        token=None, detach=True, num_batch_threads=1,
    )  # fmt: skip
    with server:
        entry = registry.find("folder")
        assert (entry.owner, entry.port, entry.token) == (None, port, None)
        for version in (3, 4):
            server.wait_for(version)
        assert server.versions.available == [4, 3]
        assert server.predict([1.0]).tolist() == [3.5]  # type: ignore[union-attr]
        assert server.predict([1.0], version=3).tolist() == [2.5]  # type: ignore[union-attr]
        assert server.base_path == base
        assert server.batching is not None
        assert server.batching.max_batch_size == 16
        assert server.status()["num_batch_threads"] == 1
        assert server.status()["token_required"] is False
        # The same folder again is the same; another one is not for this server.
        assert wb.serve(base, "folder").outcome == Reused("folder", server.url)
        other = tmp_path / "other"
        put(other, 1, "half_plus_two")
        assert refused(lambda: wb.serve(other, "folder")) == ServingError(
            Code.ALREADY_EXISTS,
            f"A server named 'folder' is running already, for {base}: stop it first "
            "(wb.connect('folder').stop()), or choose another name",
        )
        # A SavedModel, even under ~, is the next version.
        (tmp_path / "next").symlink_to(base / "3")
        again = wb.serve("~/next", "folder")
        assert str(again.outcome).startswith(f"Published version 5 of folder at {server.url}")
        assert again.predict([1.0]).tolist() == [2.5]  # type: ignore[union-attr]
        # A port that is in use, here by that server.
        assert refused(lambda: wb.serve(base, "second", port=port)) == ServingError(
            Code.FAILED_PRECONDITION,
            f"Port {port} of 127.0.0.1 cannot be used: Address already in use. Choose another "
            "port, or 0 to let the system choose.",
        )
    assert not server.running
    assert repr(server) == "<Server folder: stopped>"
    assert left(runtime, "folder") == left(runtime, "second") == []
    # What was the user's own is there still.
    assert {"3", "4"} <= set(os.listdir(base))
    # A dead server says so, and can be stopped once more.
    for call in (lambda: server.predict([1.0]), lambda: server.versions, lambda: server.url):
        error = refused(call)
        assert error.code is Code.NOT_FOUND
        assert error.message.startswith("No server named 'folder' is running (running: ")
    server.stop()


def test_a_model_that_cannot_load_leaves_no_server(runtime: Path, models: Path) -> None:
    error = refused(lambda: wb.serve(models / "bad_graph", "bad"))
    assert error.code is Code.NOT_FOUND
    assert error.message.startswith(
        "Version 1 of bad did not load: Op type not registered 'NoSuchOperation' in "
    )
    assert left(runtime, "bad") == []


# What is refused before anything is started.


class NoLauncher:
    """A launcher that nobody may ask."""

    def launch(self, spec: Any) -> Any:
        raise AssertionError(f"a server was started: {spec}")


def test_what_cannot_be_saved_starts_no_server(runtime: Path) -> None:
    error = refused(lambda: wb.serve(object(), "thing", launcher=NoLauncher()))
    assert error == ServingError(
        Code.INVALID_ARGUMENT,
        "An object of type object cannot be served: give a Keras model, a tf.Module, the path of "
        "a SavedModel, or the path of a folder of numbered versions",
    )
    assert left(runtime, "thing") == []


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"name": "a b"},
         "Server name 'a b' cannot be used: it needs 1 to 64 letters, digits, '.', '_' or '-', and "
         "must begin with a letter or digit"),
        ({"port": 80000},
         "Port 80000 cannot be used: give a number from 1 to 65535, or 0 to let the system choose"),
        ({"port": "8501"},
         "Port '8501' cannot be used: give a number from 1 to 65535, or 0 to let the system "
         "choose"),
        ({"transition": "abrupt"},
         "Unknown transition 'abrupt': use one of availability_preserving, resource_preserving, "
         "resource_preserving+hold, smooth, staged, staged+hold, unload_first, unload_first+hold"),
        ({"version_policy": "newest"},
         "Version policy 'newest' is not understood: use 'latest', a number of versions, 'all', "
         "or a list of version numbers"),
        ({"batching": {"max_batch_size": 0}}, "max_batch_size must be positive; was 0"),
        ({"batching": 5},
         "Batching 5 is not understood: give BatchingParameters, a dictionary of them, or None for "
         "automatic batching"),
        ({"labels": ["stable"]}, "Labels must map names to version numbers; were ['stable']"),
    ],
)  # fmt: skip
def test_a_setting_that_cannot_be(
    models: Path, settings: dict[str, Any], message: str, runtime: Path
) -> None:
    call = {"name": "never", **settings}
    error = refused(lambda: wb.serve(models / "text", **call))
    assert error == ServingError(Code.INVALID_ARGUMENT, message)
    assert left(runtime, "never") == []


def test_paths_that_are_no_model(tmp_path: Path) -> None:
    missing = tmp_path / "missing"
    assert refused(lambda: wb.serve(missing, "never")) == ServingError(
        Code.INVALID_ARGUMENT,
        f"There is no {missing}: give the path of a SavedModel or of a folder of numbered versions",
    )
    (tmp_path / "one").mkdir()
    assert refused(lambda: wb.serve(tmp_path, "never")) == ServingError(
        Code.INVALID_ARGUMENT,
        f"{tmp_path} is neither a SavedModel (it has no saved_model.pb) nor a folder of numbered "
        "versions (it has no folder named '1')",
    )


def test_a_host_that_is_not_ours(models: Path, runtime: Path) -> None:
    assert refused(lambda: wb.serve(models / "text", "never", host="192.0.2.1")) == ServingError(
        Code.FAILED_PRECONDITION,
        "192.0.2.1 cannot be used: Cannot assign requested address. Choose another host.",
    )
    assert left(runtime, "never") == []
