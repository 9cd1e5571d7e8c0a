"""The supervisor and the server process that it keeps alive.

`supervisor` starts the server process, restarts it when it dies, and ends it with its owner.
`ports` are the listening sockets that it holds. `server_process` is that process, `data_plane` its
REST and gRPC side, and `keeping` what it keeps on disk.
"""

__all__ = ["supervisor"]
