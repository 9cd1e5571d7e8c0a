"""What all routes of the control plane share: the server they serve, errors, bodies, arguments."""

from __future__ import annotations

import asyncio
import math
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import orjson
import tornado.httputil
import tornado.web

from workbench.core.setting_kinds import INT64_MAX
from workbench.core.status import Code, ServingError, invalid_argument
from workbench.formats.http_status import HTTP_STATUS
from workbench.processes.tokens import TOKEN_HEADER, Token
from workbench.server.engine.engine import ServerCore


@dataclass(eq=False)
class Plane:
    """The parts of the server process that routes read and change.

    Attributes:
        describe: what the process knows of itself (name, address ...), without secrets.
        on_change: called after each change of the settings, to keep them on disk.
        shutdown: begins the end of the process; gets a reason in words.
    """

    core: ServerCore
    describe: Callable[[], dict[str, Any]]
    on_change: Callable[[], None]
    shutdown: Callable[[str], None]


def may_call(request: tornado.httputil.HTTPServerRequest, token: Token | None) -> bool:
    """Whether a request carries the token, if one is needed."""
    if token is None:
        return True
    found = (request.headers.get(name) for name in ("Authorization", TOKEN_HEADER))
    return token.carried(*(None if text is None else text.encode("latin-1") for text in found))


class Handler(tornado.web.RequestHandler):
    """Errors as JSON with a code and a message; bodies as JSON objects."""

    def initialize(self, plane: Plane, token: Token | None) -> None:
        """Called by tornado with the arguments of the route."""
        self.plane = plane
        self.token = token
        self.core = plane.core
        self.manager = plane.core.manager

    def prepare(self) -> None:
        """Refuse a request without the token, if one is needed."""
        if not may_call(self.request, self.token):
            raise ServingError(
                Code.UNAUTHENTICATED,
                "The control plane needs its own token: send 'Authorization: Bearer <token>'",
            )

    def body(self) -> dict[str, Any]:
        """The body as a JSON object, {} for none; raises INVALID_ARGUMENT for anything else."""
        if not self.request.body:
            return {}
        try:
            data = orjson.loads(self.request.body)
        except orjson.JSONDecodeError as error:
            raise invalid_argument(f"The body is not JSON: {error}") from error
        if not isinstance(data, dict):
            raise invalid_argument("The body must be a JSON object")
        return data

    def number(self, name: str, default: float) -> float:
        """A finite number from the query; raises INVALID_ARGUMENT for anything else."""
        text = self.get_query_argument(name, None)
        if text is None:
            return default
        try:
            number = float(text)
        except ValueError:
            number = math.nan
        if not math.isfinite(number):
            raise invalid_argument(f"Query argument {name!r} must be a number; was {text!r}")
        return number

    def whole(self, name: str, default: int) -> int:
        """A whole number of up to 64 bits, which a float could not hold."""
        text = self.get_query_argument(name, None)
        if text is None:
            return default
        if not re.fullmatch(r"-?[0-9]{1,19}", text) or abs(int(text)) > INT64_MAX:
            raise invalid_argument(
                f"Query argument {name!r} must be a whole number, at most {INT64_MAX}; was {text!r}"
            )
        return int(text)

    def answer(self, data: Any) -> None:
        """Answer with `data` as JSON."""
        self.answer_encoded(orjson.dumps(data))

    def answer_encoded(self, body: bytes) -> None:
        """Answer with `body`, which is JSON."""
        self.set_header("Content-Type", "application/json")
        self.finish(body)

    async def answer_from_thread(self, data: Callable[[], Any]) -> None:
        """Answer with the result of `data`, which is called, and written as JSON, in a thread."""
        self.answer_encoded(await asyncio.to_thread(lambda: orjson.dumps(data())))

    def write_error(self, status_code: int, **kwargs: Any) -> None:
        """Answer with an error as JSON, called by tornado after any exception."""
        error = kwargs.get("exc_info", (None, None))[1]
        if isinstance(error, ServingError):
            self.set_status(HTTP_STATUS[error.code])
            self.answer(error.to_json())
        elif status_code < 500:
            asked = f"{self.request.method} {self.request.path}"
            self.answer({"code": "INVALID_ARGUMENT", "error": f"{asked}: {self._reason}"})
        else:
            self.answer({"code": "INTERNAL", "error": "Internal error; see the server's log"})

    def log_exception(self, typ: Any, value: Any, tb: Any) -> None:
        """Log what is not an answer to the client."""
        if not isinstance(value, ServingError):
            super().log_exception(typ, value, tb)
