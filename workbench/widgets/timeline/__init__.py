"""The timeline of a server: `timeline` is the view, `timeline_figure` the picture that stays."""

__all__ = ["timeline"]
