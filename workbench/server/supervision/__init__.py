"""The supervisor and the server process that it keeps alive.

`supervisor` starts the server process, restarts it when it dies, and ends it with its owner;
`supervisor_process` runs one as a process of its own. `ports` are the listening sockets that it
holds. `server_child` is a server process as the supervisor sees it, started with a `server_spec`.
`server_process` is that process itself, and `data_plane` its REST and gRPC side. `keeping` writes
the files of both.
"""

__all__ = ["supervisor"]
