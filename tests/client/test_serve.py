"""`wb.serve`, `wb.connect`, `wb.servers`: real servers, from a model to an answer and to an end."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import IPython.lib.pretty
import pytest

import workbench as wb
from tests.client.trainer import Trainer
from workbench.client.outcomes import Launched, Published, Reused, TimedOut, outcome_of
from workbench.client.server import ServerClient
from workbench.core.status import Code, ServingError
from workbench.processes import registry
from workbench.processes.lifetime import ProcessId
from workbench.server.engine.versions.source import SETTLE_SECONDS

Put = Callable[[Path, int, str], Path]


def refused(call: Callable[[], Any]) -> ServingError:
    with pytest.raises(ServingError) as caught:
        call()
    return caught.value


def left(runtime: Path, name: str) -> list[str]:
    return [entry for entry in os.listdir(runtime) if entry.startswith(f"workbench-{name}")]


# A SavedModel.


def test_a_saved_model_is_served(live: wb.Server, models: Path) -> None:
    entry = live.control.entry()
    assert entry.owner == ProcessId.me()
    assert live.outcome == Launched("half", live.url)
    assert [(v.version, v.state) for v in live.versions] == [(1, "AVAILABLE")]
    # A copy: what lies at that path may change, and the version must not.
    assert not (live.base_path / "1").is_symlink()
    assert live.base_path.is_relative_to(live.control.entry().folder)


def test_the_same_again_is_reused(live: wb.Server, models: Path) -> None:
    again = wb.serve(str(models / "half_plus_two"), "half")
    assert again.outcome == Reused("half", live.url)
    assert str(again.outcome) == (
        f"Reusing half at {live.url}: it runs already and the model is the same"
    )
    assert again.versions.available == [1]
    assert repr(again) == (
        f"<Server half at {live.address}: half 1 AVAILABLE; reused, the model is the same>"
    )
    assert f"<div class='wb-outcome'>{again.outcome}</div>" in again._repr_html_()
    assert str(again.outcome) in pretty(again)


def test_a_path_whose_files_have_changed_is_the_next_version(
    runtime: Path, models: Path, tmp_path: Path
) -> None:
    path = shutil.copytree(models / "half_plus_two", tmp_path / "export")
    with wb.serve(path, "exported") as server:
        # Exported again, to the same folder.
        shutil.rmtree(path)
        shutil.copytree(models / "half_plus_three", path)
        worker = int(server.memory().query("role == 'worker'")["pid"].iloc[0])
        os.kill(worker, signal.SIGKILL)
        # The worker that takes its place loads what version 1 was, and is.
        assert server.predict([1.0], version=1).tolist() == [2.5]  # type: ignore[union-attr]
        again = wb.serve(path, "exported")
        assert isinstance(again.outcome, Published)
        assert again.outcome.version == 2
        assert again.predict([1.0]).tolist() == [3.5]  # type: ignore[union-attr]


def test_the_same_model_is_the_one_that_answers(models: Path) -> None:
    """Not the one that was served last: versions come and go in other ways."""
    one, other = models / "half_plus_two", models / "half_plus_three"
    with wb.serve(one, "ab") as server:
        assert server.publish(other) == 2
        assert wb.serve(other, "ab").outcome == Reused("ab", server.url)
        again = wb.serve(one, "ab")
        assert isinstance(again.outcome, Published)
        assert again.outcome.version == 3
        assert again.rollback() == 2
        assert again.outcome is None
        assert wb.serve(other, "ab").outcome == Reused("ab", server.url)
        assert again.undo() == 3
        assert wb.serve(one, "ab").outcome == Reused("ab", server.url)
        # One that is on its way is waited for.
        assert server.publish(other, wait=False) == 4
        assert wb.serve(other, "ab").outcome == Reused("ab", server.url)
        assert server.versions.available == [4]
        # And one that somebody else has put there is looked at.
        shutil.copytree(one, tmp := server.base_path / "5.tmp")
        tmp.rename(server.base_path / "5")
        server.wait_for(5)
        assert wb.serve(one, "ab").outcome == Reused("ab", server.url)


def test_a_version_that_was_written_just_now_is_waited_for(
    models: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    one, other = models / "half_plus_two", models / "half_plus_three"
    with wb.serve(one, "late") as server:
        assert server.publish(other, wait=False) == 2
        # The server has not looked at its folder yet when it is asked for its versions.
        described = ServerClient.describe

        def describe(client: ServerClient) -> Any:
            about = described(client)
            return {**about, "versions": [v for v in about["versions"] if v["version"] == 1]}

        monkeypatch.setattr(ServerClient, "describe", describe)
        assert wb.serve(other, "late").outcome == Reused("late", server.url)
        monkeypatch.undo()
        assert server.versions.available == [2]


def test_settings_of_a_server_that_runs(models: Path) -> None:
    path = models / "half_plus_two"
    with wb.serve(path, "settings") as server:
        again = wb.serve(
            path,
            "settings",
            transition="unload_first",
            version_policy=2,
            batching={"max_batch_size": 8, "batch_timeout_micros": 100},
            labels={"stable": 1},
            num_batch_threads=3,
        )
        assert again.outcome == Reused(
            "settings",
            server.url,
            (
                "transition changed from smooth to unload_first",
                "version_policy changed from latest=1 to latest=2",
                "batching changed from automatic to max_batch_size=8, batch_timeout_micros=100, "
                "max_enqueued_batches=10, pad_variable_length_inputs=False, "
                "enable_large_batch_splitting=False",
                "num_batch_threads changed from 2 to 3",
                "labels changed from none to stable=1",
            ),
        )
        assert (server.transition, server.labels) == ("unload_first", {"stable": 1})
        assert server.version_policy == {"latest": 2}
        assert server.batching == wb.BatchingParameters(max_batch_size=8, batch_timeout_micros=100)
        assert server.status()["num_batch_threads"] == 3
        # What is not given stays, and what a running server cannot change is named.
        entry = server.control.entry()
        kept = wb.serve(
            path,
            "settings",
            host="127.0.0.2",
            port=entry.port + 1,
            token="secret",
            base_path="/elsewhere",
            detach=True,
            idle_seconds=5,
        )
        assert str(kept.outcome) == (
            f"Reusing settings at {server.url}: it runs already and the model is the same\n"
            f"a running server keeps its host (it is 127.0.0.1), its port (it is {entry.port}), "
            f"its token, its base_path (it is {server.base_path}), its detach, its idle_seconds: "
            "stop it first to change that"
        )
        assert server.transition == "unload_first"
        # The same as it is is nothing to speak of, and a label may name the new version.
        published = wb.serve(
            models / "half_plus_three",
            "settings",
            port=entry.port,
            token=entry.token,
            labels={"stable": 1, "new": 2},
        )
        assert isinstance(published.outcome, Published)
        assert published.outcome.settings == ("labels changed from stable=1 to stable=1, new=2",)
        assert published.predict([1.0], label="new").tolist() == [3.5]  # type: ignore[union-attr]
        assert refused(lambda: server.predict([1.0], model="setings")) == ServingError(
            Code.NOT_FOUND,
            "Could not find model setings; the models of this server are: settings",
        )


def test_what_takes_too_long(models: Path, runtime: Path, tmp_path: Path) -> None:
    shutil.copytree(models / "half_plus_two", tmp_path / "late" / "1")
    # Files at rest: what there is to wait for is the load, whenever the server first looks.
    time.sleep(SETTLE_SECONDS)
    error = refused(lambda: wb.serve(tmp_path / "late", "late", timeout=0.0))
    assert error == ServingError(
        Code.DEADLINE_EXCEEDED, "late is not served after 0 s: it is still loading"
    )
    assert isinstance(outcome_of("late", error), TimedOut)
    assert str(outcome_of("late", error)) == (
        "late is not served yet: late is not served after 0 s: it is still loading"
    )
    assert left(runtime, "late") == []


def test_it_needs_no_tensorflow(models: Path) -> None:
    """In a process of its own, as this one may have it from another test."""
    code = (
        "import sys, workbench as wb; path = sys.argv[1]\n"
        "with wb.serve(path, 'bare') as server:\n"
        "    server.predict([1.0]); server.publish(path); server.predict([1.0])\n"
        "    server.versions, server.memory(), repr(server), server._repr_html_()\n"
        "print([m for m in sys.modules if m.partition('.')[0] in ('tensorflow', 'keras')])"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, str(models / "half_plus_two")],
        capture_output=True,
        text=True,
        timeout=100,
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "[]\n", "")


def pretty(server: wb.Server) -> str:
    return str(IPython.lib.pretty.pretty(server))


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
            "(`workbench stop folder`, or wb.connect('folder').stop()), or choose another name",
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
        "a SavedModel or of a .keras file, or the path of a folder of numbered versions",
    )
    assert left(runtime, "thing") == []


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"name": "a b"},
         "Server name 'a b' cannot be used: it needs 1 to 64 letters, digits, '.', '_' or '-', and "
         "must begin with a letter or digit; 'a-b' can be used"),
        ({"port": 80000},
         "Setting 'port' must be a number from 1 to 65535, or 0 to let the system choose; was "
         "80000"),
        ({"port": "8501"},
         "Setting 'port' must be a number from 1 to 65535, or 0 to let the system choose; was "
         "'8501'"),
        ({"transition": "abrupt"},
         "Unknown transition 'abrupt': use one of availability_preserving, resource_preserving, "
         "resource_preserving+hold, smooth, staged, staged+hold, unload_first, unload_first+hold"),
        ({"version_policy": "newest"},
         "Version policy 'newest' is not understood: use 'latest', a number of versions, 'all', "
         "or a list of version numbers"),
        ({"batching": {"max_batch_size": 0}}, "max_batch_size must be positive; was 0"),
        ({"batching": 5},
         "Setting 'batching' must be an object of batching parameters, or None for automatic "
         "batching; was 5"),
        ({"num_batch_threads": 0},
         "Setting 'num_batch_threads' must be a whole number, at least 1, or None for as many as "
         "there are CPUs; was 0"),
        ({"num_batch_threads": True},
         "Setting 'num_batch_threads' must be a whole number, at least 1, or None for as many as "
         "there are CPUs; was True"),
        ({"device": "tpu"},
         "Setting 'device' must be 'auto', 'cpu', or a GPU like 'gpu:0'; was 'tpu'"),
        ({"labels": {1: 1}},
         "Setting 'labels' must be an object of labels with version numbers, from 0 to "
         "9223372036854775807; was {1: 1}"),
        ({"version_policy": [True]},
         "Version policy [True] is not understood: use 'latest', a number of versions, 'all', "
         "or a list of version numbers"),
        ({"per_version_slots": "no"},
         "Setting 'per_version_slots' must be true or false; was 'no'"),
        ({"detach": 1}, "Setting 'detach' must be true or false; was 1"),
        ({"idle_seconds": float("nan")},
         "Setting 'idle_seconds' must be a number of seconds, above 0, or None for no limit; was "
         "nan"),
        ({"timeout": "x"}, "Setting 'timeout' must be a number of seconds, at least 0; was 'x'"),
        ({"host": 1}, "Setting 'host' must be an address, or the name of one; was 1"),
        ({"token": b"s3cret"},
         "Setting 'token' must be visible ASCII characters, or None for no token; it is not "
         "shown"),
        (
            {"labels": ["stable"]},
            "Setting 'labels' must be an object of labels with version numbers, from 0 to "
            "9223372036854775807; was ['stable']",
        ),
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
        f"There is no {missing}: give the path of a SavedModel, of a .keras file, or of a folder "
        "of numbered versions",
    )
    (tmp_path / "one").mkdir()
    assert refused(lambda: wb.serve(tmp_path, "never")) == ServingError(
        Code.INVALID_ARGUMENT,
        f"{tmp_path} is neither a SavedModel (it has no saved_model.pb), nor a .keras file, nor a "
        "folder of numbered versions (it has no folder named '1')",
    )


def test_a_host_that_is_not_ours(models: Path, runtime: Path) -> None:
    assert refused(lambda: wb.serve(models / "text", "never", host="192.0.2.1")) == ServingError(
        Code.FAILED_PRECONDITION,
        "192.0.2.1 cannot be used: Cannot assign requested address. Choose another host.",
    )
    assert left(runtime, "never") == []
