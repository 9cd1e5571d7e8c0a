"""`Server` against a live one: its versions, its settings, what it knows, what it refuses."""

from __future__ import annotations

import http.client
import os
import shutil
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

import workbench as wb
from tests.models import BIG_WEIGHTS_BYTES
from workbench.client.control_client import ControlClient
from workbench.client.publishing import saving
from workbench.core.batching.parameters import BatchingParameters
from workbench.core.status import Code, ServingError

Put = Callable[[Path, int, str], Path]


def refused(call: Callable[[], Any]) -> ServingError:
    with pytest.raises(ServingError) as caught:
        call()
    return caught.value


def states(server: wb.Server) -> dict[int, str]:
    return {v.version: v.state for v in server.versions}


def add_model(server: wb.Server, models: Path, export: str) -> wb.Server:
    """Another model on the same live server: a test model, as it lies there."""
    base = server.base_path.parent / export
    base.mkdir()
    (base / "1").symlink_to(models / export)
    other = wb.Server(server.name, f"{server.model}-{export}")
    server.control.put_model(other.model, {"base_path": str(base)})
    server.control.poll(other.model, [1])
    other.wait_for(1)
    return other


# Asking.


@pytest.mark.parametrize(
    "x",
    [[1.0, 2], np.array([1, 2]), {"x": [1.0, 2.0]}, pd.Series([1.0, 2.0]),
     pd.DataFrame({"x": [1.0, 2.0]})],
    ids=lambda x: type(x).__name__,
)  # fmt: skip
def test_predict_takes_what_is_at_hand(live: wb.Server, x: Any) -> None:
    y = live.predict(x)
    assert isinstance(y, np.ndarray)
    assert (y.dtype, y.tolist()) == (np.float32, [2.5, 3.0])


def test_nan_and_nothing_are_values(live: wb.Server) -> None:
    assert np.isnan(live.predict([float("nan")])).all()
    assert live.predict([]).tolist() == []  # type: ignore[union-attr]


def test_several_inputs_and_outputs(server: wb.Server, models: Path) -> None:
    multi = add_model(server, models, "multi")
    x = {"a": [[1, 2]], "b": [3]}
    answer = multi.predict(x)
    assert isinstance(answer, dict)
    assert {name: a.tolist() for name, a in answer.items()} == {
        "sum": [[4.0, 5.0]],
        "product": [3.0],
    }
    assert multi.predict(x, outputs=["product"]).tolist() == [3.0]  # type: ignore[union-attr]
    # Other models of the same server are asked by name.
    assert server.predict(x, model=multi.model, outputs=["product"]).tolist() == [3.0]  # type: ignore[union-attr]


def test_text_and_signatures(server: wb.Server, models: Path) -> None:
    text = add_model(server, models, "text")
    answer = text.predict(["abc", b"\xff\0"])
    assert isinstance(answer, dict)
    assert answer["length"].tolist() == [3, 2]
    regression = {"inputs": [b""]}
    y = server.predict(regression, signature="regress_x_to_y")
    assert y.tolist() == [[2.0]]  # type: ignore[union-attr]


def test_by_version_and_label(server: wb.Server, put: Put) -> None:
    server.control.patch_model(server.model, version_policy="all")
    put(server.base_path, 2, "half_plus_three")
    server.control.poll(server.model, [2])
    server.wait_for(2)
    server.labels = {"stable": 1, "new": 2}
    assert server.labels == {"stable": 1, "new": 2}
    answers = [
        server.predict([1.0], **asked)
        for asked in ({}, {"version": 1}, {"version": 2}, {"label": "stable"}, {"label": "new"})
    ]
    assert [a.tolist() for a in answers] == [[3.5], [2.5], [3.5], [2.5], [3.5]]  # type: ignore[union-attr]
    # Labels move without a load.
    server.labels = {"stable": 2}
    assert server.predict([1.0], label="stable").tolist() == [3.5]  # type: ignore[union-attr]
    assert refused(lambda: server.predict([1.0], label="new")) == ServingError(
        Code.INVALID_ARGUMENT,
        f"Unrecognized servable version label: new; the labels of {server.model} are: stable (2)",
    )
    # What the client knew of a version is forgotten when it has gone.
    server.control.patch_model(server.model, version_policy="latest")
    server.wait_gone(1, 30)
    assert refused(lambda: server.predict([1.0], version=1)) == ServingError(
        Code.NOT_FOUND,
        f"Servable not found for request: Specific({server.model}, 1); the versions of "
        f"{server.model} are: 2 AVAILABLE, 1 END",
    )


