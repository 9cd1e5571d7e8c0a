"""Memory, measured and reserved.

`memory_reading` reads a process, `gpu` reads GPUs, and `memory_ledger` keeps samples of both.
`estimates` says what a version will take, and `reservations` reserves it.
"""

__all__ = ["memory_reading", "gpu", "memory_ledger", "estimates", "reservations"]
