"""The limit of open file descriptors, raised as far as the system allows."""

from __future__ import annotations

import resource

_WANTED = 65_536
# Descriptors for workers' lanes, control channels, files and bodies. The rest is for connections.
_OWN = 512


def raise_limit() -> int:
    """Raise the soft limit; returns the number of descriptors that this process may have."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    most = _WANTED if hard == resource.RLIM_INFINITY else min(hard, _WANTED)
    if soft != resource.RLIM_INFINITY and soft < most:
        resource.setrlimit(resource.RLIMIT_NOFILE, (most, hard))
        soft = most
    return _WANTED if soft == resource.RLIM_INFINITY else soft


def connections_for(descriptors: int, wanted: int) -> int:
    """The number of connections, at most `wanted`, that so many descriptors allow."""
    return max(1, min(wanted, descriptors - _OWN))
