"""The zygote and its workers as processes: real forks of a process with TensorFlow imported."""

from __future__ import annotations

import os
import select
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.servers import floats
from workbench.core.status import Code
from workbench.ipc.channel import Channel, socket_pair
from workbench.ipc.frames import ConnectionLost, pack, receive_frame, send_frame, unpack
from workbench.ipc.regions import Region
from workbench.processes.lifetime import ProcessId, describe_exit, wait_gone

_WAIT_SECONDS = 60.0


class Zygote:
    """A zygote process and this end of its channel."""

    def __init__(self, owner: ProcessId, **environment: str) -> None:
        ours, theirs = socket_pair()
        arguments = [str(theirs.fileno()), str(owner.pid), str(owner.started)]
        self.process = subprocess.Popen(
            [sys.executable, "-m", "workbench.server.worker.zygote_main", *arguments],
            pass_fds=[theirs.fileno()],
            stderr=subprocess.DEVNULL,
            env={**os.environ, "CUDA_VISIBLE_DEVICES": "", **environment},
        )
        theirs.close()
        self.channel = Channel(ours)
        self._requests = 0

    def hear(self) -> tuple[dict[str, Any], list[int]]:
        header, fds = receive(self.channel)
        return header, fds

    def fork(self) -> Worker:
        ours, theirs = socket_pair()
        self._requests += 1
        self.channel.send({"fork": self._requests, "fds": 1}, fds=[theirs.fileno()])
        theirs.close()
        header, fds = self.hear()
        assert (header["forked"], len(fds)) == (self._requests, 1)
        return Worker(header["pid"], fds[0], Channel(ours))

    def close(self) -> None:
        self.channel.close()
        assert self.process.wait(_WAIT_SECONDS) == 0


class Worker:
    """A worker process and this end of its control channel."""

    def __init__(self, pid: int, pidfd: int, control: Channel) -> None:
        self.pid = pid
        self.pidfd = pidfd
        self.control = control

    def load(self, path: Path) -> dict[str, Any]:
        """The worker's last word about a load."""
        order = {"op": "load", "path": str(path), "tags": ["serve"], "intra_op_threads": 1}
        order |= {"quiet": False, "warm_up": False, "warm_up_iterations": 0}
        self.control.send(order)
        while "progress" in (said := receive(self.control)[0]):
            pass
        return said

    def ended(self) -> bool:
        """Whether the process ends, within the time that a test may take."""
        poller = select.poll()
        poller.register(self.pidfd, select.POLLIN)
        return bool(poller.poll(_WAIT_SECONDS * 1000))

    def close(self) -> None:
        self.control.close()
        assert self.ended()
        os.close(self.pidfd)


class Lane:
    """This end of a lane: one batch at a time."""

    def __init__(self, worker: Worker) -> None:
        self.sock, theirs = socket_pair()
        self.sock.settimeout(_WAIT_SECONDS)
        self.inputs, self.outputs = Region.create("in"), Region.create("out")
        fds = [theirs.fileno(), self.inputs.fd, self.outputs.fd]
        worker.control.send({"op": "lane", "fds": 3}, fds=fds)
        theirs.close()

    def run(self, signature: str, outputs: list[str] | None = None, **inputs: np.ndarray) -> Any:
        descriptors, payload = pack({n: [a] for n, a in inputs.items()}, self.inputs)
        send_frame(self.sock, {"s": signature, "o": outputs or [], "t": descriptors}, payload)
        header, payload_back = receive_frame(self.sock)
        if "code" in header:
            return Code(header["code"]), header["message"]
        assert header["us"] >= 0
        return unpack(header["t"], payload_back, self.outputs)

    def close(self) -> None:
        self.sock.close()
        self.inputs.close()
        self.outputs.close()


