"""The parts of a fleet that run on a Ray cluster; the only room that imports Ray.

`application` is the import path of the declarative configuration. `server_replica` owns one server,
`balancer_replica` one HAProxy; `balancer_agent` answers who wants to know the servers.
`scaling_policy` decides how many servers there are.
"""

__all__ = [
    "application",
    "server_replica",
    "balancer_replica",
    "balancer_agent",
    "scaling_policy",
]
