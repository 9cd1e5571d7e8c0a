"""The sweep explorer: `sweep_explorer` is the view, `explorer_figure` the picture that lasts."""

__all__ = ["sweep_explorer"]
