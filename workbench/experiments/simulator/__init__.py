"""The server's batching in virtual time.

`calibrate` measures run times through a running server, `hiccups` how often the machine pauses;
both go into `service_time`, and `simulate` predicts with it.
"""

__all__ = ["service_time", "hiccups", "calibrate", "simulate"]
