"""The control plane over its unix socket, beside a real core."""

from __future__ import annotations

import asyncio
import json
import os
import socket
import stat
import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import tornado.httpclient
import tornado.netutil
import tornado.simple_httpclient
import tornado.websocket

from tests.server.conftest import Planes
from tests.servers import Server


def refusal(code: str, message: str) -> dict[str, str]:
    return {"code": code, "error": message}


@pytest.fixture
def base(server: Server, tmp_path: Path) -> Path:
    """A folder with version 1; the server has no model yet."""
    folder = tmp_path / "base"
    server.put(folder, 1, "half_plus_two")
    return folder


@pytest.fixture
def model(planes: Planes, base: Path) -> Path:
    """The same, served as `m`."""
    assert planes.control("PUT", "/models/m", {"base_path": str(base)}).status == 200
    publish(planes, base, 1, "")
    return base


def publish(planes: Planes, base: Path, version: int, export: str) -> None:
    """Put a version there (unless it is) and wait until it is available."""
    if export:
        planes.server.put(base, version, export)
    assert planes.control("POST", "/models/m/poll", {"complete": [version]}).status == 200
    answer = planes.control("GET", f"/models/m/wait?version={version}")
    assert (answer.status, answer.json["done"]) == (200, True)


# The socket.


def test_the_socket_is_its_users_alone(planes: Planes) -> None:
    mode = os.stat(planes.socket).st_mode
    assert stat.S_ISSOCK(mode)
    assert stat.S_IMODE(mode) == 0o600


# The server.


def test_the_server_tells_of_itself(planes: Planes, server: Server) -> None:
    core = server.core
    answer = planes.control("GET", "/server")
    assert (answer.status, answer.headers["Content-Type"]) == (200, "application/json")
    assert answer.json == {
        "name": "test",
        "started": core.started,
        "zygote_pid": core.zygote.pid,
        "budget": core.reservations.budget.to_json(),
        "num_batch_threads": 2,
        "outstanding": 0,
        "last_seq": core.events.last_seq,
        "models": [],
    }


def test_executor_slots_can_be_changed(planes: Planes, model: Path) -> None:
    before = planes.changes
    try:
        answer = planes.control("PATCH", "/server", {"num_batch_threads": 3})
        assert (answer.status, answer.json["num_batch_threads"]) == (200, 3)
        assert planes.server.core.scheduler.slots == 3
        assert planes.changes == before + 1
    finally:
        planes.control("PATCH", "/server", {"num_batch_threads": 2})


@pytest.mark.parametrize(("body", "was"), [({}, "None"), ({"num_batch_threads": 0}, "0"),
                                           ({"num_batch_threads": True}, "True"),
                                           ({"num_batch_threads": "4"}, "4")])  # fmt: skip
def test_executor_slots_that_are_none(planes: Planes, body: Any, was: str) -> None:
    answer = planes.control("PATCH", "/server", body)
    assert (answer.status, answer.json) == (
        400,
        refusal("INVALID_ARGUMENT", f"num_batch_threads must be positive; was {was}"),
    )


def test_shutdown_is_passed_on(planes: Planes) -> None:
    planes.shutdowns.clear()
    answer = planes.control("POST", "/shutdown")
    assert (answer.status, answer.json) == (200, {})
    planes.until(lambda: planes.shutdowns == ["asked to stop"], "the server is told to end")


# Models.


def test_a_model_comes_is_seen_and_goes(planes: Planes, model: Path) -> None:
    listed = planes.control("GET", "/models").json["models"]
    one = planes.control("GET", "/models/m").json
    assert listed == [one]
    (version,) = one.pop("versions")
    assert one == {
        **one,
        "name": "m",
        "base_path": str(model),
        "version_policy": {"latest": 1},
        "transition": "smooth",
        "batching": None,
        "labels": {},
        "tags": ["serve"],
        "waiting": {},
        "warnings": [],
        "held": 0,
        "outages": [],
    }
    served = planes.server.core.manager.models["m"].versions[1]
    assert served.worker is not None
    assert version == {
        **version,
        "version": 1,
        "state": "AVAILABLE",
        "harness": "ready",
        "aspired": True,
        "path": str(model / "1"),
        "error": None,
        "pid": served.worker.pid,
        "requests": {"pending": 0, "answered": 0, "failed": 0},
    }
    assert version["signatures"]["serving_default"] == {
        "inputs": {"x": {"dtype": "float", "shape": [-1], "name": "x:0"}},
        "outputs": {"y": {"dtype": "float", "shape": [-1], "name": "y:0"}},
        "method_name": "tensorflow/serving/predict",
        "defaults": [],
    }
    before = planes.changes
    answer = planes.control("DELETE", "/models/m")
    assert (answer.status, answer.json, planes.changes) == (200, {}, before + 1)
    planes.until(lambda: not planes.server.core.manager.models, "the model is gone")
    assert planes.control("GET", "/models").json == {"models": []}


