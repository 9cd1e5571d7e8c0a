"""The server's batching in virtual time.

`calibrate` measures run times through a running server, `hiccups` how often the machine pauses;
both go into `service_time`, and `simulate` predicts with it. `calibration` keeps what was measured.
"""

__all__ = ["service_time", "hiccups", "calibrate", "calibration", "simulate"]
