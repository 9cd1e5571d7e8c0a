"""Worker processes as the server sees them.

`zygote_handle` forks them, `worker_handle` loads and asks one, `heartbeat` terminates those that
hang.
"""

__all__ = ["zygote_handle", "worker_handle", "heartbeat"]