def test_a_model_name_is_decoded(planes: Planes, base: Path) -> None:
    answer = planes.control("PUT", "/models/a%20b", {"base_path": str(base)})
    assert (answer.status, answer.json["name"]) == (200, "a b")
    assert planes.control("GET", "/models/a%20b").json["base_path"] == str(base)


def test_put_replaces_the_settings_and_keeps_what_is_loaded(planes: Planes, model: Path) -> None:
    pid = planes.control("GET", "/models/m").json["versions"][0]["pid"]
    settings = {"name": "m", "base_path": str(model), "transition": "unload_first"}
    answer = planes.control("PUT", "/models/m", settings)
    assert (answer.status, answer.json["transition"]) == (200, "unload_first")
    assert planes.control("GET", "/models/m").json["versions"][0]["pid"] == pid


def test_patch_changes_what_it_names(planes: Planes, model: Path) -> None:
    before = planes.changes
    changes = {
        "version_policy": "all",
        "transition": "resource_preserving",
        "batching": {"max_batch_size": 8, "batch_timeout_micros": 100},
        "labels": {"stable": 1},
    }
    answer = planes.control("PATCH", "/models/m", changes)
    assert answer.status == 200
    assert planes.changes == before + 1
    told = planes.control("GET", "/models/m").json
    assert told["version_policy"] == {"all": True}
    assert told["transition"] == "unload_first"
    assert told["labels"] == {"stable": 1}
    assert told["batching"] == {
        **told["batching"],
        "max_batch_size": 8,
        "batch_timeout_micros": 100,
        "max_enqueued_batches": 10,
    }
    assert told["base_path"] == str(model)
    answer = planes.control("PATCH", "/models/m", {"batching": None})
    assert (answer.json["batching"], answer.json["labels"]) == (None, {"stable": 1})


@pytest.mark.parametrize(
    ("method", "target"),
    [("GET", "/models/no"), ("PATCH", "/models/no"), ("DELETE", "/models/no"),
     ("POST", "/models/no/poll"), ("GET", "/models/no/wait")],
)  # fmt: skip
def test_a_model_that_is_not_there(planes: Planes, method: str, target: str) -> None:
    answer = planes.control(method, target)
    unknown = {**refusal("NOT_FOUND", "Could not find model no"), "reason": "model-unknown"}
    assert (answer.status, answer.json) == (404, unknown)


BATCHING = (
    "max_batch_size, batch_timeout_micros, max_enqueued_batches, num_batch_threads, "
    "allowed_batch_sizes, pad_variable_length_inputs, enable_large_batch_splitting, "
    "max_execution_batch_size"
)
TRANSITIONS = (
    "use one of availability_preserving, resource_preserving, resource_preserving+hold, smooth, "
    "staged, staged+hold, unload_first, unload_first+hold"
)
LABELS = (
    "Setting 'labels' must be an object of labels with version numbers, from 0 to "
    "9223372036854775807"
)
BAD_SETTINGS = [
    ({"transition": "abrupt"}, f"Unknown transition 'abrupt': {TRANSITIONS}"),
    ({"transition": ["smooth"]}, "Setting 'transition' must be a string; was ['smooth']"),
    ({"version_policy": "newest"},
     "Version policy 'newest' is not understood: use 'latest', a number of versions, 'all', or a "
     "list of version numbers"),
    ({"version_policy": 0}, "Version policy latest(0): at least 1 version must be aspired"),
    ({"batching": 5},
     "Setting 'batching' must be an object of batching parameters, or None for automatic batching; "
     "was 5"),
    ({"batching": {"size": 1}},
     f"Unknown batching parameter 'size'; the parameters are {BATCHING}"),
    ({"batching": {"max_batch_size": 0}}, "max_batch_size must be positive; was 0"),
    ({"batching": {"max_batch_size": "8"}},
     "Batching parameter 'max_batch_size' must be an integer; was '8'"),
    ({"labels": ["stable"]},
     f"{LABELS}; was ['stable']"),
    ({"labels": {"stable": "1"}},
     LABELS + "; was {'stable': '1'}"),
]  # fmt: skip


