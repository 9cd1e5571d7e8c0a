"""The routes: named questions about this user's servers, no way through to an arbitrary port.

    GET    workbench/api/servers         all running servers
    DELETE workbench/api/servers/NAME    stop one; 204 when it has ended
    POST   workbench/api/quickstart      the quickstart notebook's path in the user's files

All ask for authentication and authorisation (resource ``workbench``) and, where a browser's
cookie is what authenticates, for the XSRF token. A refusal is JSON with a `message`.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import nbformat
from jupyter_core.utils import ensure_async
from jupyter_server.auth.decorator import authorized
from jupyter_server.base.handlers import APIHandler
from jupyter_server.utils import url_path_join
from tornado import web

from workbench.client import Server
from workbench.core.status import Code, ServingError
from workbench.runtime import registry
from workbench.server_extension.listing import describe

QUICKSTART = "00-quickstart.ipynb"
# Where it is looked for in the user's files: in a clone of the project it lies in its folder.
_PLACES = (f"notebooks/{QUICKSTART}", QUICKSTART)

_STATUS = {Code.INVALID_ARGUMENT: 400, Code.NOT_FOUND: 404, Code.UNAVAILABLE: 503}

T = TypeVar("T")


class _Handler(APIHandler):
    auth_resource = "workbench"

    async def blocking(self, call: Callable[..., T], *args: Any) -> T:
        """Run a call that blocks in a thread, a bounded number of them at a time."""
        async with self.settings["workbench_slots"]:
            return await asyncio.to_thread(call, *args)

    def write_error(self, status_code: int, **kwargs: Any) -> None:
        error = kwargs.get("exc_info", (None, None))[1]
        if isinstance(error, ServingError) and error.code in _STATUS:
            self.set_status(_STATUS[error.code])
            self.finish({"code": error.code.name, "message": error.message})
        else:
            # Jupyter Server names the status and keeps an exception's own words in its log.
            super().write_error(status_code, **kwargs)

    def log_exception(self, typ: Any, value: Any, tb: Any) -> None:
        if not (isinstance(value, ServingError) and value.code in _STATUS):
            super().log_exception(typ, value, tb)


class ServersHandler(_Handler):
    @web.authenticated
    @authorized
    async def get(self) -> None:
        """All running servers, oldest first: ``{"servers": [...]}``, see `describe`."""
        timeout = self.settings["workbench_control_seconds"]
        entries = await self.blocking(registry.entries)
        servers = await asyncio.gather(*(self.blocking(describe, e, timeout) for e in entries))
        self.finish({"servers": servers})


class ServerHandler(_Handler):
    @web.authenticated
    @authorized
    async def delete(self, name: str) -> None:
        """Stop a server: 204 when it has ended, 404 where no server of that name runs."""
        entry = await self.blocking(registry.find, name)
        if entry.kernel_id is not None and entry.kernel_id in self.kernel_manager:
            # Its supervisor is a kernel of ours, which would be restarted if it ended unasked.
            await ensure_async(self.kernel_manager.shutdown_kernel(entry.kernel_id))
        await self.blocking(Server(entry.name, entry.name).stop)
        self.set_status(204)
        self.finish()


class QuickstartHandler(_Handler):
    @web.authenticated
    @authorized
    async def post(self) -> None:
        """See to it that the notebook lies in the user's files: ``{"path": ...}``.

        200 where it is there already, which is left as it is; 201 where it has been put at the
        root.
        """
        contents: Any = self.contents_manager
        for path in _PLACES:
            if await ensure_async(contents.file_exists(path)):
                self.finish({"path": path})
                return
        notebook = await self.blocking(_read_notebook, self.settings["workbench_notebooks"])
        model = {"type": "notebook", "format": "json", "content": notebook}
        await ensure_async(contents.save(model, QUICKSTART))
        self.set_status(201)
        self.set_header("Location", url_path_join(self.base_url, "api/contents", QUICKSTART))
        self.finish({"path": QUICKSTART})


def _read_notebook(folder: Path) -> dict[str, Any]:
    source = folder / QUICKSTART
    notebook: dict[str, Any] = nbformat.read(source, as_version=4)  # type: ignore[no-untyped-call]
    return notebook


HANDLERS = [
    (r"/workbench/api/servers", ServersHandler),
    (r"/workbench/api/servers/([^/]+)", ServerHandler),
    (r"/workbench/api/quickstart", QuickstartHandler),
]
