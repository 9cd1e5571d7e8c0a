"""The policy stepper: `stepper` is the live view, `stepper_figure` the picture that lasts."""

__all__ = ["stepper"]
