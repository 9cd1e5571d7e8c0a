"""The arithmetic of memory: numbers in, numbers out.

`memory_limits` declares what versions may take together. `budget` keeps what is promised to each
version and decides whether one more fits. `ledger` divides the memory of a device among its
owners, down to the last byte.
"""

__all__ = ["memory_limits", "budget", "ledger"]
