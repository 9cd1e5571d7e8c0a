"""Causes real faults on a server: `wb.faults.killed_worker(server)`.

    server = wb.faults.scratch(wb.serve(model, name="scratch"))
    with wb.faults.half_copied(server) as fault:
        print(fault)              # what was done, and the server's report of it
        server.versions
    # The half-copied folder is gone, and the server is restored.

Each function causes one fault, waits until the server has noticed it, and returns a `Fault`, whose
`undo` repairs what the server does not repair itself. Only servers marked as *scratch* may be
broken, because others may depend on a server.
"""

from __future__ import annotations

import contextlib
import os
import resource
import shutil
import signal
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any, TypeVar

from workbench.client.publishing.saving import next_version, version_folders
from workbench.client.server import ServerClient
from workbench.core.status import (
    Code,
    ServingError,
    failed_precondition,
    invalid_argument,
)
from workbench.experiments.load.server_load import make_payload, run_engine
from workbench.load.arrivals import Schedule
from workbench.samples.caused_fault import (
    NOTICED_SECONDS,
    Fault,
    available_versions,
    event_of,
    state_of,
    until,
)
from workbench.samples.server_processes import (
    data_bytes,
    pid_of,
    send_signal,
    server_pid,
    stop,
    worker_of,
)

S = TypeVar("S", bound=ServerClient)

LONGEST_HOLD_SECONDS = 8.0
"""The server replaces a process that starts no worker for 10 s."""
_HALF = 0.5
_DAMAGED_BYTES = 64
_STAMPEDE_SECONDS = 0.05


def scratch(server: S) -> S:
    """Allow faults on a server for as long as it runs; returns it."""
    _mark(server).touch(mode=0o600)
    return server


def half_copied(server: ServerClient, *, anyway: bool = False) -> Fault:
    """Copy the next version into place by hand, and stop half way through its weights.

    Args:
        anyway: also on a server that is not marked as scratch.

    Raises:
        ServingError: FAILED_PRECONDITION, the server is not marked as scratch, or no version of
            the model serves; DEADLINE_EXCEEDED, the server did not notice.
    """
    with _caused(server, "half_copied", anyway) as fault:
        number = _next(fault)
        # Copied aside first, so that the folder appears at once.
        with tempfile.TemporaryDirectory(dir=server.base_path, prefix=".half-") as beside:
            copy = Path(beside) / "copy"
            shutil.copytree(fault.served, copy)
            data = _weights(copy)
            os.truncate(data, int(data.stat().st_size * _HALF))
            os.rename(copy, server.base_path / str(number))
        fault.done = f"Version {number} was copied into place by hand, and {data.name} only half"
        # Like `cp`, this does not mark the folder as complete.
        server.control.poll(server.model)
        until(lambda: number in server.versions.waiting, "the incomplete folder is seen")
        fault.said = f"version {number} is not loaded yet: {server.versions.waiting[number]}"
    return fault


def corrupt_weights(server: ServerClient, *, anyway: bool = False) -> Fault:
    """Publish a version whose weights have the right size and wrong bytes.

    Raises:
        ServingError: as `half_copied`; FAILED_PRECONDITION, the damage was not noticed.
    """
    with _caused(server, "corrupt_weights", anyway) as fault, _copy(fault) as copy:
        data = _weights(copy)
        damaged = bytearray(data.read_bytes())
        damaged[:_DAMAGED_BYTES] = (byte ^ 0xFF for byte in damaged[:_DAMAGED_BYTES])
        data.write_bytes(damaged)
        _publish_bad(fault, copy)
        fault.done = f"Version {fault.version} was published with damaged bytes in {data.name}"
    return fault


def over_budget(server: ServerClient, *, anyway: bool = False) -> Fault:
    """Publish a version while the memory budget has nothing left to give.

    Raises:
        ServingError: as `corrupt_weights`.
    """
    with _caused(server, "over_budget", anyway) as fault, _copy(fault) as copy:
        host = server.budget["host"]
        fault.repairs.callback(setattr, server, "budget", host["limit"])
        server.budget = max(1, int(host["reserved"]))
        _publish_bad(fault, copy)
        fault.done = (
            f"The budget of the host was lowered to what is reserved already, and version "
            f"{fault.version} was published"
        )
    return fault


