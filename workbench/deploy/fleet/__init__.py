"""A fleet in the hands of a user.

`fleet_orders` is the state that the fleet is kept in: what each server has to serve.
`serve_config` puts it into a configuration of Ray Serve. `fleet_record` keeps where the fleet is.
`fleet_servers` asks its servers, and `rolling` changes them. `named_fleet`, `fleet_reports` and
`fleet_client` have the methods; `deploying` starts a fleet.
"""

__all__ = [
    "fleet_orders",
    "serve_config",
    "fleet_record",
    "fleet_servers",
    "rolling",
    "named_fleet",
    "fleet_reports",
    "fleet_client",
    "deploying",
]
