"""What a notebook or a script holds: `serve()`, `connect()`, `servers()` and `Server`.

`models` turns what a caller has into a SavedModel, `publishing` puts it into a version folder,
`asking` sends it requests. `control_client` speaks with the server's control plane,
`changing_settings` changes a model's settings, `outcomes` says how a start ended. `display` shows a
server in a cell, a terminal and JupyterLab; `magics` are `%serve` and `%%serve`.
"""

from workbench.client.serve import connect, serve, servers
from workbench.client.server import Server

__all__ = [
    "serve",
    "server",
    "models",
    "publishing",
    "asking",
    "control_client",
    "outcomes",
    "display",
    "magics",
    "Server",
    "connect",
    "servers",
]
