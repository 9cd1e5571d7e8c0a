"""The bearer token of a server, and the two headers that may carry it.

`Authorization: Bearer TOKEN` is the usual one. Behind a proxy that takes `Authorization` for
itself, `X-Workbench-Token: TOKEN` carries it. gRPC's metadata use the same two names.
"""

from __future__ import annotations

import hmac

TOKEN_HEADER = "x-workbench-token"
"""In lower case, as HTTP headers are looked up and as gRPC's metadata keys are written."""


class Token:
    """A server's token; compares what a caller sends with it in constant time, and never shows it.

    Its two headers are independent of each other: one good token is enough, so that whatever a
    proxy makes of `Authorization` does no harm.
    """

    __slots__ = ("_bearer", "_token")

    def __init__(self, token: str) -> None:
        self._token = token.encode()
        self._bearer = b"Bearer " + self._token

    def __repr__(self) -> str:
        return "Token(...)"

    def carried(self, authorization: bytes | None, header: bytes | None) -> bool:
        """Whether the value of `Authorization`, or of `X-Workbench-Token`, carries the token."""
        if authorization is not None and hmac.compare_digest(authorization, self._bearer):
            return True
        if header is not None and hmac.compare_digest(header.strip(), self._token):
            return True
        if authorization is None:
            return False
        scheme, _, given = authorization.partition(b" ")
        return scheme.lower() == b"bearer" and hmac.compare_digest(given.strip(), self._token)
