"""Writes models into numbered version folders.

`saving` writes to a temporary folder and renames it, `interface` asks before the signatures change,
`fingerprint` recognises a model that is
served already, `links` keeps paths as their user wrote them.
"""

__all__ = ["saving", "interface", "fingerprint", "links"]
