"""A version that can never answer is refused while clients ask the one before it: none of them
fails, none is answered wrongly, and the error names the reason. A version whose difference only
clients would notice goes live with a warning."""

from __future__ import annotations

import asyncio
import os
import re
import shutil
import stat
from pathlib import Path
from typing import Any

import pytest

from tests.servers import Server
from tests.zoo.asking import is_same
from tests.zoo.breaking import GOOD_NUMBERS, OTHER_SIGNATURE, Broken
from tests.zoo.broken import BROKEN
from tests.zoo.broken_graphs import BROKEN_GRAPHS
from workbench.core.signature import DEFAULT_SIGNATURE
from workbench.core.versions.states import HarnessState
from workbench.ipc.frames import Tensors
from workbench.server.engine.versions.model import Model, Served

# The first test of a session waits for the export of the zoo.
pytestmark = pytest.mark.timeout(300)

_VERSIONS = [*BROKEN, *BROKEN_GRAPHS]
_CLIENTS = 4
_REQUESTS = 16
_REQUEST_SECONDS = 5.0
_PAUSE_SECONDS = 0.002
# The clients go on for that long after the version was refused.
_AFTERWARDS_SECONDS = 0.25
_DECIDED_SECONDS = 45.0
_TOLERANCE = 1e-5
# A request that takes longer hangs. TensorFlow waits ten seconds for memory before it gives up.
_HANG_SECONDS = 13.0


class Clients:
    """Clients that ask a model all the time and know what it must answer.

    Attributes:
        asked: requests that were answered.
        wrong: what went wrong with the others, in words.
    """

    def __init__(self, server: Server, broken: Broken) -> None:
        self._server = server
        self._requests = broken.base.requests(_REQUESTS)
        self._expected: list[Tensors] = []
        self._signatures = [DEFAULT_SIGNATURE]
        if broken.base is GOOD_NUMBERS:
            self._signatures.append(OTHER_SIGNATURE)
        self._tasks: list[asyncio.Task[None]] = []
        self._ended = False
        self.asked = 0
        self.wrong: list[str] = []

    async def begin(self) -> None:
        """Learn the right answers from the version that serves, and ask from then on."""
        self._expected = [await self._server.predict("m", each) for each in self._requests]
        self._tasks = [asyncio.ensure_future(self._ask(number)) for number in range(_CLIENTS)]

    async def _ask(self, number: int) -> None:
        signature = self._signatures[number % len(self._signatures)]
        while not self._ended:
            which = self.asked % _REQUESTS
            try:
                answer = await self._server.predict(
                    "m", self._requests[which], signature=signature, seconds=_REQUEST_SECONDS
                )
            except Exception as error:
                self.wrong.append(f"{type(error).__name__}: {error}")
            else:
                if not is_same(answer, self._expected[which], _TOLERANCE):
                    self.wrong.append(f"{answer} instead of {self._expected[which]}")
            self.asked += 1
            await asyncio.sleep(_PAUSE_SECONDS)

    async def end(self) -> None:
        """Ask no more, and wait for what was asked."""
        self._ended = True
        await asyncio.wait(self._tasks)


def copy_with_pipes(source: str, target: str) -> None:
    """Copy a file; a named pipe is made anew."""
    if stat.S_ISFIFO(os.stat(source).st_mode):
        os.mkfifo(target)
    else:
        shutil.copy2(source, target)


def publish(zoo: Path, name: str, base: Path, version: int) -> None:
    """Copy a version beside its place, then rename it into it."""
    base.mkdir(exist_ok=True)
    beside = base / f"{version}.tmp"
    shutil.copytree(zoo / name, beside, copy_function=copy_with_pipes)
    beside.rename(base / str(version))


async def decided(server: Server, model: Model, version: int) -> Served:
    """The version when it serves, or when it is certain that it will not."""

    def found() -> Served | None:
        served = model.versions.get(version) or model.ended.get(version)
        if served is None or not served.harness.state.is_settled:
            return None
        return served

    await server.until(
        lambda: found() is not None, f"version {version} is decided", _DECIDED_SECONDS
    )
    served = found()
    assert served is not None
    return served