@pytest.mark.parametrize(("settings", "message"), BAD_SETTINGS)
def test_a_setting_that_is_wrong_is_named(
    planes: Planes, base: Path, settings: dict[str, Any], message: str
) -> None:
    before = planes.changes
    wrong = (400, refusal("INVALID_ARGUMENT", message))
    answer = planes.control("PUT", "/models/new", {"base_path": str(base), **settings})
    assert (answer.status, answer.json) == wrong
    answer = planes.control("PATCH", "/models/new", settings)
    assert (answer.status, answer.json) == wrong
    assert planes.changes == before
    assert planes.control("GET", "/models").json == {"models": []}


@pytest.mark.parametrize(
    ("name", "settings", "message"),
    [
        ("new", {}, "A model needs its base_path, a string"),
        ("new", {"base_path": 5}, "A model needs its base_path, a string"),
        ("new", {"base_path": "models/new"},
         "Expected model new to have an absolute path or URI; got base_path()=models/new"),
        ("new", {"base_path": "/m", "name": "old"}, "The body names model 'old', the URL 'new'"),
        ("new", {"base_path": "/m", "max_load_retries": "2"},
         "Setting 'max_load_retries' must be a whole number, at least 0; was '2'"),
        ("new", {"base_path": "/m", "load_retry_seconds": None},
         "Setting 'load_retry_seconds' must be a number of seconds, at least 0; was None"),
        ("new", {"base_path": "/m", "tags": "serve"},
         "Setting 'tags' must be a list of strings; was 'serve'"),
        ("new", {"base_path": "/m", "intra_op_threads": 1.5},
         "Setting 'intra_op_threads' must be a whole number, at least 1 and at most 2147483647, or "
         "None for the CPUs divided by the executor slots; was 1.5"),
        ("%20a", {"base_path": "/m"},
         "Setting 'name' must be text that does not begin with a blank and has no control "
         "characters; was ' a'"),
    ],
)  # fmt: skip
def test_a_model_that_cannot_be(
    planes: Planes, server: Server, name: str, settings: dict[str, Any], message: str
) -> None:
    answer = planes.control("PUT", f"/models/{name}", settings)
    assert (answer.status, answer.json) == (400, refusal("INVALID_ARGUMENT", message))
    assert planes.control("GET", "/models").json == {"models": []}


def test_a_setting_that_is_unknown_is_named_beside_the_known(
    planes: Planes, server: Server
) -> None:
    answer = planes.control("PUT", "/models/new", {"base_path": "/m", "colour": "red"})
    assert (answer.status, answer.json["code"]) == (400, "INVALID_ARGUMENT")
    message = answer.json["error"]
    assert message.startswith("Unknown model setting 'colour': known are ")
    assert {"base_path", "batching", "labels"} <= set(message.rpartition(" are ")[2].split(", "))
    answer = planes.control("PATCH", "/models/new", {"base_path": "/m"})
    assert answer.json == refusal(
        "INVALID_ARGUMENT",
        "Setting 'base_path' of a model that is served cannot be changed; these can: "
        "version_policy, transition, batching, labels, device, memory_limit_bytes, "
        "gpu_memory_limit_bytes, probe",
    )


@pytest.mark.parametrize(
    ("body", "message"),
    [(b"[1]", "The body must be a JSON object"), (b"5", "The body must be a JSON object"),
     (b"{", "The body is not JSON: ")],
)  # fmt: skip
def test_a_body_that_is_no_object(planes: Planes, body: bytes, message: str) -> None:
    for method, target in (("PUT", "/models/m"), ("PATCH", "/server"), ("POST", "/models/m/poll")):
        answer = planes.control(method, target, body)
        assert (answer.status, answer.json["code"]) == (400, "INVALID_ARGUMENT")
        assert answer.json["error"].startswith(message)


