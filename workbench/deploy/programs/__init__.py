"""Programs that are not ours, such as HAProxy and Ray: `owned_process` ends one with its owner."""

__all__ = ["owned_process"]
