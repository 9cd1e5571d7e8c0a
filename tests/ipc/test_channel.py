"""Control channels: frames and descriptors, in order, over both kinds of ends."""

from __future__ import annotations

import asyncio
import os
import socket
from typing import Any

import pytest
import uvloop

from tests.descriptors import assert_none_left, open_descriptors
from workbench.ipc.channel import Channel, LoopChannel, socket_pair
from workbench.ipc.frames import ConnectionLost


def pipe_with(text: bytes) -> int:
    """A descriptor from which `text` can be read."""
    read, write = os.pipe()
    os.write(write, text)
    os.close(write)
    return read


def read_all(fd: int) -> bytes:
    with open(fd, "rb") as file:
        return file.read()


def test_frames_and_their_descriptors_arrive_together() -> None:
    ours, theirs = (Channel(sock) for sock in socket_pair())
    fds = [pipe_with(b"one"), pipe_with(b"two"), pipe_with(b"three")]
    ours.send({"n": 1, "fds": 2}, b"payload", fds=fds[:2])
    ours.send({"n": 2})
    ours.send({"n": 3, "fds": 1}, fds=fds[2:])
    for fd in fds:
        os.close(fd)
    got = []
    assert not theirs.pending
    for _ in range(3):
        header, payload, received = theirs.receive()
        assert not any(os.get_inheritable(fd) for fd in received)
        got.append((header["n"], bytes(payload), [read_all(fd) for fd in received]))
    assert got == [(1, b"payload", [b"one", b"two"]), (2, b"", []), (3, b"", [b"three"])]
    ours.close()
    with pytest.raises(ConnectionLost, match="the other process closed the channel"):
        theirs.receive()
    with pytest.raises(ConnectionLost, match="Broken pipe"):
        theirs.send({})
    theirs.close()
    with pytest.raises(ConnectionLost, match="Bad file descriptor"):
        theirs.receive()


def test_frames_that_came_together_are_pending() -> None:
    left, right = socket_pair()
    ours, theirs = Channel(left), Channel(right)
    ours.send({"n": 1})
    ours.send({"n": 2})
    assert theirs.receive()[0] == {"n": 1}
    assert theirs.pending
    assert theirs.receive()[0] == {"n": 2}
    assert not theirs.pending
    ours.close()
    theirs.close()


def test_descriptors_of_an_incomplete_frame_are_closed_with_the_channel() -> None:
    before = open_descriptors()
    left, right = socket_pair()
    theirs = Channel(right)
    fd = pipe_with(b"x")
    socket.send_fds(left, [b"\x05"], [fd])
    os.close(fd)
    left.close()
    with pytest.raises(ConnectionLost):
        theirs.receive()
    theirs.close()
    assert_none_left(before)


class Ends:
    """A blocking end and a loop end that remembers what came."""

    def __init__(self) -> None:
        left, right = socket_pair()
        self.theirs = Channel(left)
        self.got: list[Any] = []
        self.lost = 0
        self.news = asyncio.Event()
        self.ours = LoopChannel(right, self.on_frame, self.on_lost)

    def on_frame(self, header: Any, payload: memoryview, fds: list[int]) -> None:
        self.got.append((header, bytes(payload), [read_all(fd) for fd in fds]))
        self.news.set()

    def on_lost(self) -> None:
        self.lost += 1
        self.news.set()

    async def until(self, frames: int = 0, lost: int = 0) -> None:
        while len(self.got) < frames or self.lost < lost:
            self.news.clear()
            await asyncio.wait_for(self.news.wait(), 10)


def run(test: Any) -> None:
    """Run on both kinds of loops; no descriptor is left behind."""
    uvloop.run(asyncio.sleep(0))  # the first loop of a process opens some for ever
    before = open_descriptors()
    uvloop.run(asyncio.wait_for(test(), 30))
    asyncio.run(asyncio.wait_for(test(), 30))
    assert_none_left(before)


def test_a_loop_receives_frames_with_descriptors_and_learns_of_the_end() -> None:
    async def test() -> None:
        ends = Ends()
        fd = pipe_with(b"inside")
        ends.theirs.send({"n": 1, "fds": 1}, b"data", fds=[fd])
        os.close(fd)
        ends.theirs.send({"n": 2})
        await ends.until(frames=2)
        assert ends.got == [({"n": 1, "fds": 1}, b"data", [b"inside"]), ({"n": 2}, b"", [])]
        ends.theirs.close()
        await ends.until(lost=1)
        assert ends.ours.closed
        ends.ours.send({"swallowed": True})
        ends.ours.close()
        assert ends.lost == 1

    run(test)


def test_a_loop_sends_more_than_the_socket_takes_at_once() -> None:
    async def test() -> None:
        ends = Ends()
        payload = bytes(range(256)) * 20_000
        fd = pipe_with(b"inside")
        ends.ours.send({"n": 1}, payload)
        ends.ours.send({"n": 2, "fds": 1}, payload, fds=[fd])
        os.close(fd)
        ends.ours.send({"n": 3})

        def receive() -> list[Any]:
            frames = [ends.theirs.receive() for _ in range(3)]
            return [(h["n"], bytes(p), [read_all(f) for f in fds]) for h, p, fds in frames]

        got = await asyncio.to_thread(receive)
        assert got == [(1, payload, []), (2, payload, [b"inside"]), (3, b"", [])]
        ends.ours.close()
        ends.theirs.close()

    run(test)


def test_what_was_not_sent_leaves_no_descriptor_behind() -> None:
    async def test() -> None:
        ends = Ends()
        fd = pipe_with(b"x")
        ends.ours.send({"n": 1}, b"x" * 10_000_000)
        ends.ours.send({"n": 2, "fds": 1}, fds=[fd])
        os.close(fd)
        ends.ours.close()
        ends.theirs.close()

    run(test)


def test_sending_to_an_end_that_is_gone_is_reported_once_as_a_loss() -> None:
    async def test() -> None:
        ends = Ends()
        ends.theirs.close()
        fd = pipe_with(b"x")
        ends.ours.send({"n": 1, "fds": 1}, fds=[fd])
        os.close(fd)
        await ends.until(lost=1)
        assert (ends.got, ends.lost, ends.ours.closed) == ([], 1, True)

    run(test)
