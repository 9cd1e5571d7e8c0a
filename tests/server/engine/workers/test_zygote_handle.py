"""The server's end of the zygote: what it is told, and what it says when there is none."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import uvloop

from workbench.core.status import Code, ServingError, unavailable
from workbench.ipc.channel import socket_pair
from workbench.processes.lifetime import ProcessId
from workbench.server.engine.workers import zygote_handle as module
from workbench.server.engine.workers.zygote_handle import Zygote


@pytest.fixture
def fake_tensorflow(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A module that is found in TensorFlow's place, as the tests write it."""
    path = tmp_path / "tensorflow.py"
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(tmp_path), os.getcwd()]))
    monkeypatch.setenv("PYTHONSAFEPATH", "1")
    return path


async def until(holds: Callable[[], Any]) -> None:
    async def wait() -> None:
        while not holds():
            await asyncio.sleep(0.005)

    await asyncio.wait_for(wait(), 30)


def test_a_zygote_that_cannot_import_tensorflow_is_tried_again_and_says_why(
    fake_tensorflow: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fake_tensorflow.write_text("raise ImportError('no such library')\n")
    monkeypatch.setattr(module, "_START_SECONDS", 0.0)
    events: list[tuple[str, dict[str, Any]]] = []

    async def test() -> None:
        zygote = Zygote(lambda kind, **data: events.append((kind, data)))
        # It is given no time at all, and is to go on all the same.
        monkeypatch.setattr(zygote, "_kill", lambda: None)
        assert zygote.pid is None
        zygote.start()
        zygote.check()  # nothing is known against it yet
        with pytest.raises(ServingError) as raised:
            await zygote.fork(0)
        assert raised.value == unavailable(
            "No worker could be started within 0 s: TensorFlow is still being imported"
        )
        # The first new attempt comes at once, the second after a second.
        await until(lambda: len(events) == 2)
        with pytest.raises(ServingError) as raised:
            zygote.check()
        assert raised.value.code is Code.FAILED_PRECONDITION
        assert raised.value.message.startswith("TensorFlow could not be imported:\nTraceback")
        assert raised.value.message.endswith("ImportError: no such library\n")
        with pytest.raises(ServingError, match="within 0 s: Traceback"):
            await zygote.fork(0)
        await zygote.stop()

    uvloop.run(asyncio.wait_for(test(), 60))
    assert [(kind, data["code"]) for kind, data in events] == [("zygote_exited", 1)] * 2


def test_a_zygote_that_does_not_end_is_killed(fake_tensorflow: Path, tmp_path: Path) -> None:
    started = tmp_path / "started"
    fake_tensorflow.write_text(
        f"import time\nopen({str(started)!r}, 'w').close()\ntime.sleep(1000)\n"
    )

    async def test() -> ProcessId | None:
        zygote = Zygote(lambda kind, **data: None)
        zygote.start()
        await until(started.exists)
        assert zygote.pid is not None
        process = ProcessId.of(zygote.pid)
        await zygote.stop()
        return process

    process = uvloop.run(asyncio.wait_for(test(), 60))
    assert process is not None
    assert not process.alive()


IDLE = """
import os, socket, sys
from workbench.ipc.channel import Channel
channel = Channel(socket.socket(fileno=int(sys.argv[1])))
channel.send({"ready": 0.1})
while True:
    order, _, fds = channel.receive()
    MODE
"""


@pytest.fixture
def stand_in(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], None]:
    """Runs a small program in the zygote's place; MODE is what it does with each order."""

    def write(mode: str) -> None:
        worker = tmp_path / "workbench" / "server" / "worker"
        worker.mkdir(parents=True)
        real = Path(module.__file__).parents[3]
        for package, there in ((worker.parents[1], real), (worker.parent, real / "server")):
            (package / "__init__.py").write_text(f"__path__.append({str(there)!r})\n")
        (worker / "__init__.py").touch()
        (worker / "zygote_main.py").write_text(IDLE.replace("MODE", mode))
        monkeypatch.setenv("PYTHONPATH", str(tmp_path))
        monkeypatch.setenv("PYTHONSAFEPATH", "1")

    return write


