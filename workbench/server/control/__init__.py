"""The control plane: JSON over a unix socket that only its user can open.

`control_plane` has the routes over models and the server; `handling` is what all routes share.
`memory_routes`, `pulse_route`, `warmup_route` and `engine_route` have one subject each.
"""

__all__ = ["control_plane"]
