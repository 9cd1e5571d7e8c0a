"""Which versions of a model serve, and how one replaces another.

`states` is the life of one version. `version_policy` chooses the wanted versions from those in a
folder. `policies` decides the next action of a version change, and `reconcile` is the whole loop
around them. `table` steps it by hand.

When versions fail: `quarantine` decides when a failing version is tried again, `outage` what its
callers hear, `holding` which requests wait out a gap, `poison` which inputs crash a version, and
`misfits` which shapes do that disagree with its signature.
"""

__all__ = [
    "states",
    "version_policy",
    "policies",
    "reconcile",
    "table",
    "quarantine",
    "outage",
    "holding",
    "misfits",
    "poison",
]