@pytest.mark.parametrize(
    ("x", "asked", "code", "message"),
    [
        ([1.0], {"version": 7}, Code.NOT_FOUND,
         "Servable not found for request: Specific(half, 7); the versions of half are: "
         "1 AVAILABLE"),
        ([1.0], {"label": "x"}, Code.INVALID_ARGUMENT,
         "Unrecognized servable version label: x; the labels of half are: none"),
        ([1.0], {"signature": "x"}, Code.INVALID_ARGUMENT,
         'Serving signature name: "x" not found in signature def; there are: classify_x_to_y, '
         "regress_x_to_y, serving_default"),
        ([1.0], {"outputs": ["z"]}, Code.INVALID_ARGUMENT,
         "There is no output 'z'; the outputs are y"),
        ({"z": [1.0]}, {}, Code.INVALID_ARGUMENT, "There is no input 'z'; the inputs are x"),
        (["a"], {}, Code.INVALID_ARGUMENT,
         "Input 'x' must be numbers (float[?]), not text such as 'a': convert it to numbers first"),
        (None, {}, Code.INVALID_ARGUMENT,
         "Input 'x' (float[?]) has a missing value: fill or drop missing values first"),
        ([[1.0]], {}, Code.INVALID_ARGUMENT,
         "Input 'x' (float[?]) cannot have the shape (1, 1): it has one dimension too many, "
         "remove the outermost pair of brackets"),
        ({}, {}, Code.INVALID_ARGUMENT,
         "There is no value for input x: give a dictionary with one entry for each input"),
    ],
)  # fmt: skip
def test_a_wrong_question_names_what_is_wrong(
    live: wb.Server, x: Any, asked: dict[str, Any], code: Code, message: str
) -> None:
    assert refused(lambda: live.predict(x, **asked)) == ServingError(code, message)


def test_ragged_rows(live: wb.Server) -> None:
    error = refused(lambda: live.predict([[1.0], [2.0, 3.0]]))
    assert error.code is Code.INVALID_ARGUMENT
    assert error.message.startswith("Input 'x' (float[?]) has ragged rows")


def test_the_models_own_refusal_is_passed_on(server: wb.Server, models: Path) -> None:
    rows = add_model(server, models, "rows")
    assert refused(lambda: rows.predict([-1.0], signature="picky")) == ServingError(
        Code.INVALID_ARGUMENT,
        "assertion failed: [x has a negative]\n\t [[{{node Assert/Assert}}]]",
    )


def test_a_body_of_a_gigabyte_is_refused_unread(live: wb.Server) -> None:
    """Only its length is told; nothing of it is sent, so the answer cannot have waited for it."""
    entry = live.control.entry()
    connection = http.client.HTTPConnection(entry.host, entry.port, timeout=20)
    connection.putrequest("POST", "/v1/models/half:predict")
    connection.putheader("Authorization", f"Bearer {live.token}")
    connection.putheader("Content-Length", str(2**30))
    connection.endheaders()
    response = connection.getresponse()
    assert response.status == 413
    assert b"The request's body is larger than 268435456 bytes." in response.read()
    connection.close()
    assert live.predict([1.0]).tolist() == [2.5]  # type: ignore[union-attr]


# Publishing, rolling back.


def test_publish_and_roll_back_and_undo(server: wb.Server, models: Path) -> None:
    assert server.predict([1.0]).tolist() == [2.5]  # type: ignore[union-attr]
    assert server.publish(models / "half_plus_three") == 2
    assert server.predict([1.0]).tolist() == [3.5]  # type: ignore[union-attr]
    assert server.rollback() == 1
    assert server.predict([1.0]).tolist() == [2.5]  # type: ignore[union-attr]
    assert sorted(os.listdir(server.base_path)) == [".rolled-back", "1"]
    assert server.undo() == 2
    assert server.predict([1.0]).tolist() == [3.5]  # type: ignore[union-attr]
    # The number of a version that was rolled back is not given to another.
    server.rollback()
    assert server.publish(models / "half_plus_three") == 3


