"""The timeline of a server: `timeline` is the view, `timeline_figure` the picture that lasts."""

__all__ = ["timeline"]
