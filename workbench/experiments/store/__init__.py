"""Experiments that outlive the kernel.

`store` keeps them in one SQLite file, `packed_arrays` keeps their arrays small. `running` shows
experiments under way, `progress` how far each is.
"""

__all__ = ["store", "packed_arrays", "running", "progress"]
