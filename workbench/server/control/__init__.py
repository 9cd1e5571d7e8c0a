"""The control plane: JSON over a unix socket that only its user can open.

`control_plane` listens and has the table of routes. `handling` is what all routes share. Each other
module has the routes of one subject: `process_routes`, `models_routes`, `events_routes`,
`memory_routes`, `pulse_route`, `warmup_route`, `traffic_routes` and `engine_route`.
"""

__all__ = ["control_plane"]
