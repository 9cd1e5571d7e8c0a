"""The transition timeline: `timeline` is the live view, `timeline_figure` the picture that stays."""

__all__ = ["timeline"]
