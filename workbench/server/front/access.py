"""Decides who may call the data plane, from the head of a request, before its body is read.

Three checks, each against another attacker: the bearer token (another user of the same machine),
the Host header (a web page that rebinds its own name to 127.0.0.1), and the Origin header (a web
page that calls this server directly).
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass

from workbench.processes.tokens import TOKEN_HEADER, Token
from workbench.server.front.json.responses import encode_error

LOOPBACK_HOSTS = frozenset({"localhost", "127.0.0.1", "[::1]"})
TOKEN_FREE_PATHS = frozenset({b"/health/live", b"/health/ready"})
_TOKEN_HEADER = TOKEN_HEADER.encode()
_SEEN_HOSTS = 16  # good Host headers that are remembered; most requests send the same one

NEEDS_TOKEN = (
    "This server needs its bearer token: send the header 'Authorization: Bearer <token>', or "
    "'X-Workbench-Token: <token>' through a proxy that takes Authorization for itself "
    "(server.token in Python, `workbench status --token NAME` in a terminal)."
)


@dataclass(frozen=True, slots=True)
class Refusal:
    """A final answer given instead of handling a request.

    `page` is an HTML page to send instead of the message.
    """

    status: int
    message: str
    headers: tuple[tuple[str, str], ...] = ()
    page: bytes | None = None

    @property
    def body(self) -> bytes:
        """The page, or the message as JSON in TensorFlow Serving's layout of errors."""
        return encode_error(self.message) if self.page is None else self.page

    @property
    def content_type(self) -> str:
        """Of the body."""
        return "text/html" if self.page else "application/json"


_NO_TOKEN = Refusal(401, NEEDS_TOKEN, (("WWW-Authenticate", "Bearer"),))


class AccessPolicy:
    """Checks the head of every request. Its `repr` does not show the token."""

    __slots__ = ("_hosts", "_origins", "_seen_hosts", "_token")

    def __init__(
        self,
        token: str | None = None,
        allowed_hosts: Collection[str] | None = None,
        allowed_origins: Collection[str] = (),
    ) -> None:
        """
        Args:
            token: the bearer token every caller must send; None asks for none.
            allowed_hosts: names that the Host header may have, without port (IPv6 in brackets):
                `LOOPBACK_HOSTS` for a server on loopback; None accepts any.
            allowed_origins: origins of web pages that may call (``https://lab.example``);
                ``"*"`` among them accepts all. A request without Origin is not from a web page.
        """
        self._token = None if token is None else Token(token)
        self._hosts = (
            None
            if allowed_hosts is None
            else frozenset(host.lower().encode("latin-1") for host in allowed_hosts)
        )
        self._seen_hosts: set[bytes] = set()
        self._origins = frozenset(origin.encode("latin-1") for origin in allowed_origins)

    def __repr__(self) -> str:
        token = "none" if self._token is None else "required"
        return f"AccessPolicy(token {token}, hosts {self._hosts}, origins {self._origins})"

    def check(
        self,
        method: bytes,
        target: bytes,
        headers: Mapping[bytes, bytes],
        authority: bytes | None = None,
    ) -> Refusal | None:
        """None if the request may pass; `headers` has lower-case names, `target` is undecoded.

        `authority` is the host of a target in absolute form (``GET http://host/path``): it goes
        before the Host header (RFC 9112, 3.2.2), so both must be names of this server.

        OPTIONS passes: it does nothing, a browser's preflight request cannot carry a token, and
        without the headers of CORS in the answer the browser keeps its page from going on.
        """
        if method == b"OPTIONS":
            return None
        if self._hosts is not None:
            # Without Host it is HTTP/1.0, which no browser speaks.
            host = headers.get(b"host")
            if authority is not None and not self._knows(authority, self._hosts):
                return _unknown_host(authority)
            if host is not None and not self._knows(host, self._hosts):
                return _unknown_host(host)
        origin = headers.get(b"origin")
        if origin is not None and origin not in self._origins and b"*" not in self._origins:
            return Refusal(
                403,
                f"Origin {_shown(origin)} may not call this server. "
                "Allow it when starting the server.",
            )
        token = self._token
        if token is None or token.carried(
            headers.get(b"authorization"), headers.get(_TOKEN_HEADER)
        ):
            return None
        if target.partition(b"?")[0] in TOKEN_FREE_PATHS:
            return None
        return _NO_TOKEN

    def _knows(self, host: bytes, allowed: frozenset[bytes]) -> bool:
        if host in self._seen_hosts:
            return True
        name, _, port = host.rpartition(b":")
        if (name if port.isdigit() else host).lower() not in allowed:
            return False
        if len(self._seen_hosts) < _SEEN_HOSTS:
            self._seen_hosts.add(host)
        return True


def _unknown_host(host: bytes) -> Refusal:
    return Refusal(
        403,
        f"Host {_shown(host)} is not one of this server's names. Call it by the address it listens "
        "on, or allow the name when starting it.",
    )


def _shown(value: bytes) -> str:
    """A header's value for a message: quoted, and short whatever was sent."""
    return repr(value[:100].decode("latin-1"))
