"""The server's batching in virtual time.

`calibrate` measures run times through a running server, `hiccups` how often the machine pauses;
both go into `service_time`, which `calibration` keeps and `calibration_figure` draws. `simulate`
predicts with it, by driving a `virtual_server`.
"""

__all__ = ["service_time", "hiccups", "calibrate", "calibration", "calibration_figure", "simulate"]