def test_a_version_that_is_taken_away_is_not_waited_for(server: wb.Server, models: Path) -> None:
    """Somebody else rolls back what is just being published."""
    base = server.base_path
    # It is never complete, so it is waited for until it goes.
    (base / "2").mkdir()
    taker = threading.Timer(0.3, lambda: saving.roll_back(base, 2))
    taker.start()
    with pytest.raises(ServingError) as raised:
        server.wait_for(2)
    taker.join()
    assert raised.value == ServingError(
        Code.CANCELLED,
        f"Version 2 of {server.model} is not there any more: its folder was rolled back, or "
        f"removed from {base}, before it was available",
    )
    assert server.publish(models / "half_plus_three") == 3


def test_roll_back_to_an_earlier_version(server: wb.Server, models: Path) -> None:
    server.publish(models / "half_plus_three")
    server.publish(models / "half_plus_two")
    assert server.rollback(to=1) == 1
    assert server.versions.available == [1]
    assert sorted(os.listdir(server.base_path)) == [".rolled-back", "1"]
    # None of those between was loaded on the way.
    events = server.events()
    states = events[(events["kind"] == "state") & (events["model"] == server.model)]
    started = states[[data["state"] == "LOADING" for data in states["data"]]]
    assert started["version"].tolist() == [1, 2, 3, 1]
    assert (server.undo(), server.undo()) == (3, 2)
    with pytest.raises(ServingError) as latest:
        server.rollback(to=3)
    assert latest.value.message == f"Version 3 of {server.model} is the latest already"
    with pytest.raises(ServingError) as unknown:
        server.rollback(to=9)
    assert unknown.value.message == f"There is no version 9 in {server.base_path} to go back to"
    with pytest.raises(ServingError) as both:
        server.rollback(3, to=1)
    assert both.value.message == ("Name either the version to move aside or the one to go back to")


def test_roll_back_under_unload_first(server: wb.Server, models: Path) -> None:
    server.transition = "unload_first"
    server.publish(models / "half_plus_three")
    assert server.rollback() == 1
    assert server.predict([1.0]).tolist() == [2.5]  # type: ignore[union-attr]


def test_a_version_of_ones_own_number_without_waiting(server: wb.Server, models: Path) -> None:
    assert server.publish(models / "half_plus_three", version=20, wait=False) == 20
    server.wait_for(20)
    assert server.versions.available == [20]
    server.wait_for(20)


def test_a_model_from_memory(server: wb.Server, trainer: Any) -> None:
    assert trainer.publish(server.name, "module:3", allow_signature_change=True) >= 1
    live = wb.connect(server.name)
    assert live.predict([1.0]).tolist() == [3.0]  # type: ignore[union-attr]
    assert set(live.versions[live.versions.available[0]].signatures) >= {
        "serving_default", "halve",
    }  # fmt: skip
    assert live.predict([1.0], signature="halve").tolist() == [0.5]  # type: ignore[union-attr]
    live.rollback()
    shutil.rmtree(live.base_path / ".rolled-back")
    assert live.predict([1.0]).tolist() == [2.5]  # type: ignore[union-attr]


def test_there_must_be_something_to_go_back_to(server: wb.Server) -> None:
    base = server.base_path
    assert refused(server.rollback) == ServingError(
        Code.FAILED_PRECONDITION,
        f"{server.model} has no other version than 1 in {base}, so there is nothing to roll back "
        "to",
    )
    assert refused(server.undo) == ServingError(
        Code.INVALID_ARGUMENT, f"Nothing was rolled back in {base}, so there is nothing to undo"
    )
    assert states(server) == {1: "AVAILABLE"}


