"""The routes of servers: named operations, and no proxy to an arbitrary port.

    GET    workbench/api/servers                  all servers
    POST   workbench/api/servers                  serve a folder; 201 when it answers
    GET    workbench/api/servers/NAME             one
    DELETE workbench/api/servers/NAME             stop one; 204 when it has ended
    POST   workbench/api/servers/NAME/restart     start one again that was killed
    GET    workbench/api/servers/NAME/memory      its ledger
    GET    workbench/api/servers/NAME/events      its event log
    .../servers/NAME/models...                    its models: `model_routes`
    GET    workbench/api/folder?path=             the models in it, and who owns them
    .../experiments...                            experiments: `experiment_routes`
    .../labs, .../quickstart                      the labs: `lab_routes`
    GET    workbench/api/stream                   the WebSocket: `stream`

All require authentication, authorisation (resource ``workbench``) and, if a browser's cookie
authenticates, the XSRF token. An error is JSON with a `message`.
"""

from __future__ import annotations

import asyncio
from typing import cast

from jupyter_core.utils import ensure_async
from jupyter_server.utils import url_path_join

from workbench.client.control_client import ControlClient
from workbench.client.server import ServerClient
from workbench.core.status import not_found
from workbench.jupyter.server_extension import servable_folders, starting
from workbench.jupyter.server_extension.base_handler import Handler, guarded
from workbench.jupyter.server_extension.experiment_routes import EXPERIMENT_HANDLERS
from workbench.jupyter.server_extension.lab_routes import LAB_HANDLERS
from workbench.jupyter.server_extension.listing import Lister
from workbench.jupyter.server_extension.model_routes import MODEL_HANDLERS
from workbench.jupyter.server_extension.route_answers import Done, Ledger, Log
from workbench.jupyter.server_extension.starting import KernelManagerLauncher
from workbench.jupyter.server_extension.stream import StreamHandler
from workbench.processes import registry
from workbench.processes.paths import check_name
from workbench.widgets.ledger.ledger_parts import devices_of

_EVENTS_AT_MOST = 2000


class _Handler(Handler):
    @property
    def lister(self) -> Lister:
        return cast(Lister, self.settings["workbench_lister"])

    def launcher(self) -> KernelManagerLauncher:
        return KernelManagerLauncher(
            self.session_manager, self.kernel_manager, asyncio.get_running_loop()
        )

    async def end_kernel(self, entry: registry.Entry) -> None:
        """End the supervisor of a server if it is a kernel of ours: Jupyter would start it again
        if it ended by itself."""
        if entry.kernel_id is not None and entry.kernel_id in self.kernel_manager:
            await ensure_async(self.kernel_manager.shutdown_kernel(entry.kernel_id))

    def created(self, name: str, message: str) -> None:
        self.set_status(201)
        self.set_header("Location", url_path_join(self.base_url, "workbench/api/servers", name))
        self.finish(Done(name=name, message=message))


class _ServersHandler(_Handler):
    @guarded
    async def get(self) -> None:
        """All servers, oldest first: ``{"servers": [...]}``, see `route_answers.Server`."""
        self.finish({"servers": await self.lister.look()})

    @guarded
    async def post(self) -> None:
        """Serve the folder `path` as `name` (without: the folder's), with a `transition`.

        201 with `name` and `message` when it answers; 409 if it is not the user's own and not
        `trusted`, or if a server of that name runs.
        """
        asked = self.body("path", "name", "transition", "trusted")
        folder = await self.pools.ask(self.find_folder, asked.get("path"))
        about = await self.pools.ask(servable_folders.look, folder)
        name = check_name(asked.get("name") or about["name"])
        await self.pools.ask(servable_folders.check_trusted, folder, asked.get("trusted"))
        message = await self.pools.do(
            starting.start, self.launcher(), name, folder, asked.get("transition")
        )
        await self.news()
        self.created(name, message)


class _ServerHandler(_Handler):
    @guarded
    async def get(self, name: str) -> None:
        """One server, as in the list; 404 if no server of that name runs."""
        check_name(name)
        for server in await self.lister.look():
            if server["name"] == name:
                self.finish(server)
                return
        raise not_found(f"No server named {name!r} is running")

    @guarded
    async def delete(self, name: str) -> None:
        """Stop a server: 204 when it has ended, 404 if no server of that name runs. A killed server
        is forgotten."""
        check_name(name)
        dead = self.lister.is_dead(name)
        if dead:
            entry = self.lister.killed(name).entry
        else:
            entry = await self.pools.ask(registry.find, name)
        await self.end_kernel(entry)
        if not dead:
            await self.pools.do(ServerClient(name, name).stop)
        self.lister.forget(name)
        await self.news()
        self.set_status(204)
        self.finish()


class _RestartHandler(_Handler):
    @guarded
    async def post(self, name: str) -> None:
        """Start a server again that was killed: 201 with `message` when it answers."""
        self.body()
        check_name(name)
        known = self.lister.killed(name)
        # A kernel on which Jupyter has given up must not start again beside the new one.
        await self.end_kernel(known.entry)
        message = await self.pools.do(starting.start_again, self.launcher(), known)
        await self.news()
        self.created(name, message)


class _LedgerHandler(_Handler):
    @guarded
    async def get(self, name: str) -> None:
        """Its ledger; each device as `ledger_parts.Device.to_json`."""
        check_name(name)
        account = await self.pools.ask(ControlClient(name).ledger)
        devices = [device.to_json() for device in devices_of(account)]
        self.finish(Ledger(devices=devices, notes=account["notes"]))


class _EventsHandler(_Handler):
    @guarded
    async def get(self, name: str) -> None:
        """The events after number `since`: `Log`."""
        check_name(name)
        since = self.number("since", 0)
        self.finish(await self.pools.ask(_events, name, since))


def _events(name: str, since: int) -> Log:
    answer = ControlClient(name).events(since)
    if since > answer["last_seq"]:
        # The server was restarted since, and its log begins again.
        answer = ControlClient(name).events()
    events = answer["events"][-_EVENTS_AT_MOST:]
    missed = events[0]["seq"] - since - 1 if events else 0
    return {"last_seq": answer["last_seq"], "missed": max(0, missed), "events": events}


class _FolderHandler(_Handler):
    @guarded
    async def get(self) -> None:
        """The contents of the folder `path` of the user's files; see `servable_folders.look`."""
        folder = await self.pools.ask(self.find_folder, self.get_query_argument("path", ""))
        self.finish(await self.pools.ask(servable_folders.look, folder))


HANDLERS = [
    (r"/workbench/api/servers", _ServersHandler),
    (r"/workbench/api/servers/([^/]+)", _ServerHandler),
    (r"/workbench/api/servers/([^/]+)/restart", _RestartHandler),
    (r"/workbench/api/servers/([^/]+)/memory", _LedgerHandler),
    (r"/workbench/api/servers/([^/]+)/events", _EventsHandler),
    *MODEL_HANDLERS,
    (r"/workbench/api/folder", _FolderHandler),
    *EXPERIMENT_HANDLERS,
    *LAB_HANDLERS,
    (r"/workbench/api/stream", StreamHandler),
]
