"""A program's side of a running server: starting one, finding it, asking it, changing it.

`serve` starts or finds a server and returns a `server.ServerClient`, whose abilities are in
`server_parts`. `serve_settings` checks a caller's settings. `models` turns a caller's model into a
SavedModel, `publishing` puts it into a version folder, `asking` sends it requests. `control_client`
has one method for each route of the server's control plane, and `control_answers` describes the
answers. `outcomes` says how a start ended, `warmup_recording` is a recording under way, and
`display` shows a server in a cell, a terminal and JupyterLab.
"""

__all__ = [
    "serve",
    "server",
    "serve_settings",
    "server_parts",
    "models",
    "publishing",
    "asking",
    "control_client",
    "control_answers",
    "outcomes",
    "warmup_recording",
    "display",
]