def test_what_cannot_be_published_changes_nothing(server: wb.Server, tmp_path: Path) -> None:
    base = server.base_path
    assert refused(lambda: server.publish(tmp_path)) == ServingError(
        Code.INVALID_ARGUMENT, f"{tmp_path} is not a SavedModel: it has no saved_model.pb"
    )
    assert refused(lambda: server.publish(5)).code is Code.INVALID_ARGUMENT
    assert refused(lambda: server.publish(base / "1", version=1)).code is Code.INVALID_ARGUMENT
    assert os.listdir(base) == ["1"]
    assert states(server) == {1: "AVAILABLE"}


# What is wrong in a model's folder.


def test_a_version_that_cannot_load_is_told_and_the_one_before_serves(
    server: wb.Server, models: Path
) -> None:
    error = refused(lambda: server.publish(models / "bad_graph"))
    assert error.code is Code.NOT_FOUND
    assert error.message.startswith(
        f"Version 2 of {server.model} did not load: Op type not registered 'NoSuchOperation' in "
    )
    assert server.predict([1.0]).tolist() == [2.5]  # type: ignore[union-attr]
    assert states(server) == {2: "END", 1: "AVAILABLE"}
    reason = server.versions[2].error
    assert reason is not None
    assert reason.startswith("NOT_FOUND: Op type not registered 'NoSuchOperation' in ")
    assert repr(server.versions).splitlines()[0].startswith("version 2: END  NOT_FOUND: Op type ")


def test_corrupt_weights_are_told(server: wb.Server, models: Path) -> None:
    error = refused(lambda: server.publish(models / "corrupt"))
    assert error.message.startswith(f"Version 2 of {server.model} did not load: ")
    assert server.predict([1.0]).tolist() == [2.5]  # type: ignore[union-attr]


def test_a_half_copied_version_is_waited_for(server: wb.Server, models: Path) -> None:
    """Copied in place, piece by piece, as `cp -r` does."""
    base = server.base_path
    source = models / "half_plus_three"
    (base / "2" / "variables").mkdir(parents=True)
    told = []
    for name in (
        "",
        "saved_model.pb",
        "variables/variables.index",
        "variables/variables.data-00000-of-00001",
    ):
        if name:
            shutil.copy(source / name, base / "2" / name)
        server.control.poll(server.model)
        _until(lambda: server.versions.waiting.get(2) not in told)
        told.append(server.versions.waiting.get(2))
        if name != "variables/variables.data-00000-of-00001":
            assert states(server) == {1: "AVAILABLE"}
    assert told[:3] == [
        "saved_model.pb is missing",
        "variables/variables.index is missing",
        "variables/variables.data-00000-of-00001 is missing",
    ]
    server.wait_for(2)
    assert server.predict([1.0]).tolist() == [3.5]  # type: ignore[union-attr]
    assert server.versions.waiting == {}


def _until(holds: Callable[[], bool]) -> None:
    import time

    end = time.monotonic() + 30
    while not holds():
        assert time.monotonic() < end
        time.sleep(0.02)


def test_waiting_for_a_version_has_an_end_and_says_why(server: wb.Server) -> None:
    (server.base_path / "2").mkdir()
    server.control.poll(server.model)
    _until(lambda: 2 in server.versions.waiting)
    assert refused(lambda: server.wait_for(2, timeout=0.05)) == ServingError(
        Code.DEADLINE_EXCEEDED,
        f"Version 2 of {server.model} is not available after 0 s: the folder is empty",
    )
    assert refused(lambda: server.wait_for(9, timeout=0.05)) == ServingError(
        Code.DEADLINE_EXCEEDED,
        f"Version 9 of {server.model} is not available after 0 s: it is still loading",
    )


def test_folders_whose_names_are_no_numbers_are_no_versions(server: wb.Server, put: Put) -> None:
    base = server.base_path
    put(base, 2, "half_plus_three").rename(base / "two")
    server.control.poll(server.model)
    assert states(server) == {1: "AVAILABLE"}
    shutil.rmtree(base / "two")
    # And where there is none at all, that is said, with the cure.
    empty = base.parent / "empty"
    (empty / "latest").mkdir(parents=True)
    other = wb.Server(server.name, f"{server.model}-empty")
    server.control.put_model(other.model, {"base_path": str(empty)})
    _until(lambda: bool(other.describe()["warnings"]))
    assert other.describe()["warnings"] == [
        f"No versions of servable {other.model} found under base path {empty}. Did you forget to "
        "name your leaf directory as a number (eg. '/1/')?"
    ]
    server.control.delete_model(other.model)


