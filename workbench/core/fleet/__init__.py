"""How many servers answer as one.

`balancing` chooses the server for each request among those that are up, as far as `health` knows.
`autoscaling` decides how many servers a load needs, and `rollout` brings a change to them, one
first. The deployment runs `autoscaling` and `rollout`, and its balancer (HAProxy) has the rules of
the other two; the simulator of a fleet runs all but `rollout`.
"""

__all__ = ["balancing", "health", "autoscaling", "rollout"]
