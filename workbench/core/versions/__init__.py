"""Which versions of a model serve, and how one replaces another.

`states` is the life of one version. `version_policy` chooses the wanted versions from those in a
folder, and `policies` decides the next step of a version change. `table` steps both by hand.

When versions fail: `quarantine` decides when a failing version is tried again, `outage` what its
callers hear, `holding` which requests wait out a gap, and `poison` which inputs crash a version.
"""

__all__ = [
    "states",
    "version_policy",
    "policies",
    "table",
    "quarantine",
    "outage",
    "holding",
    "poison",
]
