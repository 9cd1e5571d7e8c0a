"""The abilities of a client of a running server, one class for each idea.

`named_server` finds the server and describes it. `served_settings` reads and changes a model's
settings, `served_versions` publishes versions and takes them back (`waiting` waits for them),
`server_reports` shows memory and events. `client.server.ServerClient` has them all.
"""

__all__ = ["named_server", "served_settings", "served_versions", "server_reports", "waiting"]
