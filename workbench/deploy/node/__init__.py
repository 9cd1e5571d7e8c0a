"""One server of a fleet, on its node.

`owned_server` starts a workbench server that ends with its owner. `plan_following` changes a server
until it serves as planned. `fleet_secret` makes the tokens of a fleet from one secret. Nothing here
knows the engine that placed the server.
"""

__all__ = ["fleet_secret", "plan_following", "owned_server"]