def out_of_memory(server: ServerClient, *, anyway: bool = False) -> Fault:
    """Publish a version whose worker gets no memory while it loads, as on a machine without free
    memory. Running workers keep theirs. Linux only.

    Raises:
        ServingError: as `corrupt_weights`; INVALID_ARGUMENT, not on Linux.
    """
    prlimit = getattr(resource, "prlimit", None)
    if prlimit is None:
        raise invalid_argument("out_of_memory needs Linux")
    with _caused(server, "out_of_memory", anyway) as fault, _copy(fault) as copy:
        zygote = pid_of(server, "zygote")
        before = prlimit(zygote, resource.RLIMIT_DATA)
        fault.repairs.callback(_give_back_memory, zygote, before)
        # Workers are forked from the zygote and inherit its limit.
        prlimit(zygote, resource.RLIMIT_DATA, (data_bytes(zygote), before[1]))
        _publish_bad(fault, copy)
        fault.done = f"Version {fault.version} was published where its worker may take no memory"
    return fault


def slow_load(server: ServerClient, seconds: float = 3.0, *, anyway: bool = False) -> Fault:
    """Publish a good version whose load takes long, because the process that starts workers is
    stopped. Returns while it loads; other loads of this server wait too.

    Args:
        seconds: how long it is stopped; `LONGEST_HOLD_SECONDS` at most.

    Raises:
        ServingError: as `half_copied`; INVALID_ARGUMENT, `seconds` is too long or not positive.
    """
    _check_hold(seconds)
    with _caused(server, "slow_load", anyway) as fault, _copy(fault) as copy:
        number = _next(fault)
        fault.repairs.callback(stop(pid_of(server, "zygote"), seconds))
        server.publish(copy, version=number, wait=False)
        fault.done = (
            f"Version {number} was published, and the process that starts its worker stopped for "
            f"{seconds:g} s"
        )
        until(lambda: state_of(server, number) != "", "the new version is seen")
        fault.said = f"version {number} is {state_of(server, number)}"
    return fault


def paused_worker(server: ServerClient, seconds: float = 1.0, *, anyway: bool = False) -> Fault:
    """Stop the serving version's worker for a moment, too short for the server to replace it.
    Returns while it is stopped.

    Args:
        seconds: how long it is stopped; `LONGEST_HOLD_SECONDS` at most.

    Raises:
        ServingError: as `slow_load`.
    """
    _check_hold(seconds)
    with _caused(server, "paused_worker", anyway) as fault:
        version, worker = worker_of(server)
        fault.repairs.callback(stop(worker, seconds))
        fault.done = f"The worker of version {version} (pid {worker}) was stopped for {seconds:g} s"
        fault.said = (
            f"version {version} is {state_of(server, version)}, because the server has not noticed"
        )
    return fault


def hanging_worker(server: ServerClient, *, anyway: bool = False) -> Fault:
    """Stop the serving version's worker, so that it is alive but does not answer; returns when the
    server has noticed, after about ten seconds.

    Raises:
        ServingError: as `half_copied`.
    """
    with _caused(server, "hanging_worker", anyway) as fault:
        version, worker = worker_of(server)
        fault.done = f"The worker of version {version} (pid {worker}) was stopped"
        fault.repairs.callback(send_signal, worker, signal.SIGCONT)
        os.kill(worker, signal.SIGSTOP)
        event = event_of(fault, "worker_hung", worker)
        fault.said = f"{event['reason']}; it is terminated and replaced"
        event_of(fault, "worker_replaced")
    return fault


def killed_worker(server: ServerClient, *, anyway: bool = False) -> Fault:
    """Kill the serving version's worker, as the system does when memory runs out.

    Raises:
        ServingError: as `half_copied`.
    """
    with _caused(server, "killed_worker", anyway) as fault:
        version, worker = worker_of(server)
        fault.done = f"The worker of version {version} (pid {worker}) was killed"
        os.kill(worker, signal.SIGKILL)
        event = event_of(fault, "worker_exited", worker)
        fault.said = f"the worker was {event['reason']}"
    return fault


def killed_server(server: ServerClient, *, anyway: bool = False) -> Fault:
    """Kill the server process itself; its supervisor starts another on the same ports.

    Raises:
        ServingError: as `half_copied`.
    """
    with _caused(server, "killed_server", anyway) as fault:
        before = server.control.entry().server
        fault.done = f"The server process (pid {before.pid}) was killed"
        before.kill()
        until(lambda: server_pid(server) not in (0, before.pid), "it is started again")
        fault.said = (
            f"its supervisor has started pid {server_pid(server)} on {server.address}, where the "
            "model is loaded again"
        )
    return fault