def test_a_zygote_that_never_forks_is_not_waited_for_for_ever(
    stand_in: Callable[[str], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    stand_in("os.close(fds[0])")
    monkeypatch.setattr(module, "_FORK_SECONDS", 0.0)

    events: list[Any] = []

    async def test() -> None:
        zygote = Zygote(lambda kind, **data: events.append((kind, data.get("code"))))
        zygote.start()
        ours, theirs = socket_pair()
        with pytest.raises(ServingError) as raised:
            await zygote.fork(theirs.fileno())
        assert raised.value == unavailable("The zygote did not fork a worker in time")
        # It does not do its work, so it is ended, and another takes its place.
        theirs.close()
        ours.setblocking(False)
        end = asyncio.get_running_loop().sock_recv(ours, 1)
        assert await asyncio.wait_for(end, 10) == b""
        await until(lambda: len(events) == 3)
        await zygote.stop()
        ours.close()

    uvloop.run(asyncio.wait_for(test(), 60))
    assert events == [
        ("zygote_started", None),
        ("zygote_exited", -signal.SIGKILL),
        ("zygote_started", None),
    ]


def test_an_answer_that_comes_too_late_leaves_no_descriptor(
    stand_in: Callable[[str], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    stand_in(
        "channel.send({'forked': order['fork'], 'pid': 1, 'fds': 1}, fds=fds); os.close(fds[0])"
    )
    monkeypatch.setattr(module, "_FORK_SECONDS", 0.0)

    async def test() -> None:
        zygote = Zygote(lambda kind, **data: None)
        monkeypatch.setattr(zygote, "_kill", lambda: None)
        zygote.start()
        ours, theirs = socket_pair()
        with pytest.raises(ServingError, match="did not fork a worker in time"):
            await zygote.fork(theirs.fileno())
        theirs.close()
        ours.setblocking(False)
        end = asyncio.get_running_loop().sock_recv(ours, 1)
        assert await asyncio.wait_for(end, 10) == b""
        await zygote.stop()
        ours.close()

    uvloop.run(asyncio.wait_for(test(), 60))


def test_a_zygote_that_hangs_in_its_import_is_replaced(
    fake_tensorflow: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fake_tensorflow.write_text("import time\ntime.sleep(1000)\n")
    monkeypatch.setattr(module, "_START_SECONDS", 0.0)
    events: list[Any] = []

    async def test() -> None:
        zygote = Zygote(lambda kind, **data: events.append((kind, data.get("code"))))
        zygote.start()
        with pytest.raises(ServingError, match="TensorFlow is still being imported"):
            await zygote.fork(0)
        await until(lambda: events)
        await zygote.stop()

    uvloop.run(asyncio.wait_for(test(), 60))
    assert events == [("zygote_exited", -signal.SIGKILL)]


def test_a_zygote_that_cannot_be_started_just_now_is_tried_again(
    stand_in: Callable[[str], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    """No descriptor and no process to be had are troubles that pass."""
    stand_in("pass")
    monkeypatch.setattr(module, "_RETRY_SECONDS", (0.0,) * 5)
    pairs = iter([OSError(24, "Too many open files")])
    events: list[Any] = []

    def crowded() -> Any:
        if (error := next(pairs, None)) is not None:
            raise error
        return socket_pair()

    async def test() -> None:
        zygote = Zygote(lambda kind, **data: events.append(kind))
        zygote.start()
        await until(lambda: events == ["zygote_started"])
        monkeypatch.setattr(module, "socket_pair", crowded)
        assert zygote.pid is not None
        os.kill(zygote.pid, signal.SIGKILL)
        await until(lambda: len(events) == 3)
        await zygote.stop()

    uvloop.run(asyncio.wait_for(test(), 60))
    assert events == ["zygote_started", "zygote_exited", "zygote_started"]


def test_a_zygote_that_dies_while_it_forks_is_replaced(stand_in: Callable[[str], None]) -> None:
    stand_in("os.kill(os.getpid(), 9)")
    events: list[Any] = []

    async def test() -> None:
        zygote = Zygote(lambda kind, **data: events.append((kind, data.get("code"))))
        zygote.start()
        ours, theirs = socket_pair()
        with pytest.raises(ServingError) as raised:
            await zygote.fork(theirs.fileno())
        assert raised.value == unavailable("The zygote died while it forked a worker")
        await until(lambda: len(events) == 3)
        await zygote.stop()
        ours.close()
        theirs.close()

    uvloop.run(asyncio.wait_for(test(), 60))
    assert events == [
        ("zygote_started", None),
        ("zygote_exited", -signal.SIGKILL),
        ("zygote_started", None),
    ]


def test_a_zygote_that_closes_its_socket_and_lives_on_is_killed(
    stand_in: Callable[[str], None],
) -> None:
    stand_in("channel.close(); __import__('time').sleep(1000)")
    events: list[Any] = []

    async def test() -> None:
        zygote = Zygote(lambda kind, **data: events.append((kind, data.get("code"))))
        zygote.start()
        ours, theirs = socket_pair()
        with pytest.raises(ServingError, match="The zygote died while it forked a worker"):
            await zygote.fork(theirs.fileno())
        await until(lambda: len(events) == 2)
        await zygote.stop()
        ours.close()
        theirs.close()

    uvloop.run(asyncio.wait_for(test(), 60))
    assert events == [("zygote_started", None), ("zygote_exited", -signal.SIGKILL)]
