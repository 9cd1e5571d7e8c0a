"""How many servers answer as one.

`autoscaling` decides how many servers a load needs.
"""

__all__ = ["autoscaling"]
