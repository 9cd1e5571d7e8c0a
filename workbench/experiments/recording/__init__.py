"""Records live traffic, memory and states while something is done to a server.

`recording` records it, `recorded_timeline` makes stretches of time of its events,
`recording_figure` draws it.
"""

__all__ = ["recording", "recorded_timeline", "recording_figure"]