# Settings.


def test_the_transition_can_be_changed(server: wb.Server) -> None:
    assert server.transition == "smooth"
    server.transition = "unload_first"
    assert server.transition == "unload_first"
    server.transition = "availability_preserving"
    assert server.transition == "smooth"
    error = refused(lambda: setattr(server, "transition", "abrupt"))
    assert error == ServingError(
        Code.INVALID_ARGUMENT,
        "Unknown transition 'abrupt': use one of availability_preserving, resource_preserving, "
        "resource_preserving+hold, smooth, staged, staged+hold, unload_first, unload_first+hold",
    )


def test_batching_can_be_changed(server: wb.Server) -> None:
    assert server.batching is None
    server.batching = {"max_batch_size": 8, "batch_timeout_micros": 10}
    assert server.batching == BatchingParameters(max_batch_size=8, batch_timeout_micros=10)
    assert server.predict([1.0]).tolist() == [2.5]  # type: ignore[union-attr]
    before = server.status()["num_batch_threads"]
    server.batching = BatchingParameters(num_batch_threads=before + 1)
    assert server.status()["num_batch_threads"] == before + 1
    server.batching = BatchingParameters(num_batch_threads=before)
    server.batching = None
    assert server.batching is None


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("batching", 5,
         "Setting 'batching' must be an object of batching parameters, or None for automatic "
         "batching; was 5"),
        ("batching", {"max_batch_size": 0}, "max_batch_size must be positive; was 0"),
        ("labels", ["stable"],
         "Setting 'labels' must be an object of labels with version numbers, from 0 to "
         "9223372036854775807; was ['stable']"),
        ("labels", {"stable": "1"},
         "Setting 'labels' must be an object of labels with version numbers, from 0 to "
         "9223372036854775807; was {'stable': '1'}"),
    ],
)  # fmt: skip
def test_a_setting_that_cannot_be(live: wb.Server, name: str, value: Any, message: str) -> None:
    error = refused(lambda: setattr(live, name, value))
    assert error == ServingError(Code.INVALID_ARGUMENT, message)


# What it knows.


def test_where_it_is(live: wb.Server) -> None:
    assert live.url == f"{live.address}/v1/models/half"
    assert live.running
    assert live.token
    assert live.token not in repr(live)
    status = live.status()
    assert (status["name"], status["token_required"]) == ("half", True)
    assert status["address"] == live.address.removeprefix("http://")
    assert "half" in [m["name"] for m in status["models"]]


def test_its_memory(live: wb.Server) -> None:
    frame = live.memory()
    assert list(frame.columns) == ["role", "model", "version", "pid", "pss", "uss", "measured"]
    worker = frame[(frame["role"] == "worker") & (frame["model"] == "half")]
    assert worker["version"].tolist() == [1]
    assert {"server", "supervisor", "zygote"} <= set(frame["role"])
    # Its weights are two numbers; what a worker has of its own is counted in megabytes.
    assert live.versions[1].memory_bytes is not None
    assert 2**20 < live.versions[1].memory_bytes < 200 * 2**20
    history = live.memory_history()
    assert list(history.columns)[:2] == ["monotonic", "wall"]
    assert set(frame["role"]) >= set(history["role"]) >= {"server"}
    assert live.memory_history(since=history["monotonic"].max() + 1e6).empty
    assert live.memory_history(points=1).groupby("pid").size().max() == 1


