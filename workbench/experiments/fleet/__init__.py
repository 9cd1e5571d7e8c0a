"""Many servers in virtual time: what a fleet does with a load, a loss or a new version.

`fleet_setting` has the servers, the balancers before them and what happens to them,
`fleet_outcomes` how a request can end. `simulate_fleet` runs them and compares balancing policies.
Inside, `fleet_server` is a place for servers, `fleet_balancer` sends requests to them, and
`fleet_simulation` is the loop of events around both; `fleet_checks` keeps what balancers know, and
`fleet_operations` loses, starts, removes and changes servers. `fleet_result` is what comes out, and
`fleet_figure` draws it.
"""

__all__ = [
    "fleet_setting",
    "fleet_outcomes",
    "simulate_fleet",
    "fleet_server",
    "fleet_balancer",
    "fleet_simulation",
    "fleet_checks",
    "fleet_operations",
    "fleet_result",
    "fleet_figure",
]