def stampede(
    server: ServerClient, x: Any = None, requests: int = 5000, *, anyway: bool = False
) -> Fault:
    """Send many requests at once, as when all users return at the same moment. The model's queue
    refuses what does not fit, so the others keep their latency.

    Args:
        x: examples to send, as for `Server.predict`; by default zeros.
        requests: their number.

    Raises:
        ServingError: as `half_copied`; INVALID_ARGUMENT, `requests` is not positive.
    """
    if type(requests) is not int or requests < 1:
        raise invalid_argument(f"requests must be a positive whole number; was {requests!r}")
    with _caused(server, "stampede", anyway) as fault:
        fault.done = f"{requests} requests were sent at once"
        payload = make_payload(server, x)
        load = Schedule("constant", requests / _STAMPEDE_SECONDS, _STAMPEDE_SECONDS)
        came = run_engine(server, payload, load, _STAMPEDE_SECONDS)
        answered = came.done >= 0
        worst = float((came.done - came.intended)[answered].max()) / 1e3 if answered.any() else 0.0
        refused = "".join(f", {n} {why}" for why, n in came.failures.items())
        fault.said = (
            f"{int(answered.sum())} answered, the last of them after {worst:.0f} ms{refused}"
        )
    return fault


# Shared parts.


@contextlib.contextmanager
def _caused(server: ServerClient, name: str, anyway: bool) -> Iterator[Fault]:
    """Yields a fault, and undoes it if causing it fails half way. Raises FAILED_PRECONDITION where
    the server must not be broken, or nothing serves."""
    if not anyway and not _mark(server).exists():
        raise failed_precondition(
            f"Server {server.name!r} is not marked as scratch, so others may depend on it: mark it "
            "with wb.faults.scratch(server), or pass anyway=True"
        )
    available = available_versions(server)
    if not available:
        raise failed_precondition(f"No version of {server.model} is available: publish one first")
    fault = Fault(server, name, version_folders(server.base_path)[max(available)])
    try:
        yield fault
    except BaseException:
        fault.repairs.close()
        raise


def _mark(server: ServerClient) -> Path:
    return Path(server.control.entry().folder) / "scratch"


def _check_hold(seconds: float) -> None:
    if not 0 < seconds <= LONGEST_HOLD_SECONDS:
        raise invalid_argument(
            f"seconds must be between 0 and {LONGEST_HOLD_SECONDS:.0f}; was {seconds!r}"
        )


@contextlib.contextmanager
def _copy(fault: Fault) -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="wb-fault-") as folder:
        yield Path(shutil.copytree(fault.served, Path(folder) / "model"))


def _next(fault: Fault) -> int:
    """The number of a bad version, which the repair will take away."""
    number = fault.version = next_version(fault.server.base_path)
    fault.repairs.callback(_take_away, fault.server, number)
    return number


def _weights(folder: Path) -> Path:
    found = sorted((folder / "variables").glob("variables.data-*"), key=os.path.getsize)
    if not found or not found[-1].stat().st_size:
        raise failed_precondition(f"{folder.name} has no weights to damage")
    return found[-1]


def _publish_bad(fault: Fault, copy: Path) -> None:
    """Publish a version that cannot load, and record the error."""
    number = _next(fault)
    try:
        fault.server.publish(copy, version=number, timeout=NOTICED_SECONDS)
    except ServingError as error:
        if error.code is Code.DEADLINE_EXCEEDED:
            raise
        fault.said = f"{error.code.name}: {error.message}"
        return
    raise failed_precondition(f"Version {number} loaded: the fault had no effect")


def _take_away(server: ServerClient, version: int) -> None:
    """Delete a version's folder, and wait until the version is gone and another serves."""
    base = server.base_path
    folder = version_folders(base).get(version)
    if folder is not None:
        # Renamed first, so that the server never sees a half-deleted folder.
        shutil.rmtree(folder.rename(base / f".{version}.gone"))
    server.control.poll(server.model, sorted(version_folders(base)))
    until(
        lambda: state_of(server, version) in ("", "END") and bool(available_versions(server)),
        f"version {version} is gone and another serves",
    )


def _give_back_memory(pid: int, before: tuple[int, int]) -> None:
    with contextlib.suppress(ProcessLookupError):
        resource.prlimit(pid, resource.RLIMIT_DATA, before)
