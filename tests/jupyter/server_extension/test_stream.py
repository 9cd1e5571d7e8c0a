"""The WebSocket as a page meets it: who may open it, what comes, and that it is idle otherwise."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from tornado.httpclient import HTTPClientError
from tornado.websocket import WebSocketClientConnection

import workbench as wb
from workbench.processes import registry

_WAIT_SECONDS = 60.0


@pytest.fixture
def served(jp_environ: None, models: Path) -> Iterator[wb.Server]:
    with wb.serve(models / "half_plus_two", name="halves") as server:
        yield server
    assert wb.servers() == []


class Page:
    def __init__(self, socket: WebSocketClientConnection) -> None:
        self.socket = socket

    async def say(self, **message: Any) -> None:
        await self.socket.write_message(json.dumps(message))

    async def hear(self, wanted: Callable[[dict[str, Any]], Any]) -> dict[str, Any]:
        """The first message from now on that is wanted."""

        async def listen() -> dict[str, Any]:
            while True:
                text = await self.socket.read_message()
                assert text is not None, "the connection was closed"
                message: dict[str, Any] = json.loads(text)
                if wanted(message):
                    return message

        return await asyncio.wait_for(listen(), _WAIT_SECONDS)

    async def pulse(self, version: int, state: str) -> dict[str, Any]:
        """The pulse with which a version is in that state."""

        def there(message: dict[str, Any]) -> bool:
            versions = message.get("pulse", {}).get("model", {}).get("versions", [])
            return any((v["version"], v["state"]) == (version, state) for v in versions)

        pulse: dict[str, Any] = (await self.hear(there))["pulse"]
        return pulse


async def test_strangers_are_kept_out(jp_ws_fetch: Any) -> None:
    with pytest.raises(HTTPClientError, match="403"):
        await jp_ws_fetch("workbench/api/stream", headers={"Authorization": ""})


async def test_who_may_not_read_is_kept_out(jp_ws_fetch: Any, jp_serverapp: Any) -> None:
    asked: list[tuple[str, str]] = []

    def refuse(handler: Any, user: Any, action: str, resource: str) -> bool:
        asked.append((action, resource))
        return False

    jp_serverapp.authorizer.is_authorized = refuse
    with pytest.raises(HTTPClientError, match="403"):
        await jp_ws_fetch("workbench/api/stream")
    assert asked == [("read", "workbench")]


async def test_a_page_is_told_of_servers_and_of_the_model_it_follows(
    jp_ws_fetch: Any, jp_serverapp: Any, served: wb.Server, models: Path
) -> None:
    hub = jp_serverapp.web_app.settings["workbench_hub"]
    page = Page(await jp_ws_fetch("workbench/api/stream"))
    assert hub._task is None
    await page.say(op="watch", value=True)
    told = await page.hear(lambda m: m["kind"] == "servers")
    assert [s["name"] for s in told["servers"]] == ["halves"]
    assert hub._task is not None

    await page.say(op="follow", server="halves", model="halves", seconds=0.1)
    first = await page.pulse(1, "AVAILABLE")
    lines = [event.get("line") for event in first["events"]]
    assert "Successfully loaded servable version {name: halves version: 1}" in lines
    await asyncio.to_thread(served.publish, models / "half_plus_three")
    pulse = await page.pulse(2, "AVAILABLE")
    # What a page has been told it is not told again.
    assert all(event["seq"] > first["seq"] for event in pulse["events"])

    # A page that comes back gets what it has missed, and that alone.
    page.socket.close()
    back = Page(await jp_ws_fetch("workbench/api/stream"))
    marks = {"events": first["seq"], "memory": first["now"], "traffic": first["now"]}
    await back.say(op="follow", server="halves", model="halves", marks=marks)
    caught_up = await back.hear(lambda m: m["kind"] == "pulse")
    assert not caught_up["fresh"]
    missed = caught_up["pulse"]["events"]
    assert missed[0]["seq"] == first["seq"] + 1
    assert "Quiescing servable version {name: halves version: 1}" in [
        e["line"] for e in missed if "line" in e
    ]
    assert hub._task is None

    await back.say(op="follow", server="halves", model="quarters", seconds=0.1)
    ended = await back.hear(lambda m: m["kind"] == "ended" and m["model"] == "quarters")
    assert ended["state"] == "gone"
    await back.say(op="leave", server="halves", model="quarters")

    served.stop()
    ended = await back.hear(lambda m: m["kind"] == "ended" and m["state"] == "stopped")
    assert (ended["server"], ended["model"]) == ("halves", "halves")
    await back.say(op="leave", server="halves", model="halves")


@pytest.mark.slow
async def test_a_killed_server_is_told_of_as_dead(
    jp_ws_fetch: Any, jp_serverapp: Any, served: wb.Server
) -> None:
    page = Page(await jp_ws_fetch("workbench/api/stream"))
    await page.say(op="watch", value=True)
    await page.say(op="follow", server="halves", model="halves")
    await page.hear(lambda m: m["kind"] == "servers" and m["servers"])
    entry = registry.find("halves")
    entry.supervisor.kill()
    entry.server.kill()
    # Which of the two is told first is nobody's promise.
    left = {"ended", "servers"}

    def told(message: dict[str, Any]) -> bool:
        if message["kind"] == "ended" and message["state"] == "dead":
            assert message["text"] == "the server was killed"
            left.discard("ended")
        if [server["state"] for server in message.get("servers", [])] == ["dead"]:
            left.discard("servers")
        return not left

    await page.hear(told)


@pytest.mark.parametrize(
    ("message", "words"),
    [
        ("no json", "The message is not JSON"),
        ("[]", "The message's 'op' must be"),
        ('{"op": "shout"}', "The message's 'op' must be"),
        ('{"op": "follow", "server": "../x", "model": "m"}', "Server name '../x' cannot be used"),
        ('{"op": "follow", "server": "a", "model": "m", "seconds": "1"}', "'seconds' must be"),
        ('{"op": "follow", "server": "a", "model": "m", "marks": {}}', "'marks' must be"),
        (
            '{"op": "follow", "server": "a", "model": "m", "marks": '
            '{"events": -1, "memory": 0, "traffic": 0}}',
            "Mark 'events' must be a number",
        ),
    ],
)
async def test_a_message_that_is_not_understood_is_refused(
    jp_ws_fetch: Any, message: str, words: str
) -> None:
    page = Page(await jp_ws_fetch("workbench/api/stream"))
    await page.socket.write_message(message)
    refused = await page.hear(lambda m: m["kind"] == "refused")
    assert refused["code"] == "INVALID_ARGUMENT"
    assert words in refused["message"]
