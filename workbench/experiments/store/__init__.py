"""Experiments that outlive the kernel.

`store` keeps them in one SQLite file, `packed_arrays` keeps their arrays small. `running` shows
experiments under way, `progress` how far each is. `server_turns` lets one experiment at a time use
a server.
"""

__all__ = ["store", "packed_arrays", "running", "progress", "server_turns"]
