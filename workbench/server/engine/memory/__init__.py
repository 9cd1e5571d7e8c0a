"""Memory, measured and reserved.

A `process` is one of the server's. `memory_reading` reads its memory, `gpu` reads GPUs, and
`memory_ledger` keeps samples of both.
`estimates` says what a version will take, and `reservations` reserves it.
"""

__all__ = ["process", "memory_reading", "gpu", "memory_ledger", "estimates", "reservations"]
