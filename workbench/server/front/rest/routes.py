"""Reads a REST URL: TensorFlow Serving's grammar, plus three routes of ours.

The grammar is that of `http_rest_api_util.cc`; as there, it matches the raw path *with* its query.
Ours are `GET /v1/models` (a list), `/health/live` and `/health/ready`.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from functools import lru_cache
from typing import NamedTuple
from urllib.parse import unquote

from workbench.core.setting_kinds import INT64_MAX
from workbench.core.status import invalid_argument

_SERVED = re.compile(r"(?i)/v1/.*", re.DOTALL)
_MODEL = r"(?:(?:/versions/(\d+))|(?:/labels/([^/:]+)))?"
_INT64_DIGITS = 19


class Route(NamedTuple):
    """`action`: a verb (``predict`` ..., ``metadata``), ``status``, ``list``, ``live``, ``ready``,
    ``preflight`` or ``page not found``."""

    action: str
    model: str = ""
    version: int | None = None
    label: str | None = None


class UnreadableVersion(Exception):
    """A version number beyond 64 bits: TensorFlow Serving answers 400 with an empty body."""


def router(posted: Iterable[str], read: Iterable[str]) -> Callable[[str, str], Route]:
    """A function that says what `method` on `target` (path and query, undecoded) asks for.

    Args:
        posted: verbs after a colon, in POST requests.
        read: verbs after a slash, in GET requests.

    The function raises:
        ServingError: INVALID_ARGUMENT, `Malformed request: ...`.
        UnreadableVersion: the version number is beyond 64 bits.
    """
    # Verbs are matched in any case and then compared in lower case, as in the original:
    # `/Metadata` asks for the status.
    post_verbs, get_verbs = frozenset(posted), frozenset(read)
    posts, gets = "|".join(sorted(post_verbs)), "|".join(sorted(get_verbs))
    patterns = {
        "POST": re.compile(rf"(?i)/v1/models/([^/:]+){_MODEL}:({posts})"),
        "GET": re.compile(rf"(?i)/v1/models(?:/([^/:]+))?{_MODEL}(?:/({gets}))?"),
    }

    @lru_cache(maxsize=4096)
    def route(method: str, target: str) -> Route:
        path = target.partition("?")[0]
        if method in ("GET", "HEAD") and path in ("/health/live", "/health/ready"):
            return Route(path.rpartition("/")[2])
        if not _SERVED.fullmatch(target):
            return Route("page not found")
        if method == "OPTIONS":
            return Route("preflight")
        match = patterns[method].fullmatch(target) if method in patterns else None
        if match is None:
            raise invalid_argument(f"Malformed request: {method} {target}")
        model, version, label, verb = match.groups()
        number = None if version is None else _number(version)
        name = unquote(model or "")
        if method == "GET":
            if not name:
                # TensorFlow Serving says `Missing model name in request.` here.
                if version is None and label is None and verb is None:
                    return Route("list")
                raise invalid_argument("Missing model name in request.")
            action = verb if verb in get_verbs else "status"
        elif verb in post_verbs:
            action = verb
        else:
            raise invalid_argument(f"Malformed request: {method} {target}")
        return Route(action, name, number, None if label is None else unquote(label))

    return route


def _number(digits: str) -> int:
    # Python itself refuses to convert thousands of digits, so they are counted first.
    digits = digits.lstrip("0") or "0"
    if len(digits) > _INT64_DIGITS or int(digits) > INT64_MAX:
        raise UnreadableVersion
    return int(digits)
