"""Counting live traffic: `meters` are the counters, `traffic` the figures by second.
`warmup_recorder` records requests as a version's warm-up file.
"""

__all__ = ["meters", "traffic", "warmup_recorder"]
