"""Requests that are held while no version serves: over REST and gRPC, on real workers.

A gate keeps the new version from loading for as long as a test wants the gap to last.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.server.conftest import Answer, Planes
from tests.server.front.grpc.test_services import Client
from tests.servers import Server
from workbench.core.status import Code, ServingError
from workbench.core.versions.holding import MAX_HELD, MAX_HELD_BYTES
from workbench.formats.wire.protobuf import field
from workbench.load.packed_numbers import unpack_numbers
from workbench.server.front.admission import HELD_TOO_LONG

PREDICT = ("POST", "/v1/models/half:predict", {"instances": [2.0]})
SPEC = field(1, field(1, b"half"))


class Gap:
    """A model whose version 1 has gone and whose version 2 loads when `close` is called."""

    def __init__(
        self,
        server: Server,
        planes: Planes,
        base: Path,
        second: str,
        transition: str = "unload_first+hold",
    ) -> None:
        self.server = server
        self.planes = planes
        self._gate = asyncio.Event()
        self._callers: list[threading.Thread] = []
        self.answers: list[Answer] = []
        server.run(self._open(base, second, transition))
        self.model = server.core.manager.models["half"]

    async def _open(self, base: Path, second: str, transition: str) -> None:
        server, manager = self.server, self.server.core.manager
        self._original = manager.loader.load
        await server.serve(base, "half_plus_two", name="half", transition=transition)

        async def gated(model: Any, served: Any) -> Any:
            if served.id.version == 2:
                await asyncio.wait_for(self._gate.wait(), 60)
            return await self._original(model, served)

        manager.loader.load = gated  # type: ignore[method-assign]
        server.put(base, 2, second)
        server.poll("half")
        await server.until(lambda: 1 not in manager.models["half"].versions, "version 1 is gone")

    def ask(self, *request: Any) -> None:
        """Send a request, and wait until it is held."""
        before = len(self.model.held)
        caller = threading.Thread(
            target=lambda: self.answers.append(self.planes.ask(*(request or PREDICT)))
        )
        caller.start()
        self._callers.append(caller)
        self.planes.until(lambda: len(self.model.held) > before, "the request is held")

    def close(self) -> list[Answer]:
        """Let version 2 load; the answers of all that was asked."""

        async def open_gate() -> None:
            self._gate.set()

        self.server.run(open_gate())
        for caller in self._callers:
            caller.join(60)
        return self.answers

    def end(self) -> None:
        self.close()
        del self.server.core.manager.loader.load


@pytest.fixture
def gap(server: Server, planes: Planes, tmp_path: Path) -> Iterator[Gap]:
    gap = Gap(server, planes, tmp_path / "half", "half_plus_three")
    yield gap
    gap.end()


def test_they_are_answered_by_the_new_version(gap: Gap) -> None:
    gap.ask()
    gap.ask("POST", "/v1/models/half:regress",
            {"signature_name": "regress_x_to_y", "examples": [{"x": 2.0}]})  # fmt: skip
    # A body large enough to be converted in another process.
    gap.ask("POST", "/v1/models/half:predict", {"instances": [1.0] * 40_000})
    assert gap.planes.control("GET", "/models/half").json["held"] == 3
    answers = {len(a.body): (a.status, a.json) for a in gap.close()}
    small, regressed, large = (answers[size] for size in sorted(answers))
    assert regressed == (200, {"predictions": [4.0]}) or small == (200, {"predictions": [4.0]})
    assert (200, {"results": [4.0]}) in (small, regressed)
    assert large == (200, {"predictions": [3.5] * 40_000})
    (released,) = [e for e in gap.server.events() if e.kind == "held_released"]
    assert released.data is not None
    assert released.data["requests"] == 3
    assert released.data["seconds"] > 0
    assert gap.planes.control("GET", "/models/half").json["held"] == 0


def test_in_the_gap_of_staged_too(server: Server, planes: Planes, tmp_path: Path) -> None:
    gap = Gap(server, planes, tmp_path / "half", "half_plus_three", "staged+hold")
    try:
        gap.ask()
        assert gap.model.versions[2].harness.state.value == "loading"
        assert "staged" in [e.kind for e in server.events()]
        assert [(a.status, a.json) for a in gap.close()] == [(200, {"predictions": [4.0]})]
    finally:
        gap.end()


def test_over_grpc(gap: Gap) -> None:
    client = Client(gap.server)
    answers: list[Any] = []
    caller = threading.Thread(
        target=lambda: answers.append(client.predict(SPEC, {"x": np.array([2.0], np.float32)}))
    )
    caller.start()
    gap.planes.until(lambda: len(gap.model.held) == 1, "the request is held")
    gap.close()
    caller.join(60)
    assert answers[0][0]["y"].tolist() == [4.0]

    with pytest.raises(ServingError) as caught:
        client.predict(field(1, field(1, b"unknown")), {})
    assert caught.value.code is Code.NOT_FOUND


def test_they_are_recorded_at_the_time_at_which_they_came(gap: Gap) -> None:
    path = "/models/half/traffic"
    path = f"{path}/{gap.planes.control('POST', path, {'seconds': 60}).json['number']}"
    gap.ask()
    client = Client(gap.server)
    over_grpc = threading.Thread(
        target=client.predict, args=(SPEC, {"x": np.array([2.0, 3.0], np.float32)})
    )
    over_grpc.start()
    gap.planes.until(lambda: len(gap.model.held) == 2, "both are held")
    begun = gap.planes.control("GET", path).json
    assert begun["recorded"] == 0
    gap.close()
    over_grpc.join()
    found = gap.planes.control("DELETE", path).json
    at, rows = (unpack_numbers(found[name], np.int64) for name in ("at", "rows"))
    assert rows.tolist() == [1, 2]
    assert at.max() / 1e6 < begun["seconds"]


def test_over_grpc_until_the_deadline(gap: Gap) -> None:
    with pytest.raises(ServingError) as caught:
        Client(gap.server).predict(SPEC, {"x": np.array([2.0], np.float32)}, seconds=0.05)
    assert caught.value == ServingError(Code.DEADLINE_EXCEEDED, HELD_TOO_LONG)
    assert len(gap.model.held) == 0


def test_only_requests_for_the_latest_version_wait(gap: Gap) -> None:
    for path in ("versions/1:predict", "labels/stable:predict"):
        answer = gap.planes.ask("POST", f"/v1/models/half/{path}", PREDICT[2])
        assert answer.status in (400, 404)
    assert gap.planes.ask("GET", "/v1/models/half/metadata").status == 404
    assert gap.planes.ask("POST", "/v1/models/other:predict", PREDICT[2]).status == 404
    # What cannot be read is refused at once, whatever serves.
    assert gap.planes.ask("POST", "/v1/models/half:predict", b"{").status == 400
    assert len(gap.model.held) == 0


def test_one_whose_time_is_over_is_told(gap: Gap) -> None:
    # This plane gives a request 50 ms.
    answer = gap.planes.ask(*PREDICT, plane="hasty")
    assert (answer.status, answer.error) == (504, HELD_TOO_LONG)
    assert len(gap.model.held) == 0


def test_one_whose_client_has_gone_is_forgotten(gap: Gap) -> None:
    with gap.planes.connect() as sock:
        sock.sendall(
            b"POST /v1/models/half:predict HTTP/1.1\r\nHost: localhost\r\nContent-Length: 20\r\n"
            b'\r\n{"instances": [2.0]}'
        )
        gap.planes.until(lambda: len(gap.model.held) == 1, "the request is held")
    gap.planes.until(lambda: len(gap.model.held) == 0, "it is forgotten")


def test_there_is_room_for_so_many(gap: Gap) -> None:
    async def fill() -> None:
        for _ in range(MAX_HELD):
            gap.server.core.manager.hold("half", lambda: None)

    gap.server.run(fill())
    answer = gap.planes.ask(*PREDICT)
    assert (answer.status, answer.error) == (
        503,
        f"{MAX_HELD} requests already wait for the next version; try again in a moment",
    )


def test_there_is_room_for_so_many_bytes(gap: Gap) -> None:
    body = b'{"instances": [2.0]}'
    left = len(body)

    async def fill() -> None:
        gap.server.core.manager.hold("half", lambda: None, MAX_HELD_BYTES - left)

    gap.server.run(fill())
    gap.ask("POST", "/v1/models/half:predict", body)
    assert gap.model.held.size == MAX_HELD_BYTES
    full = (
        f"Requests of {MAX_HELD_BYTES} bytes already wait for the next version, and "
        "{} more would exceed "
        f"{MAX_HELD_BYTES}; try again in a moment"
    )
    answer = gap.planes.ask("POST", "/v1/models/half:predict", body)
    assert (answer.status, answer.error) == (503, full.format(left))
    # Also where the body is in a region of its own, and over gRPC.
    large = b'{"instances": [' + b"1.0, " * 40_000 + b"1.0]}"
    answer = gap.planes.ask("POST", "/v1/models/half:predict", large)
    assert (answer.status, answer.error) == (503, full.format(len(large)))
    inputs = {"x": np.zeros(1000, np.float32)}
    with pytest.raises(ServingError) as caught:
        Client(gap.server).predict(SPEC, inputs)
    assert caught.value.code is Code.UNAVAILABLE
    assert caught.value.message.startswith(f"Requests of {MAX_HELD_BYTES} bytes already wait")
    # What is let go gives its room back.
    assert [(a.status, a.json) for a in gap.close()] == [(200, {"predictions": [4.0]})]
    assert gap.model.held.size == 0


def test_a_grpc_client_that_goes_frees_its_place(gap: Gap) -> None:
    async def go_away() -> None:
        methods = Client(gap.server).methods
        call = asyncio.ensure_future(
            methods["/tensorflow.serving.PredictionService/Predict"](SPEC, None)
        )
        await gap.server.until(lambda: len(gap.model.held) == 1, "the request is held")
        # What the gRPC server does when a client cancels its call.
        call.cancel()
        with pytest.raises(asyncio.CancelledError):
            await call

    gap.server.run(go_away())
    assert len(gap.model.held) == 0


def test_when_the_version_fails_the_one_before_answers(
    server: Server, planes: Planes, tmp_path: Path
) -> None:
    gap = Gap(server, planes, tmp_path / "half", "bad_graph")
    try:
        gap.ask()
        (answer,) = gap.close()
        assert (answer.status, answer.headers.get("X-Workbench-Version")) == (200, "1")
    finally:
        gap.end()


def test_where_nothing_takes_its_place_they_are_refused(
    server: Server, planes: Planes, tmp_path: Path
) -> None:
    gap = Gap(server, planes, tmp_path / "half", "bad_graph")
    try:

        async def stay() -> None:
            server.core.manager.update("half", fall_back=False)

        server.run(stay())
        gap.ask()
        (answer,) = gap.close()
        assert (answer.status, answer.error) == (
            404,
            "Servable not found for request: Latest(half)",
        )
        # Nothing is on its way any more.
        assert planes.ask(*PREDICT).status == 404
    finally:
        gap.end()


def test_another_transition_refuses_at_once(gap: Gap) -> None:
    assert gap.planes.control("PATCH", "/models/half", {"transition": "unload_first"}).status == 200
    answer = gap.planes.ask(*PREDICT)
    assert (answer.status, answer.error) == (404, "Servable not found for request: Latest(half)")
