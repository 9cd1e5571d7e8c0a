"""The sweep explorer: `sweep_explorer` is the live view, `explorer_figure` the picture that stays."""

__all__ = ["sweep_explorer"]
