"""The fleet explorer: sliders over a simulated fleet of servers.

`fleet_explorer` is the view. `fleet_choice` has the positions of its sliders, `fleet_scenario`
turns them into a simulation and runs it, `fleet_words` says in a sentence what came of it, and
`fleet_page` makes the data that the browser draws.
"""

__all__ = ["fleet_explorer", "fleet_choice"]
