"""The routes of a server's models.

    GET    workbench/api/servers/NAME/models                  all models
    GET    .../models/MODEL                                   one, with its settings and versions
    PATCH  .../models/MODEL    {transition, batching, labels} change these settings
    GET    .../models/MODEL/versions                          its versions, highest first
    POST   .../models/MODEL/publish     {path, trusted,       make a SavedModel the next version
                                         allow_signature_change}
    POST   .../models/MODEL/rollback    {version} or {to}     set one (the latest) aside, or all
                                                              that came after one
    POST   .../models/MODEL/undo                              undo the last rollback

A change answers ``{"message": ...}``, one sentence, when it is done. A version that would break the
callers of the one that serves is refused with 409 and the reason ``signature-change``, until it is
published with ``"allow_signature_change": true``.
"""

from __future__ import annotations

from typing import Any

from workbench.client.control_client import ControlClient
from workbench.client.display.card import how_to_ask
from workbench.client.display.exact_numbers import version_of
from workbench.client.display.orders import ORDERS
from workbench.client.server import ServerClient
from workbench.core.status import invalid_argument
from workbench.jupyter.server_extension import servable_folders
from workbench.jupyter.server_extension.base_handler import Handler, check_model, guarded
from workbench.jupyter.server_extension.route_answers import Done, ModelAbout
from workbench.processes.paths import check_name

_SETTINGS = ("transition", "batching", "labels")
_FIELDS = {
    "publish": ("path", "trusted", "allow_signature_change"),
    "rollback": ("version", "to"),
    "undo": (),
}


class _OfModel(Handler):
    def check(self, server: str, model: str) -> None:
        check_name(server)
        check_model(model)

    async def order(self, server: str, model: str, name: str, asked: dict[str, Any]) -> str:
        """Carry out an order for a model; returns a sentence about the outcome."""
        return await self.pools.do(ORDERS[name], ServerClient(server, model), asked)


class _ModelsHandler(_OfModel):
    @guarded
    async def get(self, server: str) -> None:
        """All models as the server reports them: ``{"models": [...]}``."""
        check_name(server)
        self.finish({"models": await self.pools.ask(ControlClient(server).describe_models)})


class _ModelHandler(_OfModel):
    @guarded
    async def get(self, server: str, model: str) -> None:
        """One model, with its address and code that asks it: `ModelAbout`."""
        self.check(server, model)
        self.finish(await self.pools.ask(_describe, server, model))

    @guarded
    async def patch(self, server: str, model: str) -> None:
        """Change the given settings; batching parameters that are not given keep their values."""
        self.check(server, model)
        asked = self.body(*_SETTINGS)
        if not asked:
            raise invalid_argument(f"No setting was given: give one of {', '.join(_SETTINGS)}")
        said = [
            await self.order(server, model, name, {"value": asked[name]})
            for name in _SETTINGS
            if name in asked
        ]
        self.finish(Done(message=" ".join(said)))


def _describe(name: str, model: str) -> ModelAbout:
    server = ServerClient(name, model)
    about = server.describe()
    _, python, curl = how_to_ask(name, server.address, model, server.versions)
    return {**about, "address": server.address, "snippets": {"Python": python, "curl": curl}}


class _VersionsHandler(_OfModel):
    @guarded
    async def get(self, server: str, model: str) -> None:
        """Its `versions`, highest first, and why others are `waiting`."""
        self.check(server, model)
        about = await self.pools.ask(ControlClient(server).describe_model, model)
        self.finish({"versions": about["versions"], "waiting": about["waiting"]})


class _OrderHandler(_OfModel):
    @guarded
    async def post(self, server: str, model: str, name: str) -> None:
        """Publish, roll back or restore a version; answers when it serves."""
        self.check(server, model)
        asked = self.body(*_FIELDS[name])
        if name == "publish":
            folder = await self.pools.ask(self.find_folder, asked.get("path"))
            await self.pools.ask(servable_folders.check_trusted, folder, asked.get("trusted"))
            allowed = asked.get("allow_signature_change")
            asked = {"path": str(folder), "allow_signature_change": allowed}
        for field in ("version", "to"):
            if asked.get(field) is not None:
                asked[field] = version_of(asked[field], field)
        done = Done(message=await self.order(server, model, name, asked))
        await self.news()
        if "path" in asked:
            # As another program can use it.
            done["path"] = asked["path"]
        self.finish(done)


_MODEL = r"/workbench/api/servers/([^/]+)/models/([^/]+)"

MODEL_HANDLERS = [
    (r"/workbench/api/servers/([^/]+)/models", _ModelsHandler),
    (_MODEL, _ModelHandler),
    (rf"{_MODEL}/versions", _VersionsHandler),
    (rf"{_MODEL}/(publish|rollback|undo)", _OrderHandler),
]
