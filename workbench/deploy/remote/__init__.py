"""A server on another machine, with the methods of one on this machine.

`remote_control` reaches its control plane over TCP; `remote_server` is the server itself.
"""

__all__ = ["remote_control", "remote_server"]