@pytest.mark.parametrize("complete", [5, ["1"], [True], {"1": 1}])
def test_a_poll_with_versions_that_are_none(planes: Planes, complete: Any) -> None:
    answer = planes.control("POST", "/models/m/poll", {"complete": complete})
    assert (answer.status, answer.json) == (
        400,
        refusal("INVALID_ARGUMENT", f"'complete' must be a list of versions; was {complete!r}"),
    )


# Paths and methods.


def test_a_path_that_is_unknown(planes: Planes) -> None:
    answer = planes.control("GET", "/modles")
    assert (answer.status, answer.json) == (
        404,
        refusal("NOT_FOUND", "The control plane has no /modles"),
    )


@pytest.mark.parametrize(
    ("method", "target"), [("DELETE", "/server"), ("POST", "/models"), ("GET", "/shutdown")]
)
def test_a_method_that_a_path_does_not_have(planes: Planes, method: str, target: str) -> None:
    answer = planes.control(method, target)
    assert (answer.status, answer.json) == (
        405,
        refusal("INVALID_ARGUMENT", f"{method} {target}: Method Not Allowed"),
    )


def test_a_failure_of_our_own_is_told_without_its_details(
    planes: Planes, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def fail() -> dict[str, Any]:
        raise RuntimeError("secret")

    monkeypatch.setattr(planes.control_plane, "describe", fail)
    answer = planes.control("GET", "/server")
    assert (answer.status, answer.json) == (
        500,
        refusal("INTERNAL", "Internal error; see the server's log"),
    )
    assert "RuntimeError: secret" in caplog.text
    caplog.clear()


@pytest.mark.parametrize(
    ("target", "name", "text"),
    [("/events?since=x", "since", "x"), ("/events?since=nan", "since", "nan"),
     ("/memory?since=inf", "since", "inf"),
     ("/models/m/wait?wait_seconds=", "wait_seconds", "")],
)  # fmt: skip
def test_a_number_that_is_none(planes: Planes, target: str, name: str, text: str) -> None:
    answer = planes.control("GET", target)
    assert (answer.status, answer.json) == (
        400,
        refusal("INVALID_ARGUMENT", f"Query argument {name!r} must be a number; was {text!r}"),
    )


@pytest.mark.parametrize("name", ["version", "gone"])
@pytest.mark.parametrize("text", ["one", "1e3", "1.0", str(2**63), "9" * 5000])
def test_what_is_no_version_cannot_be_waited_for(planes: Planes, name: str, text: str) -> None:
    answer = planes.control("GET", f"/models/m/wait?{name}={text}")
    assert (answer.status, answer.json) == (
        400,
        refusal(
            "INVALID_ARGUMENT",
            f"Query argument {name!r} must be a whole number, at most {2**63 - 1}; was {text!r}",
        ),
    )


def test_the_very_version_is_waited_for(planes: Planes, base: Path) -> None:
    last = 2**63 - 1
    planes.control("PUT", "/models/m", {"base_path": str(base)})
    publish(planes, base, last, "half_plus_two")
    told = planes.control("GET", f"/models/m/wait?version={last}&wait_seconds=60").json
    assert (told["done"], [v["version"] for v in told["versions"]]) == (True, [last])
    for asked, done in ((f"version={last - 1}", False), (f"gone={last - 1}", True)):
        told = planes.control("GET", f"/models/m/wait?{asked}&wait_seconds=0.1").json
        assert told["done"] is done
    told = planes.control("GET", f"/models/m/wait?gone={last}&wait_seconds=0.1").json
    assert told["done"] is False
    for complete in ([2**63], [-1], [True], [1.0]):
        answer = planes.control("POST", "/models/m/poll", {"complete": complete})
        assert answer.status == 400


# Waiting.


def test_waiting_until_anything_is_available(planes: Planes, model: Path) -> None:
    told = planes.control("GET", "/models/m/wait").json
    assert (told["done"], told["versions"][0]["state"]) == (True, "AVAILABLE")


def test_waiting_in_vain(planes: Planes, model: Path) -> None:
    told = planes.control("GET", "/models/m/wait?version=7&wait_seconds=0.05").json
    assert (told["done"], [v["version"] for v in told["versions"]]) == (False, [1])
    told = planes.control("GET", "/models/m/wait?gone=1&wait_seconds=0").json
    assert told["done"] is False


def test_waiting_ends_when_what_is_waited_for_happens(planes: Planes, model: Path) -> None:
    """Publish version 2, then see 1 go; both are waited for before they happen."""
    told: dict[str, Any] = {}

    def wait(what: str) -> None:
        told[what] = planes.control("GET", f"/models/m/wait?{what}").json

    waiting = [threading.Thread(target=wait, args=[w]) for w in ("version=2", "gone=1")]
    for thread in waiting:
        thread.start()
    publish(planes, model, 2, "half_plus_three")
    for thread in waiting:
        thread.join(60)
    assert told["version=2"]["done"] is True
    assert [v["version"] for v in told["version=2"]["versions"]] == [2, 1]
    states = {v["version"]: v["state"] for v in told["gone=1"]["versions"]}
    assert (told["gone=1"]["done"], states) == (True, {2: "AVAILABLE", 1: "END"})


def test_waiting_for_a_version_that_fails(planes: Planes, model: Path) -> None:
    publish(planes, model, 2, "bad_graph")
    told = planes.control("GET", "/models/m/wait?version=2").json
    failed, serving = told["versions"]
    assert failed["error"]["code"] == "NOT_FOUND"
    assert failed["error"]["message"].startswith("Op type not registered 'NoSuchOperation'")
    assert (failed["state"], serving["state"]) == ("END", "AVAILABLE")


def test_waiting_for_a_model_that_can_only_fail(
    planes: Planes, server: Server, tmp_path: Path
) -> None:
    base = tmp_path / "bad"
    planes.server.put(base, 1, "bad_graph")
    planes.control("PUT", "/models/m", {"base_path": str(base), "max_load_retries": 0})
    planes.control("POST", "/models/m/poll", {"complete": [1]})
    told = planes.control("GET", "/models/m/wait").json
    assert (told["done"], told["versions"][0]["error"]["code"]) == (True, "NOT_FOUND")


# Events.


def test_events_since_a_number(planes: Planes, model: Path) -> None:
    told = planes.control("GET", "/events").json
    log = planes.server.core.events
    assert (told["first_seq"], told["last_seq"]) == (1, log.last_seq)
    assert [e["seq"] for e in told["events"]] == list(range(1, told["last_seq"] + 1))
    since = next(e["seq"] for e in reversed(told["events"]) if e["kind"] == "model_added")
    later = planes.control("GET", f"/events?since={since}").json["events"]
    assert later == [e for e in told["events"] if e["seq"] > since]
    lines = [e["line"] for e in later if "line" in e]
    assert "Successfully loaded servable version {name: m version: 1}" in lines
    assert [e["data"]["state"] for e in later if e["kind"] == "state"] == [
        "START", "LOADING", "AVAILABLE",
    ]  # fmt: skip


class _UnixResolver(tornado.netutil.Resolver):
    """Every name is the control socket."""

    def initialize(self, path: str) -> None:
        self.path = path

    async def resolve(self, host: str, port: int, family: Any = 0) -> list[tuple[int, Any]]:
        return [(socket.AF_UNIX, self.path)]


class Stream:
    """A reader of the event stream, on an event loop of its own."""

    def __init__(self, path: str, query: str) -> None:
        self._loop = asyncio.new_event_loop()
        self._path, self._query = path, query

    def __enter__(self) -> Stream:
        self._connection = self._run(self._open())
        return self

    def __exit__(self, *_: object) -> None:
        self._run(self._close())
        self._loop.close()

    def _run(self, work: Any) -> Any:
        return self._loop.run_until_complete(asyncio.wait_for(work, 30))

    async def _open(self) -> tornado.websocket.WebSocketClientConnection:
        request = tornado.httpclient.HTTPRequest(f"ws://control/events/stream{self._query}")
        request = tornado.httpclient._RequestProxy(
            request, tornado.httpclient.HTTPRequest._DEFAULTS
        )
        connection = tornado.websocket.WebSocketClientConnection(
            request, resolver=_UnixResolver(path=self._path)
        )
        return await connection.connect_future

    def read(self) -> Any:
        """The next message; None where the stream is closed."""
        text = self._run(self._read())
        return None if text is None else json.loads(text)

    async def _close(self) -> None:
        ended = self._connection.close_code is not None
        self._connection.close()
        # The end, `None`, is read only once.
        while not ended:
            ended = await self._connection.read_message() is None

    async def _read(self) -> str | bytes | None:
        return await self._connection.read_message()

    @property
    def closed_with(self) -> tuple[int | None, str | None]:
        return self._connection.close_code, self._connection.close_reason


@contextmanager
def stream(planes: Planes, query: str = "") -> Iterator[Stream]:
    with Stream(planes.socket, query) as reader:
        yield reader


def add_event(planes: Planes, kind: str) -> None:
    async def add() -> None:
        planes.server.core.events.add(kind)

    planes.server.run(add())


def test_a_stream_tells_what_happens_from_now_on(planes: Planes, server: Server) -> None:
    last = server.core.events.last_seq
    with stream(planes) as reader:
        add_event(planes, "first")
        add_event(planes, "second")
        events: list[Any] = []
        while len(events) < 2:
            message = reader.read()
            assert message["missed"] == 0
            events += message["events"]
    assert [(e["seq"], e["kind"]) for e in events] == [(last + 1, "first"), (last + 2, "second")]


def test_a_stream_catches_up(planes: Planes, server: Server) -> None:
    last = server.core.events.last_seq
    add_event(planes, "missed by the reader")
    with stream(planes, f"?since={last}") as reader:
        message = reader.read()
    assert message["missed"] == 0
    assert [(e["seq"], e["kind"]) for e in message["events"]] == [
        (last + 1, "missed by the reader")
    ]


def test_a_stream_tells_how_much_is_not_kept_any_more(
    planes: Planes, server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("workbench.server.control.events_routes._STREAM_BACKLOG", 2)
    last = server.core.events.last_seq
    for _ in range(5):
        add_event(planes, "one of many")
    with stream(planes, f"?since={last}") as reader:
        message = reader.read()
    assert message["missed"] == 3
    assert [e["seq"] for e in message["events"]] == [last + 4, last + 5]


def test_a_stream_from_before_a_restart_begins_anew(planes: Planes, server: Server) -> None:
    add_event(planes, "any")
    with stream(planes, "?since=99999999999999999999999") as reader:
        message = reader.read()
    assert message["events"][0]["seq"] == server.core.events.first_seq
    assert message["missed"] == server.core.events.first_seq - 1


def test_a_stream_wants_a_number(planes: Planes) -> None:
    with stream(planes, "?since=-1") as reader:
        assert reader.read() is None
        assert reader.closed_with == (1008, "since must be a number")


# Memory.


def test_memory_of_all_processes(planes: Planes, model: Path) -> None:
    told = planes.control("GET", "/memory").json
    roles = {(s["role"], s["model"], s["version"]): s for s in told["samples"]}
    assert set(roles) == {("server", None, None), ("zygote", None, None), ("worker", "m", 1)}
    worker = roles["worker", "m", 1]
    assert worker["pid"] == planes.control("GET", "/models/m").json["versions"][0]["pid"]
    assert worker["measured"] is True
    assert 0 < worker["uss"] <= worker["pss"]
    assert worker["monotonic"] <= told["now"]


def test_memory_over_time(planes: Planes, model: Path) -> None:
    now = planes.control("GET", "/memory?since=0").json["now"]
    ledger = planes.server.core.ledger
    planes.until(lambda: bool(ledger.history(now)), "another sample is taken")
    samples = planes.control("GET", f"/memory?since={now}").json["samples"]
    assert samples
    assert all(s["monotonic"] > now for s in samples)


def test_memory_over_time_as_columns_and_thinned(planes: Planes, model: Path) -> None:
    ledger = planes.server.core.ledger
    planes.until(lambda: len(ledger.history()) > 20, "there are samples to thin")
    columns = planes.control("GET", "/memory?since=0&columns=1&points=2").json["columns"]
    rows = [dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True)]
    assert rows[0].keys() == ledger.history()[0].to_json().keys()
    assert max(Counter(row["pid"] for row in rows).values()) == 2
    refused = planes.control("GET", "/memory?since=0&points=1.5")
    assert (refused.status, refused.json["error"]) == (
        400,
        "Query argument 'points' must be a whole number; was 1.5",
    )


def test_the_ledger_adds_up(planes: Planes, model: Path) -> None:
    told = planes.control("GET", "/memory/ledger").json
    (machine,) = told["machines"]
    assert sum(cell["bytes"] for cell in told["cells"]) == machine["total"]
    assert {(c["owner"], c["model"], c["version"]) for c in told["cells"]} == {
        ("server", None, None),
        ("zygote", None, None),
        ("worker", "m", 1),
        ("machine", None, None),
    }
    assert [note.partition(":")[0] for note in told["notes"]] == ["host memory only"]


def test_the_budget_can_be_changed(planes: Planes, model: Path) -> None:
    before = planes.control("GET", "/server").json["budget"]["host"]
    assert 0 < before["reserved"] < before["limit"]
    changed = planes.control("PATCH", "/server", {"budget": {"host_memory_bytes": 2**30}})
    assert changed.json["budget"]["host"]["limit"] == 2**30
    refused = planes.control("PATCH", "/server", {"budget": {"host_memory_bytes": -1}})
    assert (refused.status, refused.json) == (
        400,
        refusal(
            "INVALID_ARGUMENT",
            "Memory limit 'host_memory_bytes' must be a whole number of bytes, at least 1, or None "
            "for 90% of the host's memory; was -1",
        ),
    )
    back = planes.control("PATCH", "/server", {"budget": {}})
    assert back.json["budget"]["host"]["limit"] == before["limit"]


def test_whether_one_more_would_fit(planes: Planes, model: Path) -> None:
    told = planes.control("POST", "/models/m/fit", {"path": str(model / "1")}).json
    assert [t["fits"] for t in told["transitions"].values()] == [True, True, True]
    for body, error in (
        ({"path": "1"}, "'path' must be the absolute path of a SavedModel; was '1'"),
        ({}, "'path' must be the absolute path of a SavedModel; was None"),
        (
            {"path": str(model)},
            f"There is no SavedModel in {model}: it has no saved_model.pb; give the folder that "
            "has one",
        ),
    ):
        answer = planes.control("POST", "/models/m/fit", body)
        assert (answer.status, answer.json) == (400, refusal("INVALID_ARGUMENT", error))
    assert planes.control("POST", "/models/x/fit", {}).status == 404


def test_device_and_limits_of_a_model(planes: Planes, base: Path) -> None:
    put = {"base_path": str(base), "device": "gpu:7", "memory_limit_bytes": 2**31}
    told = planes.control("PUT", "/models/m", put).json
    assert (told["device"], told["memory_limit_bytes"]) == ("gpu:7", 2**31)
    publish(planes, base, 1, "")
    (version,) = planes.control("GET", "/models/m").json["versions"]
    # There is no such GPU here, and that is told.
    assert version["memory"]["device"] == "host"
    assert version["memory"]["fallback"].startswith("gpu:7 cannot be used: ")
    assert version["memory"]["limit"]["bytes"] == 2**31
    kinds = [e.kind for e in planes.server.events()]
    assert kinds.count("device_fallback") == 1
    patched = planes.control("PATCH", "/models/m", {"device": "cpu", "memory_limit_bytes": None})
    assert (patched.json["device"], patched.json["memory_limit_bytes"]) == ("cpu", None)
    for body, error in (
        (
            {"device": "tpu"},
            "Setting 'device' must be 'auto', 'cpu', or a GPU like 'gpu:0'; was 'tpu'",
        ),
        ({"device": 1}, "Setting 'device' must be 'auto', 'cpu', or a GPU like 'gpu:0'; was 1"),
        (
            {"memory_limit_bytes": 0},
            "Setting 'memory_limit_bytes' must be a whole number of bytes, at least 1, or None for "
            "no limit; was 0",
        ),
    ):
        answer = planes.control("PATCH", "/models/m", body)
        assert (answer.status, answer.json) == (400, refusal("INVALID_ARGUMENT", error))
