"""The arithmetic of memory: numbers in, numbers out.

`budget` keeps what is promised to each version and decides whether one more fits. `ledger` divides
the memory of a device among its owners, down to the last byte.
"""

__all__ = ["budget", "ledger"]
