"""Control channels: frames, with descriptors passed along, over a unix socket.

`Channel` is the blocking end, for threads and for child processes. `LoopChannel` is the same for an
event loop. Descriptors travel with the frame they were sent with, and are close-on-exec.
"""

from __future__ import annotations

import array
import os
import socket
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from workbench.ipc.frames import ConnectionLost, FrameReader, frame

_CHUNK = 64 * 1024
_MAX_FDS = 16

Received = tuple[Any, memoryview, list[int]]


def socket_pair() -> tuple[socket.socket, socket.socket]:
    """Two connected stream sockets that are not inherited by accident."""
    return socket.socketpair(socket.AF_UNIX, socket.SOCK_STREAM)


class Channel:
    """The blocking end of a control channel.

    Args:
        timeout: seconds that a call may wait for the socket before it raises TimeoutError.
    """

    def __init__(self, sock: socket.socket, timeout: float | None = None) -> None:
        sock.settimeout(timeout)
        self.sock = sock
        self._reader = FrameReader()
        self._ready: list[Received] = []
        self._fds: list[int] = []

    def send(
        self, header: Mapping[str, Any], payload: bytes = b"", fds: Sequence[int] = ()
    ) -> None:
        """Send a frame; raises ConnectionLost where the other side is gone."""
        data = memoryview(frame(header, payload))
        try:
            while data:
                sent = _send_with_fds(self.sock, data, fds)
                data, fds = data[sent:], ()
        except TimeoutError:
            raise
        except OSError as error:
            raise ConnectionLost(str(error)) from error

    def receive(self) -> Received:
        """Wait for the next frame; raises ConnectionLost where the other side is gone."""
        while not self._ready:
            try:
                data, fds = _receive_with_fds(self.sock)
            except TimeoutError:
                raise
            except OSError as error:
                raise ConnectionLost(str(error)) from error
            self._fds += fds
            if not data:
                raise ConnectionLost("the other process closed the channel")
            self._take(data)
        return self._ready.pop(0)

    @property
    def pending(self) -> bool:
        """Whether `receive` would return without waiting for the socket."""
        return bool(self._ready)

    def close(self) -> None:
        """Close the socket, and descriptors that came without their frame."""
        self.sock.close()
        for fd in self._fds:
            os.close(fd)

    def _take(self, data: bytes) -> None:
        for header, payload in self._reader.feed(data):
            # A sender attaches all of a frame's descriptors to its first byte.
            count = header.get("fds", 0)
            fds, self._fds = self._fds[:count], self._fds[count:]
            self._ready.append((header, payload, fds))


class LoopChannel:
    """The same channel driven by an event loop.

    `on_frame(header, payload, fds)` is called for each frame, `on_lost()` once when the other
    side is gone; the receiver of descriptors owns them.
    """

    def __init__(
        self,
        sock: socket.socket,
        on_frame: Callable[[Any, memoryview, list[int]], None],
        on_lost: Callable[[], None],
    ) -> None:
        # Child processes have the blocking end, and need not spend a tenth of a second on this.
        import asyncio

        sock.setblocking(False)
        self.sock = sock
        self._on_frame = on_frame
        self._on_lost = on_lost
        self._reader = FrameReader()
        self._fds: list[int] = []
        self._out: list[tuple[memoryview, Sequence[int]]] = []
        self._loop = asyncio.get_running_loop()
        self._loop.add_reader(sock.fileno(), self._readable)
        self.closed = False

    def send(
        self, header: Mapping[str, Any], payload: bytes = b"", fds: Sequence[int] = ()
    ) -> None:
        """Send a frame, now or as soon as the other side takes it. Lost channels swallow it."""
        if self.closed:
            return
        waiting = bool(self._out)
        # The descriptors must stay open until they are sent, whatever the caller closes.
        self._out.append((memoryview(frame(header, payload)), [os.dup(fd) for fd in fds]))
        if not waiting:
            self._flush()

    def close(self) -> None:
        """Close the socket and all descriptors in transit; may be called again."""
        if self.closed:
            return
        self.closed = True
        self._loop.remove_reader(self.sock.fileno())
        self._loop.remove_writer(self.sock.fileno())
        self.sock.close()
        for _, fds in self._out:
            _close_all(fds)
        _close_all(self._fds)

    def _readable(self) -> None:
        try:
            data, fds = _receive_with_fds(self.sock)
        except (BlockingIOError, InterruptedError):
            return
        except OSError:
            data, fds = b"", []
        self._fds += fds
        if not data:
            self.close()
            self._on_lost()
            return
        for header, payload in self._reader.feed(data):
            count = header.get("fds", 0)
            mine, self._fds = self._fds[:count], self._fds[count:]
            self._on_frame(header, payload, mine)

    def _flush(self) -> None:
        while self._out:
            data, fds = self._out[0]
            try:
                sent = _send_with_fds(self.sock, data, fds)
            except (BlockingIOError, InterruptedError):
                self._loop.add_writer(self.sock.fileno(), self._flush)
                return
            except OSError:
                # The reader's side of this socket reports the loss.
                return
            _close_all(fds)
            if sent == len(data):
                self._out.pop(0)
            else:
                self._out[0] = (data[sent:], ())
        self._loop.remove_writer(self.sock.fileno())


def _send_with_fds(sock: socket.socket, data: memoryview, fds: Sequence[int]) -> int:
    if not fds:
        return sock.send(data)
    rights = array.array("i", fds)
    return sock.sendmsg([data], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, rights)])


def _receive_with_fds(sock: socket.socket) -> tuple[bytes, list[int]]:
    """As `socket.recv_fds`, which ignores its flags: its descriptors would be inheritable."""
    rights = array.array("i")
    space = socket.CMSG_SPACE(_MAX_FDS * rights.itemsize)
    data, ancillary, _, _ = sock.recvmsg(_CHUNK, space, getattr(socket, "MSG_CMSG_CLOEXEC", 0))
    for level, kind, content in ancillary:
        if (level, kind) == (socket.SOL_SOCKET, socket.SCM_RIGHTS):
            rights.frombytes(content[: len(content) - len(content) % rights.itemsize])
    return data, rights.tolist()


def _close_all(fds: Sequence[int]) -> None:
    for fd in fds:
        os.close(fd)
