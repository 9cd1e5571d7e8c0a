"""What a REST URL asks for: TensorFlow Serving's grammar, plus three routes of ours.

The grammar is that of `http_rest_api_util.cc`; what is matched is the raw path *with* its
query, as there. Ours are `GET /v1/models` (a list), `/health/live` and `/health/ready`.
"""

from __future__ import annotations

import re
from functools import lru_cache
from typing import NamedTuple
from urllib.parse import unquote

from workbench.core.status import invalid_argument

_SERVED = re.compile(r"(?i)/v1/.*", re.DOTALL)
_POST = re.compile(
    r"(?i)/v1/models/([^/:]+)(?:(?:/versions/(\d+))|(?:/labels/([^/:]+)))?:(classify|regress|predict)"
)
_GET = re.compile(
    r"(?i)/v1/models(?:/([^/:]+))?(?:(?:/versions/(\d+))|(?:/labels/([^/:]+)))?(?:/(metadata))?"
)
_INT64_MAX = 2**63 - 1
_INT64_DIGITS = 19


class Route(NamedTuple):
    """`action`: ``predict``, ``classify``, ``regress``, ``status``, ``metadata``, ``list``,
    ``live``, ``ready``, ``preflight`` or ``page not found``."""

    action: str
    model: str = ""
    version: int | None = None
    label: str | None = None


class UnreadableVersion(Exception):
    """A version number beyond 64 bits: TensorFlow Serving answers 400 with an empty body."""


@lru_cache(maxsize=4096)
def route(method: str, target: str) -> Route:
    """What `method` on `target` (path and query, undecoded) asks for.

    Raises:
        ServingError: INVALID_ARGUMENT, `Malformed request: ...`.
        UnreadableVersion: the version number is beyond 64 bits.
    """
    path = target.partition("?")[0]
    if method in ("GET", "HEAD") and path in ("/health/live", "/health/ready"):
        return Route(path.rpartition("/")[2])
    if not _SERVED.fullmatch(target):
        return Route("page not found")
    if method == "OPTIONS":
        return Route("preflight")
    match = None
    if method == "POST":
        match = _POST.fullmatch(target)
    elif method == "GET":
        match = _GET.fullmatch(target)
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
        # The comparison is case-sensitive in the original too: `/Metadata` asks for the status.
        action = "metadata" if verb == "metadata" else "status"
    elif verb in ("classify", "regress", "predict"):
        action = verb
    else:
        raise invalid_argument(f"Malformed request: {method} {target}")
    return Route(action, name, number, None if label is None else unquote(label))


def _number(digits: str) -> int:
    # Python itself refuses to convert thousands of digits, so they are counted first.
    digits = digits.lstrip("0") or "0"
    if len(digits) > _INT64_DIGITS or int(digits) > _INT64_MAX:
        raise UnreadableVersion
    return int(digits)
