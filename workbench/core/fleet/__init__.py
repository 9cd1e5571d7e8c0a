"""How many servers answer as one.

`balancing` chooses the server for each request among those that are up, as far as `health` knows.
`autoscaling` decides how many servers a load needs. The balancer of a deployment (HAProxy) has the
same rules; the simulator of a fleet runs these.
"""

__all__ = ["balancing", "health", "autoscaling"]
