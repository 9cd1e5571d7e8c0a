"""How many servers answer as one.

`autoscaling` decides how many servers a load needs. `rollout` brings a change to them, one first.
"""

__all__ = ["autoscaling", "rollout"]