async def replace(
    server: Server, zoo: Path, base: Path, broken: Broken
) -> tuple[Model, Served, Clients]:
    """Publish a broken version over a good one while clients ask.

    Returns:
        The model, its version 2 as soon as that is decided, and the clients, who still ask.
    """
    publish(zoo, broken.base.name, base, 1)
    model = server.set_model(
        "m", base, transition="smooth", max_load_retries=0, device="cpu", hang_seconds=_HANG_SECONDS
    )
    await server.available("m", 1)
    clients = Clients(server, broken)
    await clients.begin()
    await server.until(lambda: clients.asked >= 2 * _REQUESTS, "the clients are answered")
    publish(zoo, broken.name, base, 2)
    server.poll("m")
    try:
        return model, await decided(server, model, 2), clients
    except BaseException:
        await clients.end()
        raise


def of_verdict(verdict: str) -> pytest.MarkDecorator:
    return pytest.mark.parametrize(
        "broken", [b for b in _VERSIONS if b.verdict == verdict], ids=lambda broken: broken.name
    )


@of_verdict("refused")
def test_a_version_that_cannot_answer_is_refused_and_no_client_notices(
    server: Server, zoo: Path, tmp_path: Path, broken: Broken
) -> None:
    async def test() -> None:
        model, served, clients = await replace(server, zoo, tmp_path / "m", broken)
        try:
            assert served.harness.state is HarnessState.ERROR, "version 2 became AVAILABLE"
            asked = clients.asked
            await asyncio.sleep(_AFTERWARDS_SECONDS)
            assert clients.asked > asked, "version 1 does not answer any more"
        finally:
            await clients.end()
        assert clients.wrong == []
        assert model.ready is model.versions[1]
        assert model.versions[1].harness.state is HarnessState.READY
        assert served.queues is None or served.queues.answered + served.queues.failed == 0
        error = served.harness.error
        assert error is not None
        told = f"{error.code.name}: {error.message}"
        assert re.search(broken.reason, told), told
        assert "Traceback" not in told

    server.run(test())


@of_verdict("warned")
def test_a_difference_that_clients_would_notice_is_told_with_the_version(
    server: Server, zoo: Path, tmp_path: Path, broken: Broken
) -> None:
    async def test() -> None:
        _, served, clients = await replace(server, zoo, tmp_path / "m", broken)
        # What they are answered from now on is what the warning is about.
        await clients.end()
        assert served.harness.state is HarnessState.READY, served.harness.error
        probe: dict[str, Any] = served.to_json()["probe"]
        assert probe["verdict"] == "warned"
        assert any(re.search(broken.reason, warning) for warning in probe["warnings"]), probe

    server.run(test())


def test_a_good_version_passes_without_a_warning(server: Server, zoo: Path, tmp_path: Path) -> None:
    async def test() -> None:
        same = Broken("good_numbers", lambda tf, folder: None, "", "passed")
        _, served, clients = await replace(server, zoo, tmp_path / "m", same)
        await asyncio.sleep(_AFTERWARDS_SECONDS)
        await clients.end()
        assert clients.wrong == []
        probe: dict[str, Any] = served.to_json()["probe"]
        assert (probe["verdict"], probe["warnings"]) == ("passed", [])
        assert 0.0 < probe["seconds"] <= served.to_json()["load_seconds"]

    server.run(test())


def test_there_are_enough_broken_versions_and_no_two_of_a_name() -> None:
    refused = [broken.name for broken in _VERSIONS if broken.verdict == "refused"]
    assert len(refused) >= 22
    names = [broken.name for broken in _VERSIONS]
    assert len(set(names)) == len(names)
    assert {broken.verdict for broken in _VERSIONS} == {"refused", "warned"}
