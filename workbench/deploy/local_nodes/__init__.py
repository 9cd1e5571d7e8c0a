"""A Ray cluster of several nodes on one machine, for tests, labs and first steps.

`cluster` starts and ends the nodes. `node_command` is the command line of one. `node_network` gives
each node an address of its own: in a network namespace where this process may make one, otherwise
on loopback.
"""

__all__ = ["cluster", "node_command", "node_network"]
