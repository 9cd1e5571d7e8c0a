"""Load on a server, from outside or from inside.

`generator` describes a load and runs it in a process of its own (`generator_process`). There
`load_run` keeps to the schedule and sends over any `load_connection`, by `http_sender` or
`grpc_sender`. `server_load` asks the server to load itself. `measure` makes one record of either,
and `load_server` measures a server as it is set. `borrowed_settings` changes settings and puts them
back.
"""

__all__ = ["generator", "server_load", "measure", "load_server", "borrowed_settings"]
