"""Host names that a server accepts besides those of loopback."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any

from workbench.core.status import invalid_argument

ANY_HOST = "*"
_HOST = re.compile(r"(?:[A-Za-z0-9](?:[A-Za-z0-9_.-]*[A-Za-z0-9])?|\[[0-9A-Fa-f:.]+\])\Z")


def host_names(value: Any, setting: str = "allowed_hosts") -> tuple[str, ...]:
    """Check a list of host names; ``"*"`` among them means any name.

    A name is that of a Host header, without its port: ``hub.example.org``, ``10.0.0.7`` or
    ``[fd00::7]``.

    Raises:
        ServingError: INVALID_ARGUMENT, naming the value that is not a host name.
    """
    if isinstance(value, str | bytes) or not isinstance(value, Iterable):
        raise invalid_argument(
            f"{setting} must be a list of host names like ['hub.example.org']; was {value!r}"
        )
    names = tuple(value)
    for name in names:
        if not isinstance(name, str) or (name != ANY_HOST and not _HOST.match(name)):
            raise invalid_argument(
                f"{setting} must hold host names without scheme, port or path, like "
                f"'hub.example.org'; was {name!r}"
            )
    return names