def receive(channel: Channel) -> tuple[dict[str, Any], list[int]]:
    """The next frame, for which there is a limit to wait."""
    if not channel.pending:
        poller = select.poll()
        poller.register(channel.sock, select.POLLIN)
        assert poller.poll(_WAIT_SECONDS * 1000), "nothing came"
    header, _, fds = channel.receive()
    return header, fds


@pytest.fixture(scope="module")
def zygote() -> Iterator[Zygote]:
    zygote = Zygote(ProcessId.me())
    header, _ = zygote.hear()
    assert list(header) == ["ready"]
    yield zygote
    zygote.close()


def test_a_worker_loads_runs_and_quits(zygote: Zygote, models: Path) -> None:
    worker = zygote.fork()
    loaded = worker.load(models / "half_plus_two")["loaded"]
    assert sorted(loaded["signatures"]) == [
        "classify_x_to_y",
        "regress_x_to_y",
        "serving_default",
    ]
    lane = Lane(worker)
    assert lane.run("serving_default", x=floats(1, 2))["y"].tolist() == [2.5, 3.0]
    large = np.arange(1_000_000, dtype=np.float32)
    assert np.array_equal(lane.run("serving_default", x=large)["y"], large / 2 + 2)
    worker.control.send({"op": "quit"})
    assert worker.ended()
    assert zygote.hear() == ({"exited": worker.pid, "status": 0}, [])
    lane.close()
    worker.close()


def test_a_lane_outlives_whatever_is_wrong_with_a_batch(zygote: Zygote, models: Path) -> None:
    worker = zygote.fork()
    worker.load(models / "half_plus_two")
    lane = Lane(worker)
    words = np.array([b"a"], object)
    assert lane.run("serving_default", x=words) == (
        Code.INVALID_ARGUMENT,
        "Expects arg[0] to be float but string is provided",
    )
    send_frame(lane.sock, {"s": "serving_default", "o": [], "t": [["x", "no dtype", [], -1, 0]]})
    header, _ = receive_frame(lane.sock)
    assert header == {"code": int(Code.INTERNAL), "message": "KeyError('no dtype')"}
    assert lane.run("serving_default", x=floats(2))["y"].tolist() == [3.0]
    lane.close()
    worker.control.close()
    assert worker.ended()
    assert zygote.hear()[0] == {"exited": worker.pid, "status": 0}
    worker.close()


def test_lanes_run_at_the_same_time(zygote: Zygote, models: Path) -> None:
    worker = zygote.fork()
    worker.load(models / "slow")
    busy, free = Lane(worker), Lane(worker)
    endless = {"x": floats(1), "steps": np.array([2**31 - 1], np.int32)}
    waiting = threading.Thread(target=_run_until_lost, args=(busy, endless))
    waiting.start()
    short = {"x": floats(1), "steps": np.array([1], np.int32)}
    assert free.run("serving_default", **short)["y"].tolist() == [1.0]
    # A worker that is busy for ever still obeys.
    worker.control.send({"op": "quit"})
    assert worker.ended()
    waiting.join(_WAIT_SECONDS)
    assert not waiting.is_alive()
    assert zygote.hear()[0] == {"exited": worker.pid, "status": 0}
    for lane in (busy, free):
        lane.close()
    worker.close()


def _run_until_lost(lane: Lane, inputs: dict[str, np.ndarray]) -> None:
    with pytest.raises(ConnectionLost):
        lane.run("serving_default", **inputs)


def test_a_failed_load_is_reported_and_the_worker_stays_until_told(
    zygote: Zygote, tmp_path: Path
) -> None:
    worker = zygote.fork()
    said = worker.load(tmp_path)
    assert Code(said["code"]) is Code.NOT_FOUND
    assert said["failed"].startswith("Specified file path does not appear to contain a SavedModel")
    worker.control.send({"op": "quit"})
    assert worker.ended()
    assert zygote.hear()[0] == {"exited": worker.pid, "status": 0}
    worker.close()


