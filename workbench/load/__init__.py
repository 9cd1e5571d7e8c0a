"""Load and statistics that can be trusted.

`arrivals` draws the times of requests before the run. `histogram` counts latencies, and `intervals`
says how certain a measured figure is. `packed_numbers` keeps arrays short in JSON.
"""

__all__ = ["arrivals", "histogram", "intervals", "packed_numbers"]
