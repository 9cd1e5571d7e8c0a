"""The policy stepper: `stepper` is the live view, `stepper_figure` the picture that stays."""

__all__ = ["stepper"]
