"""How tensors and orders travel between processes of one machine.

A region (`regions`) is anonymous shared memory. `frames` sends tensors: a small header over a
socket, the bytes in a region. `channel` sends orders with file descriptors beside them.
`precise_timer` wakes an event loop exactly, `low_priority` runs long work without disturbing
requests, and `background_free` frees memory in a thread.
"""

__all__ = [
    "TENSORS",
    "background_free",
    "channel",
    "frames",
    "low_priority",
    "precise_timer",
    "regions",
]

TENSORS = "application/x-workbench-tensors"
"""Content type of binary bodies (`frames.encode_message`): no JSON, no loss, faster. It stands here
for clients that have not imported numpy."""
