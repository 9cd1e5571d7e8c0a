"""Traffic recorded from a server that is in use, for measuring with it later.

`recorded_traffic` is the result: when requests came and how large they were. `traffic_recording`
records it from a running server, `traffic_figure` draws it, and `replay_traffic` sends it again.
"""

__all__ = ["recorded_traffic", "traffic_recording", "traffic_figure", "replay_traffic"]
