"""Starts a server as a Jupyter kernel, which JupyterLab lists under the server's name.

The start request is written to a private file named after the server. The kernel reads the file,
also when Jupyter restarts the kernel. A kernel that was started through the caller's own Jupyter
Server belongs to that server and outlives the caller's kernel. Where there is no Jupyter Server (an
editor's notebook, nbconvert), `processes.kernel_launcher` starts the same kernel.
"""

from __future__ import annotations

import json
import os
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import orjson

from workbench.core.status import Code, ServingError, not_found, unavailable
from workbench.processes import paths, registry
from workbench.processes.launcher import START_SECONDS
from workbench.processes.server_options import ServerOptions, StartRequest

KERNEL_NAME = "workbench-serving"
_REQUEST_SECONDS = 20.0


def request_path(name: str) -> Path:
    """The file with the start request of the server `name`."""
    return paths.runtime_folder() / f"wb-wanted-{paths.check_name(name)}.json"


def _failure_path(name: str) -> Path:
    return request_path(name).with_suffix(".failed")


def read_request(name: str) -> StartRequest:
    """The start request of the server `name`; one with default options if there is none."""
    try:
        return StartRequest.from_bytes(request_path(name).read_bytes())
    except (OSError, ValueError, KeyError, TypeError):
        return StartRequest(ServerOptions(name))


def report_failure(name: str, error: ServingError) -> None:
    """Report to the launcher why there is no server; it cannot see the kernel's output."""
    data = {"code": error.code.name, "message": error.message}
    paths.write_private(_failure_path(name), orjson.dumps(data))


def write_request(request: StartRequest) -> None:
    """Write a start request to the file that the server's kernel reads."""
    name = request.options.name
    _failure_path(name).unlink(missing_ok=True)
    paths.write_private(request_path(name), request.to_bytes())


def forget(name: str) -> None:
    """Remove the start request of the server `name`."""
    request_path(name).unlink(missing_ok=True)
    _failure_path(name).unlink(missing_ok=True)


def wait_for_entry(
    name: str, kernel_id: str, check: Callable[[], None] = lambda: None
) -> registry.Entry:
    """Wait for the registry entry that a kernel writes when its server has started.

    Args:
        check: called again and again while there is no entry; it may raise.

    Raises:
        ServingError: the reason that the kernel reported, or DEADLINE_EXCEEDED.
    """
    end = time.monotonic() + START_SECONDS
    while time.monotonic() < end:
        entry = registry.read(name)
        if entry is not None and entry.kernel_id == kernel_id:
            return entry
        try:
            failure = orjson.loads(_failure_path(name).read_bytes())
        except (OSError, ValueError):
            check()
            time.sleep(0.05)
            continue
        raise ServingError(Code[failure["code"]], failure["message"])
    raise ServingError(
        Code.DEADLINE_EXCEEDED, f"The serving kernel did not start within {START_SECONDS:.0f} s"
    )


class JupyterLauncher:
    """Starts a serving kernel through a running Jupyter Server's REST API.

    Args:
        url, token: of the Jupyter Server.
    """

    def __init__(self, url: str, token: str) -> None:
        self._url = url
        self._token = token

    @classmethod
    def of_this_process(cls) -> JupyterLauncher:
        """A launcher for the Jupyter Server that this process's kernel belongs to.

        Raises:
            ServingError: NOT_FOUND, there is none, or it has no serving kernel.
        """
        parent = os.environ.get("JPY_PARENT_PID")
        if parent is None:
            raise not_found("this process was not started by a Jupyter Server")
        return cls.of_server(int(parent))

    @classmethod
    def of_server(cls, pid: int) -> JupyterLauncher:
        """A launcher for the running Jupyter Server with that pid; raises NOT_FOUND."""
        from jupyter_server.serverapp import list_running_servers

        for server in list_running_servers(str(paths.runtime_folder())):
            if server["pid"] == pid:
                launcher = cls(server["url"], server["token"])
                if KERNEL_NAME not in launcher._request("GET", "api/kernelspecs")["kernelspecs"]:
                    raise not_found(f"the Jupyter Server has no kernel named {KERNEL_NAME}")
                return launcher
        raise not_found(f"no running Jupyter Server has pid {pid}")

    def launch(self, request: StartRequest) -> registry.Entry:
        """Start a kernel that supervises the server; see `processes.launcher.Launcher`."""
        name = request.options.name
        # The server ends with its kernel, and the kernel with the Jupyter Server.
        write_request(replace(request, owner=None))
        session = {
            "name": name,
            "path": f"workbench-{name}",
            "type": "console",
            "kernel": {"name": KERNEL_NAME},
        }
        kernel_id = None
        try:
            kernel_id = self._request("POST", "api/sessions", session)["kernel"]["id"]
            return wait_for_entry(name, kernel_id)
        except BaseException:
            forget(name)
            if kernel_id is not None:
                self.shut_down(kernel_id)
            raise

    def shut_down(self, kernel_id: str) -> None:
        """Shut a kernel down for good; nothing happens if it is gone already."""
        try:
            self._request("DELETE", f"api/kernels/{kernel_id}")
        except ServingError as error:
            if error.code is not Code.NOT_FOUND:
                raise

    def _request(self, method: str, path: str, body: Any = None) -> Any:
        request = urllib.request.Request(
            urllib.parse.urljoin(self._url, path),
            data=None if body is None else json.dumps(body).encode(),
            method=method,
            headers={"Authorization": f"token {self._token}", "Content-Type": "application/json"},
        )
        # A proxy for the outside world cannot reach this machine's own server.
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        try:
            with opener.open(request, timeout=_REQUEST_SECONDS) as response:
                text = response.read()
        except urllib.error.HTTPError as error:
            with error:
                if error.code == 404:
                    raise not_found(f"The Jupyter Server has no {path}") from None
                raise unavailable(
                    f"The Jupyter Server refused {method} {path}: {error.code} {error.reason}"
                ) from None
        except OSError as error:
            raise unavailable(f"The Jupyter Server does not answer: {error}") from error
        return json.loads(text) if text else None
