"""Starting a server as a Jupyter kernel, so that JupyterLab lists it by the server's name.

What is wanted of the server is left in a private file under the server's name; the kernel reads it,
also when Jupyter restarts it. Started through the Jupyter Server that the caller lives under, the
kernel belongs to that server and outlives the caller's own kernel. Without a Jupyter Server (an
editor's notebook, nbconvert) `processes.kernel_launcher` starts the same kernel.
"""

from __future__ import annotations

import json
import os
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import orjson

from workbench.core.status import Code, ServingError, not_found, unavailable
from workbench.processes import paths, registry

KERNEL_NAME = "workbench-serving"
START_SECONDS = 60.0
_REQUEST_SECONDS = 20.0


def spec_path(name: str) -> Path:
    """Where the wishes for a server of that name are left."""
    return paths.runtime_folder() / f"wb-wanted-{paths.check_name(name)}.json"


def _failure_path(name: str) -> Path:
    return spec_path(name).with_suffix(".failed")


def wanted(name: str) -> dict[str, Any]:
    """What a launcher has asked of the server `name`; {} where nobody has."""
    try:
        data: dict[str, Any] = orjson.loads(spec_path(name).read_bytes())
    except (OSError, ValueError):
        return {}
    return data


def report_failure(name: str, error: ServingError) -> None:
    """Tell the launcher, who cannot see the kernel's own output, why there is no server."""
    data = {"code": error.code.name, "message": error.message}
    paths.write_private(_failure_path(name), orjson.dumps(data))


def leave_wishes(name: str, spec: Mapping[str, Any]) -> None:
    """Leave what is asked of the server `name` where its kernel looks for it."""
    _failure_path(name).unlink(missing_ok=True)
    paths.write_private(spec_path(name), orjson.dumps(dict(spec)))


def forget(name: str) -> None:
    """The server is not wanted any more."""
    spec_path(name).unlink(missing_ok=True)
    _failure_path(name).unlink(missing_ok=True)


def wait_for_entry(
    name: str, kernel_id: str, check: Callable[[], None] = lambda: None
) -> registry.Entry:
    """The entry that a kernel makes when its server has started; `check` is called while it has
    not, and may raise.

    Raises:
        ServingError: the kernel's own reason why there is no server, or DEADLINE_EXCEEDED.
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
        """Through the Jupyter Server that this process's kernel belongs to.

        Raises:
            ServingError: NOT_FOUND, there is none, or it has no serving kernel; the message says
                which.
        """
        parent = os.environ.get("JPY_PARENT_PID")
        if parent is None:
            raise not_found("this process was not started by a Jupyter Server")
        return cls.of_server(int(parent))

    @classmethod
    def of_server(cls, pid: int) -> JupyterLauncher:
        """Through the running Jupyter Server with that pid; raises NOT_FOUND."""
        from jupyter_server.serverapp import list_running_servers

        for server in list_running_servers(str(paths.runtime_folder())):
            if server["pid"] == pid:
                launcher = cls(server["url"], server["token"])
                launcher._check_kernelspec()
                return launcher
        raise not_found(f"no running Jupyter Server has pid {pid}")

    def _check_kernelspec(self) -> None:
        if KERNEL_NAME not in self._request("GET", "api/kernelspecs")["kernelspecs"]:
            raise not_found(f"the Jupyter Server has no kernel named {KERNEL_NAME}")

    def launch(self, spec: Mapping[str, Any]) -> registry.Entry:
        """Start a kernel that supervises the server; see `processes.launcher.Launcher`."""
        name = str(spec["name"])
        # The kernel is the owner, and Jupyter the kernel's.
        leave_wishes(name, {k: v for k, v in spec.items() if k != "owner"})
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
        """Shut a kernel down, so that Jupyter does not start it again; gone already is fine."""
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
        # A proxy set for the outside world has no business with this machine's own server.
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        try:
            with opener.open(request, timeout=_REQUEST_SECONDS) as response:
                text = response.read()
        except urllib.error.HTTPError as error:
            with error:
                if error.code == 404:
                    raise not_found(f"The Jupyter Server knows no {path}") from None
                raise unavailable(
                    f"The Jupyter Server refused {method} {path}: {error.code} {error.reason}"
                ) from None
        except OSError as error:
            raise unavailable(f"The Jupyter Server does not answer: {error}") from error
        return json.loads(text) if text else None
