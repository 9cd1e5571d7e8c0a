"""A fleet in the hands of a user.

`fleet_orders` is the state that the fleet is kept in: what each server has to serve.
`serve_config` puts it into a configuration of Ray Serve. `fleet_record` keeps where the fleet is.
`fleet_servers` asks its servers, `rolling` changes them, `fleet_client` has the methods, and
`deploying` starts it.
"""

__all__ = [
    "fleet_orders",
    "serve_config",
    "fleet_record",
    "fleet_servers",
    "rolling",
    "fleet_client",
    "deploying",
]
