"""Load and statistics that can be trusted.

`arrivals` draws the times of requests before the run. `histogram` counts latencies, and `intervals`
says how certain a measured figure is.
"""

__all__ = ["arrivals", "histogram", "intervals"]
