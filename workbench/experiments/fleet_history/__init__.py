"""A fleet over time: a lane for each server, and what was done to all of them.

`fleet_marks` reads what was done from the fleet's log, `fleet_lanes` what each server served from
its events and from what the balancers remember. `fleet_timeline` has both, and
`fleet_timeline_figure` draws them.
"""

__all__ = ["fleet_marks", "fleet_lanes", "fleet_timeline", "fleet_timeline_figure"]
