"""Programs that are not ours, such as HAProxy and Ray: `owned_process` ends one with its owner.
`owned_folder` makes folders that are removed when their owner has ended.
"""

__all__ = ["owned_process", "owned_folder"]