def test_how_a_worker_ended_is_reported(zygote: Zygote) -> None:
    killed, terminated = zygote.fork(), zygote.fork()
    os.kill(killed.pid, signal.SIGKILL)
    assert killed.ended()
    header, _ = zygote.hear()
    assert header["exited"] == killed.pid
    assert describe_exit(header["status"]).startswith("killed by SIGKILL")
    # A worker is asked for its name first: by then it has set up its signals.
    terminated.load(Path("/nowhere"))
    os.kill(terminated.pid, signal.SIGTERM)
    assert terminated.ended()
    header, _ = zygote.hear()
    assert (header["exited"], describe_exit(header["status"])) == (
        terminated.pid,
        "killed by SIGTERM",
    )
    killed.close()
    terminated.close()


def test_a_worker_has_no_descriptors_but_its_own(zygote: Zygote, models: Path) -> None:
    worker = zygote.fork()
    worker.load(models / "text")
    with open(f"/proc/{worker.pid}/comm") as file:
        assert file.read() == "wb-worker\n"
    folder = f"/proc/{worker.pid}/fd"
    kinds: dict[str, int] = {}
    for fd in os.listdir(folder):
        kind = os.readlink(f"{folder}/{fd}").split(":")[0]
        kinds[kind] = kinds.get(kind, 0) + (int(fd) > 2)
    # Its control channel and the pidfd of its owner; neither the zygote's socket nor its pipe.
    assert (kinds["socket"], kinds.get("pipe", 0)) == (1, 0)
    assert kinds["anon_inode"] <= 2
    worker.control.send({"op": "quit"})
    assert worker.ended()
    assert zygote.hear()[0] == {"exited": worker.pid, "status": 0}
    worker.close()


def test_the_zygote_leaves_ctrl_c_to_its_owner(zygote: Zygote) -> None:
    zygote.process.send_signal(signal.SIGINT)
    worker = zygote.fork()
    worker.control.close()
    assert worker.ended()
    assert zygote.hear()[0] == {"exited": worker.pid, "status": 0}
    worker.close()


def test_workers_outlive_the_zygote_but_not_their_owner(models: Path) -> None:
    owner = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    owned_by = ProcessId.of(owner.pid)
    assert owned_by is not None
    zygote = Zygote(owned_by)
    zygote.hear()
    worker = zygote.fork()
    worker.load(models / "half_plus_two")
    lane = Lane(worker)
    zygote.process.kill()
    assert zygote.process.wait(_WAIT_SECONDS) == -signal.SIGKILL
    zygote.channel.close()
    assert lane.run("serving_default", x=floats(2))["y"].tolist() == [3.0]
    process = ProcessId.of(worker.pid)
    assert process is not None
    owner.kill()
    assert wait_gone(process, _WAIT_SECONDS)
    owner.communicate()
    lane.close()
    worker.close()


def test_a_zygote_without_tensorflow_says_so(tmp_path: Path) -> None:
    (tmp_path / "tensorflow.py").write_text("raise ImportError('no such library')\n")
    path = os.pathsep.join([str(tmp_path), os.getcwd()])
    zygote = Zygote(ProcessId.me(), PYTHONPATH=path, PYTHONSAFEPATH="1")
    header, _ = zygote.hear()
    assert header["failed"].endswith("ImportError: no such library\n")
    assert zygote.process.wait(_WAIT_SECONDS) == 1
    zygote.channel.close()


def test_the_zygote_ends_with_its_socket() -> None:
    ours, theirs = socket.socketpair()
    ours.close()
    process = subprocess.run(
        [sys.executable, "-c", _SERVE_ON, str(theirs.fileno())],
        pass_fds=[theirs.fileno()],
        timeout=_WAIT_SECONDS,
    )
    theirs.close()
    assert process.returncode == 0


_SERVE_ON = """
import sys
from workbench.server.worker import zygote_main
zygote_main.import_runtime = lambda: None
zygote_main.main([sys.argv[1], "1", "1.0"])
"""
