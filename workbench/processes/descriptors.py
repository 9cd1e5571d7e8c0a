"""As many file descriptors as the system lets this process have."""

from __future__ import annotations

import resource

_WANTED = 65_536
# For workers' lanes, control channels, files and bodies; the rest is for connections.
_OWN = 512


def raise_limit() -> int:
    """Raise the soft limit; the limit of descriptors there is then."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    most = _WANTED if hard == resource.RLIM_INFINITY else min(hard, _WANTED)
    if soft != resource.RLIM_INFINITY and soft < most:
        resource.setrlimit(resource.RLIMIT_NOFILE, (most, hard))
        soft = most
    return _WANTED if soft == resource.RLIM_INFINITY else soft


def connections_for(descriptors: int, wanted: int) -> int:
    """How many of the connections that are `wanted` there can be with so many descriptors."""
    return max(1, min(wanted, descriptors - _OWN))
