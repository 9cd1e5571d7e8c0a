"""Counting live traffic: `meters` are the counters, `traffic` the figures by second.
`warmup_recorder` records requests as a version's warm-up file, `traffic_recorder` only when they
arrive and how large they are.
"""

__all__ = ["meters", "traffic", "traffic_recorder", "warmup_recorder"]