@pytest.mark.alone
def test_its_memory_by_kind(live: wb.Server) -> None:
    frame = live.memory(by="kind")
    assert list(frame.columns) == [
        "device", "owner", "model", "version", "pid", "kind", "bytes", "how",
    ]  # fmt: skip
    (machine,) = frame.attrs["machines"]
    assert frame["bytes"].sum() == machine["total"]
    worker = frame[(frame["model"] == "half") & (frame["version"] == 1)]
    assert worker["kind"].tolist() == [
        "shared regions", "shared runtime", "runtime", "weights", "activations",
    ]  # fmt: skip
    size = dict(zip(worker["kind"], worker["bytes"], strict=True))
    # TensorFlow itself is the most of it, and no activation.
    assert size["shared runtime"] > 2 * size["activations"]
    rest = frame[frame["owner"] == "machine"]
    assert rest["kind"].tolist() == ["unattributed", "reserved", "free"]
    assert set(frame["how"]) == {"measured", "estimated"}
    with pytest.raises(ServingError) as caught:
        live.memory(by="pod")
    assert caught.value.message == "Memory by 'pod' is not known: use 'process' or 'kind'"


def test_its_events(server: wb.Server) -> None:
    frame = server.events()
    mine = frame[frame["model"] == server.model]
    assert [d["state"] for d in mine[mine["kind"] == "state"]["data"]] == [
        "START", "LOADING", "AVAILABLE",
    ]  # fmt: skip
    assert frame["seq"].is_monotonic_increasing
    line = f"Successfully loaded servable version {{name: {server.model} version: 1}}"
    assert line in mine["line"].tolist()
    last = int(frame["seq"].max())
    assert server.events(last)["seq"].gt(last).all()


def test_its_representation(server: wb.Server) -> None:
    assert server.model in repr(server)
    assert server.address in repr(server)
    assert "1 AVAILABLE" in repr(server)


# The control client's own words.


def test_a_server_that_does_not_answer(live: wb.Server, monkeypatch: pytest.MonkeyPatch) -> None:
    client = ControlClient(live.name)
    entry = client.entry()
    monkeypatch.setattr(client, "entry", lambda: entry)
    monkeypatch.setattr(
        "workbench.client.control_client._UnixConnection.connect",
        lambda self: (_ for _ in ()).throw(ConnectionRefusedError(111, "Connection refused")),
    )
    assert refused(lambda: client.describe_server()) == ServingError(
        Code.UNAVAILABLE,
        f"Server 'half' (pid {entry.server.pid}) does not answer: [Errno 111] Connection refused. "
        "If it was killed, it is back within seconds.",
    )


def test_a_path_that_the_control_plane_does_not_have(live: wb.Server) -> None:
    assert refused(lambda: live.control._request("GET", "/x")) == ServingError(
        Code.NOT_FOUND, "The control plane has no /x"
    )


def test_whether_one_more_would_fit(live: wb.Server, models: Path, tmp_path: Path) -> None:
    found = live.will_it_fit(models / "big")
    assert found.fits
    assert list(found.transitions) == ["smooth", "staged", "unload_first"]
    assert found.steady["host"] > found.weights == BIG_WEIGHTS_BYTES
    assert refused(lambda: live.will_it_fit(tmp_path)).message == (
        f"There is no SavedModel in {tmp_path}: it has no saved_model.pb; give the folder that has "
        "one"
    )
    assert refused(lambda: live.will_it_fit(tmp_path / "none")).message == (
        f"There is no {tmp_path / 'none'}: give the path of a SavedModel"
    )


@pytest.mark.parametrize("damage", ["saved_model.pb", "variables/variables.index"])
def test_a_damaged_saved_model_does_not_fit(
    live: wb.Server, models: Path, tmp_path: Path, damage: str
) -> None:
    folder = tmp_path / "damaged"
    shutil.copytree(models / "big", folder)
    (folder / damage).write_bytes(b"version https://git-lfs.github.com/spec/v1\n")
    error = refused(lambda: live.will_it_fit(folder))
    assert error.code is Code.DATA_LOSS
    assert str(folder) in error.message
    assert error.message.endswith("copy this version here again, or export it again")


def test_its_budget(live: wb.Server, models: Path) -> None:
    before = live.budget["host"]["limit"]
    live.budget = "100 MB"
    try:
        assert live.budget["host"]["limit"] == 100 * 2**20
        assert not live.will_it_fit(models / "big")
    finally:
        live.budget = None
    assert live.budget["host"]["limit"] == before
