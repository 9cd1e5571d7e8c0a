"""What is on other machines: servers, and the head of a Ray cluster.

`remote_control` reaches a server's control plane over TCP; `remote_server` has the methods of a
server on this machine. `ray_head` is the REST API of a Ray cluster.
"""

__all__ = ["remote_control", "remote_server", "ray_head"]
