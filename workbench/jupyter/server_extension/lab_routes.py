"""The routes of the labs.

    GET    workbench/api/labs          all labs in order, with the progress in each
    POST   workbench/api/labs          the path of a lab, which is copied there if need be
    POST   workbench/api/quickstart    the path of the quickstart notebook

The notebooks of the package are never changed. The reader works on copies among the files that the
Jupyter Server shows.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, cast

import nbformat
from jupyter_core.utils import ensure_async
from jupyter_server.utils import url_path_join
from tornado import web

from workbench.core.status import invalid_argument, not_found
from workbench.jupyter.server_extension.base_handler import Handler, guarded
from workbench.jupyter.server_extension.route_answers import Lab
from workbench.samples import labs
from workbench.samples.labs import QUICKSTART

# The folder of labs in a clone of the project, and that of `workbench lab`.
_FOLDER = "notebooks"
_NBFORMAT = 4


class _Labs(Handler):
    @property
    def shipped(self) -> Path:
        return cast(Path, self.settings["workbench_notebooks"])

    async def place(self, name: str) -> str | None:
        """The path of the user's copy of a lab; None if there is none."""
        contents: Any = self.contents_manager
        for path in (f"{_FOLDER}/{name}", name):
            if await ensure_async(contents.file_exists(path)):
                return path
        return None

    async def provide(self, name: str, path: str) -> None:
        """Answer with a lab's path: 200 with that of the user's copy, or 201 with `path`, to which
        the lab has been copied."""
        found = await self.place(name)
        if found is not None:
            self.finish({"path": found})
            return
        contents: Any = self.contents_manager
        notebook = await self.pools.ask(nbformat.read, self.shipped / name, _NBFORMAT)
        folder = path.rpartition("/")[0]
        if folder and not await ensure_async(contents.dir_exists(folder)):
            await ensure_async(contents.save({"type": "directory"}, folder))
        model = {"type": "notebook", "format": "json", "content": notebook}
        await ensure_async(contents.save(model, path))
        self.set_status(201)
        self.set_header("Location", url_path_join(self.base_url, "api/contents", path))
        self.finish({"path": path})


class _LabsHandler(_Labs):
    @guarded
    async def get(self) -> None:
        """``{"labs": [...]}``, see `Lab`."""
        self.finish({"labs": [await self._one(lab) for lab in await self.pools.ask(self._shipped)]})

    def _shipped(self) -> list[Lab]:
        """All labs of the package, none of them run."""
        folder = self.shipped
        ideas = labs.ideas(folder)
        return [
            {
                "name": name,
                "title": labs.read_file(folder / name)[0],
                "idea": ideas.get(name, ""),
                "path": None,
                "state": "new",
            }
            for name in labs.names(folder)
        ]

    async def _one(self, lab: Lab) -> Lab:
        """A lab with the state of the user's copy."""
        path = await self.place(lab["name"])
        if path is None:
            return lab
        contents: Any = self.contents_manager
        about = await ensure_async(contents.get(path, content=False))
        # A lab that was run holds pictures: it is read again only if it was saved again.
        known: dict[str, tuple[Any, labs.State]] = self.settings["workbench_labs_read"]
        saved = about["last_modified"]
        if path not in known or known[path][0] != saved:
            known[path] = saved, await self._state(path)
        return {**lab, "path": path, "state": known[path][1]}

    async def _state(self, path: str) -> labs.State:
        contents: Any = self.contents_manager
        try:
            file = await ensure_async(contents.get(path, type="file", format="text"))
        except web.HTTPError:
            return "unreadable"
        return (await self.pools.ask(labs.read, file["content"], path))[1]

    @guarded
    async def post(self) -> None:
        """Copy the lab `name` into the user's folder ``notebooks`` if they have no copy:
        ``{"path": ...}``, with 201 if it was copied."""
        name = self.body("name").get("name")
        if not isinstance(name, str):
            raise invalid_argument("'name' must name a lab")
        if name not in await self.pools.ask(labs.names, self.shipped):
            raise not_found(f"There is no lab {name[:80]!r}")
        await self.provide(name, f"{_FOLDER}/{name}")


class _QuickstartHandler(_Labs):
    @guarded
    async def post(self) -> None:
        """Copy the quickstart to the root of the user's files if they have no copy:
        ``{"path": ...}``, with 201 if it was copied."""
        await self.provide(QUICKSTART, QUICKSTART)


LAB_HANDLERS = [
    (r"/workbench/api/labs", _LabsHandler),
    (r"/workbench/api/quickstart", _QuickstartHandler),
]
