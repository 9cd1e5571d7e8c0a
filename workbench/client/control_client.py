"""The control plane of a running server: one method for each of its routes.

It speaks JSON over the server's unix socket (`server.control.control_plane` has the routes).
"""

from __future__ import annotations

import http.client
import socket
from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any, cast
from urllib.parse import quote, urlencode

import orjson

from workbench.client.control_answers import (
    EventLog,
    ModelDescription,
    RecordedTraffic,
    ServerDescription,
    TrafficProgress,
    WaitAnswer,
)
from workbench.core.status import ServingError, unavailable
from workbench.processes import registry

TIMEOUT_SECONDS = 30.0
_LOAD_ANSWER_SECONDS = 30.0
"""For writing down all requests of a load."""


class _UnixConnection(http.client.HTTPConnection):
    def __init__(self, path: str, timeout: float) -> None:
        super().__init__("localhost", timeout=timeout)
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(self.timeout)
        self.sock.connect(self._path)


class ControlClient:
    """Looks at one server and steers it. It finds the server by its name for each request, so it
    also reaches a server process that has been replaced. Threads may share it.

    Every method raises ServingError: the server's own refusal; NOT_FOUND if the server has ended;
    UNAVAILABLE if it does not answer.

    Args:
        timeout: seconds to wait for an answer.
    """

    _headers: Mapping[str, str] = MappingProxyType({})
    """Sent with each request."""

    def __init__(self, name: str, timeout: float = TIMEOUT_SECONDS) -> None:
        self.name = name
        self.timeout = timeout

    def entry(self) -> registry.Entry:
        """The server's entry in the registry: its addresses, token and processes.

        Raises:
            ServingError: NOT_FOUND, the server has ended.
        """
        return registry.find(self.name)

    # The server.

    def describe_server(self) -> ServerDescription:
        """The server's state, processes, budget and models."""
        return cast(ServerDescription, self._request("GET", "/server"))

    def set_slots(self, slots: int) -> None:
        """Set how many batches run at a time (`num_batch_threads`)."""
        self._request("PATCH", "/server", {"num_batch_threads": slots})

    def set_budget(self, limits: Mapping[str, Any]) -> None:
        """Set the memory that versions may use together, for example `host_memory_bytes`."""
        self._request("PATCH", "/server", {"budget": limits})

    def shut_down(self) -> None:
        """Have the server answer the requests in progress, then end."""
        self._request("POST", "/shutdown")

    def events(self, since: int = 0) -> EventLog:
        """The events after the sequence number `since`. Those in TensorFlow Serving's log have a
        `line`."""
        return cast(EventLog, self._request("GET", "/events", query={"since": since}))

    # Its memory.

    def memory(self) -> list[dict[str, Any]]:
        """Every process of the server, measured now: `role`, `model`, `version`, `pss`, `uss`."""
        return list(self._request("GET", "/memory")["samples"])

    def memory_history(self, since: float = 0.0, points: int | None = None) -> dict[str, list[Any]]:
        """Samples later than `since` (monotonic seconds), by column; about `points` a process."""
        asked = {"since": since, "columns": 1, "points": points}
        return dict(self._request("GET", "/memory", query=asked)["columns"])

    def ledger(self) -> dict[str, Any]:
        """The owner, kind and size of all memory of each device: `cells`, `machines`, `notes` and
        `budget`."""
        return dict(self._request("GET", "/memory/ledger"))

    # Its models.

    def describe_models(self) -> list[ModelDescription]:
        """All models with their versions."""
        return list(self._request("GET", "/models")["models"])

    def describe_model(self, model: str) -> ModelDescription:
        """One model with its versions."""
        return cast(ModelDescription, self._request("GET", _path(model)))

    def put_model(self, model: str, config: Mapping[str, Any]) -> None:
        """Add a model, or replace all its settings; `config` must have a `base_path`."""
        self._request("PUT", _path(model), config)

    def patch_model(self, model: str, **changes: Any) -> None:
        """Change some settings of a model."""
        self._request("PATCH", _path(model), changes)

    def delete_model(self, model: str) -> None:
        """Unload all versions of a model and remove it from the server."""
        self._request("DELETE", _path(model))

    def poll(self, model: str, complete: Sequence[int] = ()) -> None:
        """Look at the model's folder now. The versions in `complete` are known to be written."""
        self._request("POST", _path(model, "poll"), {"complete": list(complete)})

    def wait(
        self, model: str, seconds: float, *, version: int | None = None, gone: int | None = None
    ) -> WaitAnswer:
        """Wait up to `seconds` until `version` is available or has failed, or until `gone` is
        unloaded. Without both: until any version is available, or all have failed."""
        asked = {"wait_seconds": seconds, "version": version, "gone": gone}
        path = _path(model, "wait")
        return cast(WaitAnswer, self._request("GET", path, query=asked, extra_seconds=seconds))

    def pulse(
        self, model: str, marks: Mapping[str, float], target_micros: float = 0
    ) -> dict[str, Any]:
        """News of a model since `marks` (see `display.pulse`), for live views; with how many
        requests were answered within `target_micros`, if that is not 0."""
        asked = {**marks, "target": target_micros} if target_micros else marks
        return dict(self._request("GET", _path(model, "pulse"), query=asked))

    def fit(self, model: str, path: str) -> dict[str, Any]:
        """The memory that the SavedModel at an absolute path would take as the next version, and
        whether it fits under each transition. Nothing is loaded."""
        return dict(self._request("POST", _path(model, "fit"), {"path": path}))

    def run_load(self, model: str, load: Mapping[str, Any]) -> dict[str, Any]:
        """Load a model from inside the server for `load["seconds"]`; `server.control.engine_route`
        describes the load and the answer."""
        seconds = load["seconds"] + _LOAD_ANSWER_SECONDS
        path = _path(model, "engine-load")
        return dict(self._request("POST", path, load, extra_seconds=seconds))

    def record_warmup(self, model: str, requests: int, version: int | None = None) -> None:
        """Begin to record that many warm-up requests of a version (the highest)."""
        asked = {"requests": requests, "version": version}
        self._request("POST", _path(model, "warmup"), asked)

    def warmup(self, model: str) -> dict[str, Any]:
        """The progress of the recording that was started last."""
        return dict(self._request("GET", _path(model, "warmup")))

    def finish_warmup(self, model: str) -> dict[str, Any]:
        """Write the requests that have been recorded so far."""
        return dict(self._request("DELETE", _path(model, "warmup")))

    def record_traffic(self, model: str, seconds: float) -> TrafficProgress:
        """Begin to record when requests of a model arrive, and how large they are. The
        server drops the recording if nobody asks for its progress for 30 s."""
        answer = self._request("POST", _path(model, "traffic"), {"seconds": seconds})
        return cast(TrafficProgress, answer)

    def traffic(self, model: str, number: int) -> TrafficProgress:
        """The progress of a recording of traffic."""
        return cast(TrafficProgress, self._request("GET", _path(model, "traffic", str(number))))

    def finish_traffic(self, model: str, number: int) -> RecordedTraffic:
        """End a recording of traffic, and take what it has."""
        return cast(RecordedTraffic, self._request("DELETE", _path(model, "traffic", str(number))))

    def _request(
        self,
        method: str,
        path: str,
        body: Mapping[str, Any] | None = None,
        query: Mapping[str, Any] | None = None,
        extra_seconds: float = 0.0,
    ) -> Any:
        """The answer's JSON.

        Args:
            query: None stands for an argument that is left out.
            extra_seconds: the time that the server takes by design.
        """
        entry = self.entry()
        given = {name: value for name, value in (query or {}).items() if value is not None}
        url = f"{path}?{urlencode(given)}" if given else path
        connection = self._connection(entry, self.timeout + extra_seconds)
        try:
            data = None if body is None else orjson.dumps(body)
            connection.request(method, url, data, self._headers)
            response = connection.getresponse()
            data = orjson.loads(response.read() or b"{}")
        except (OSError, http.client.HTTPException, ValueError) as error:
            raise self._unreachable(entry, error) from error
        finally:
            connection.close()
        if response.status >= 400:
            raise ServingError.from_json(data)
        return data

    def _connection(self, entry: registry.Entry, timeout: float) -> http.client.HTTPConnection:
        """A new connection to the control plane."""
        return _UnixConnection(entry.socket, timeout)

    def _unreachable(self, entry: registry.Entry, error: Exception) -> ServingError:
        # The supervisor may have written the reason since.
        entry = registry.read(self.name) or entry
        why = entry.trouble or f"{error}. If it was killed, it is back within seconds."
        return unavailable(f"Server {self.name!r} (pid {entry.server.pid}) does not answer: {why}")


def _path(model: str, *rest: str) -> str:
    return "/".join(["/models", quote(model, safe=""), *rest])
