"""Worker processes as the server sees them.

`zygote_handle` forks them, `worker_handle` loads a version in one and sends it batches, and
`heartbeat` terminates workers that hang.
"""

__all__ = ["zygote_handle", "worker_handle", "heartbeat"]
