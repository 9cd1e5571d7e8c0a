"""From a model to a numbered folder: `saving` writes beside and renames, `fingerprint` recognises a
model that is served already, `links` follows paths as their user wrote them.
"""

__all__ = ["saving", "fingerprint", "links"]
