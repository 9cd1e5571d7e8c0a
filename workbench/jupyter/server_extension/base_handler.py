"""The base of all routes: authorisation, threads for blocking calls, errors as JSON."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, TypeVar, cast

from jupyter_server.auth.decorator import authorized
from jupyter_server.base.handlers import APIHandler
from tornado import web

from workbench.client.display.exact_numbers import exact
from workbench.core.status import Code, ServingError, invalid_argument
from workbench.formats.http_status import HTTP_STATUS
from workbench.jupyter.server_extension import servable_folders

RESOURCE = "workbench"
"""The name of these routes for authorisers."""

# As the data plane, with two exceptions. A precondition that fails is a conflict with a server's
# state (409), which pages distinguish from a malformed request. A failure of a model server, or its
# refusal of its own user, is an error of the gateway (502).
_OF_THE_GATEWAY = (
    *(Code.CANCELLED, Code.UNKNOWN, Code.UNIMPLEMENTED),
    *(Code.INTERNAL, Code.DATA_LOSS, Code.UNAUTHENTICATED),
)
_STATUS = {**HTTP_STATUS, Code.FAILED_PRECONDITION: 409, **dict.fromkeys(_OF_THE_GATEWAY, 502)}

_MODEL = re.compile(r"[^\s\x00-\x1f\x7f][^\x00-\x1f\x7f]{0,254}\Z")

T = TypeVar("T")


class ThreadPools:
    """Two pools of threads for blocking calls: short questions never wait for long operations.

    Args:
        threads: of each pool.
    """

    def __init__(self, threads: int) -> None:
        self._questions = ThreadPoolExecutor(threads, "workbench-ask")
        self._operations = ThreadPoolExecutor(threads, "workbench-operation")
        self._closed = False

    async def ask(self, call: Callable[..., T], *args: Any) -> T:
        """Run a call that takes a few seconds at most."""
        return await self._run(self._questions, call, *args)

    async def do(self, call: Callable[..., T], *args: Any) -> T:
        """Run a call that may take minutes: starting, loading, stopping."""
        return await self._run(self._operations, call, *args)

    async def _run(self, pool: ThreadPoolExecutor, call: Callable[..., T], *args: Any) -> T:
        if self._closed:
            # The Jupyter Server is ending, and its callers with it.
            raise asyncio.CancelledError
        return await asyncio.get_running_loop().run_in_executor(pool, call, *args)

    def close(self) -> None:
        """Accept no more calls, without waiting for those that run."""
        self._closed = True
        self._questions.shutdown(wait=False, cancel_futures=True)
        self._operations.shutdown(wait=False, cancel_futures=True)


def check_model(name: str) -> str:
    """Check a model's name, and return it.

    Raises:
        ServingError: INVALID_ARGUMENT, it cannot be used.
    """
    if not _MODEL.match(name):
        raise invalid_argument(
            f"Model name {name[:80]!r} cannot be used: it needs 1 to 255 characters, none a "
            "control character, and must not begin with a blank"
        )
    return name


def guarded(method: Callable[..., Any]) -> Callable[..., Any]:
    """A route's method for users who are logged in and may use these routes."""
    return web.authenticated(authorized(method))


class Handler(APIHandler):
    """A route whose errors are JSON with a `code`, a `message`, and perhaps a `reason`."""

    auth_resource = RESOURCE

    @property
    def pools(self) -> ThreadPools:
        """The threads for blocking calls."""
        return cast(ThreadPools, self.settings["workbench_pools"])

    def finish(self, chunk: Any = None) -> Any:
        """End the answer. Version numbers in it keep all of their digits."""
        return super().finish(exact(chunk) if isinstance(chunk, dict) else chunk)

    async def news(self) -> None:
        """Report a change to all pages and event listeners."""
        await self.settings["workbench_hub"].look()

    def find_folder(self, path: Any) -> Path:
        """The folder that the browser names. Blocks; raises as `servable_folders.resolve` does."""
        root = getattr(self.contents_manager, "root_dir", None)
        return servable_folders.resolve(path, root, self.settings["workbench_folders"])

    def body(self, *allowed: str) -> dict[str, Any]:
        """The request's JSON object; {} if there is none.

        Raises:
            ServingError: INVALID_ARGUMENT, it is not an object, or has fields besides `allowed`.
        """
        data = self.get_json_body()
        if data is None:
            return {}
        if not isinstance(data, dict):
            raise invalid_argument("The body must be a JSON object")
        unknown = sorted(set(data) - set(allowed))
        if unknown:
            raise invalid_argument(
                f"Unknown field {unknown[0]!r}: known are {', '.join(allowed) or 'none'}"
            )
        return data

    def number(self, name: str, default: int) -> int:
        """A whole number from the query."""
        text = self.get_query_argument(name, None)
        if text is None:
            return default
        if not re.fullmatch(r"[0-9]{1,15}", text):
            raise invalid_argument(f"Query argument {name!r} must be a whole number; was {text!r}")
        return int(text)

    def write_error(self, status_code: int, **kwargs: Any) -> None:
        """A `ServingError` as JSON, with its code's HTTP status."""
        error = kwargs.get("exc_info", (None, None))[1]
        if isinstance(error, ServingError):
            self.set_status(_STATUS[error.code])
            reason = {} if error.reason is None else {"reason": error.reason.value}
            self.finish({"code": error.code.name, "message": error.message, **reason})
        else:
            # Jupyter Server names the status, and keeps the exception's text in its log.
            super().write_error(status_code, **kwargs)

    def log_exception(self, typ: Any, value: Any, tb: Any) -> None:
        """Keep refusals out of the log: the caller gets them."""
        if not isinstance(value, ServingError):
            super().log_exception(typ, value, tb)
