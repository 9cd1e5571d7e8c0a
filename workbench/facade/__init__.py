"""The public face of the product: `serve()`, `connect()`, `servers()` and the `Server` they return.

`Server` is the client of a running server with the experiments and the live views as methods. Each
of these imports its code when it is called, so a program pays only for those that it uses.
`fleet_methods` has those about many servers, `notebook_fleet` is such a fleet, and
`fleet_entrances` has the functions that return one. `entrances` has the functions that return a
`Server`; `magics` are `%serve` and `%%serve`. `tracebacks` shortens our refusals in a notebook's
cell to the user's own lines.
"""

from workbench.facade.entrances import connect, serve, servers
from workbench.facade.notebook_server import Server

__all__ = [
    "Server",
    "connect",
    "serve",
    "servers",
    "magics",
    "tracebacks",
    "fleet_entrances",
    "notebook_fleet",
]
