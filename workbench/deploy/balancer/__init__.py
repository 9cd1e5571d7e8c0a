"""HAProxy in front of the servers of a fleet.

`haproxy_config` writes its configuration, `haproxy_socket` talks to a running one, and
`balancer_process` starts one, keeps its list of servers up to date, and ends it. `server_history`
remembers its servers, also those that are gone.
"""

__all__ = ["haproxy_config", "haproxy_socket", "balancer_process", "server_history"]
