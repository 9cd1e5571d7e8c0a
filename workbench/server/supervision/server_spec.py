"""What a supervisor passes to the server process that it starts."""

from __future__ import annotations

import json
from dataclasses import dataclass

from workbench.processes.lifetime import ProcessId
from workbench.processes.server_options import ServerOptions

EXIT_REFUSED = 255
"""The exit code of a server process whose models cannot be loaded (TensorFlow Serving's own)."""


@dataclass(frozen=True)
class ServerSpec:
    """How one server process is started. It holds the token, so it is never in a command line.

    Attributes:
        options: with the token and the gRPC port that are in force; without `models`, which the
            server process reads from its folder.
        folder: the server's private folder.
        socket: the control plane's socket file.
        supervisor: the process that starts this one, and that it ends with.
        keeper: the process that starts a supervisor again that has died. While it lives, the folder
            is kept.
        listen_fd: REST's listening socket. The supervisor holds it as well, so callers wait instead
            of being refused while a server process is replaced. None: no REST.
        ready_fd: a pipe for one line of JSON: ``{"ready": ...}`` or ``{"failed": ...}``.
    """

    options: ServerOptions
    folder: str
    socket: str
    supervisor: ProcessId
    keeper: ProcessId | None = None
    listen_fd: int | None = None
    ready_fd: int = -1

    def to_bytes(self) -> bytes:
        """JSON, for `from_bytes`."""
        return json.dumps({**vars(self), "options": self.options.to_json()}).encode()

    @classmethod
    def from_bytes(cls, data: bytes) -> ServerSpec:
        """The spec that `to_bytes` wrote."""
        read = json.loads(data)
        read["options"] = ServerOptions.from_json(read["options"])
        for name in ("supervisor", "keeper"):
            if read[name] is not None:
                read[name] = ProcessId(*read[name])
        return cls(**read)
