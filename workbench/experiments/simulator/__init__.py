"""The server's batching in virtual time.

`calibrate` measures run times through a running server, `hiccups` how often the machine pauses, and
`loop_costs` what the event loop spends; `fit` makes a `service_time` of them, which `calibration`
keeps and `calibration_figure` draws. `simulate` predicts with it, by driving a `virtual_server`
(`experiments.fleet` drives many of them), and `prediction` says how far that may be off.
"""

__all__ = [
    "service_time",
    "hiccups",
    "loop_costs",
    "fit",
    "calibrate",
    "calibration",
    "calibration_figure",
    "virtual_server",
    "simulate",
    "prediction",
]
