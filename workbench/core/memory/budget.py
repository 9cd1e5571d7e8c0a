"""The memory budget: its reservations, whether one more version fits, and a change that helps.

A *resource* is ``host`` or ``gpu:N``. A load reserves its peak before it begins, and its steady
memory when it is done, until its process is gone. A version that does not fit is refused, with the
cheapest change that would make it fit.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

from workbench.core.versions.policies import BY_MEMORY, TRANSITIONS, transition_named

Sizes = Mapping[str, int]
"""Bytes by resource."""


class Budget:
    """Limits and reservations, in bytes; `limits` may be changed at any time.

    A limit below the reservations takes nothing away, but admits no further version.
    """

    def __init__(self, limits: Sizes) -> None:
        self.limits = dict(limits)
        self._claims: dict[Hashable, dict[str, int]] = {}

    def reserved(self, resource: str) -> int:
        """The bytes that all reservations hold of a resource."""
        return sum(claim.get(resource, 0) for claim in self._claims.values())

    def free(self, resource: str) -> int:
        """The bytes that the next version may take; none of a resource without a limit."""
        return self.limits.get(resource, 0) - self.reserved(resource)

    def claim(self, key: Hashable) -> dict[str, int]:
        """The bytes reserved for `key` by resource; empty if there are none."""
        return dict(self._claims.get(key, {}))

    def reserve(self, key: Hashable, needs: Sizes) -> str | None:
        """Reserve `needs` for `key`, in place of what it had; all or nothing.

        Returns:
            None, or the first resource with too little: then nothing has changed.
        """
        mine = self._claims.get(key, {})
        for resource, need in needs.items():
            if need > self.free(resource) + mine.get(resource, 0):
                return resource
        self._claims[key] = dict(needs)
        return None

    def settle(self, key: Hashable, takes: Sizes) -> None:
        """Replace a reservation by the bytes that are really taken, less or more. Does nothing if
        the reservation is gone."""
        if key in self._claims:
            self._claims[key] = dict(takes)

    def release(self, key: Hashable) -> bool:
        """Give back a reservation.

        Returns:
            Whether there was one.
        """
        return self._claims.pop(key, None) is not None

    def to_json(self) -> dict[str, Any]:
        """The limit, the reserved and the free bytes of each resource, as plain data."""
        return {
            name: {"limit": limit, "reserved": self.reserved(name), "free": self.free(name)}
            for name, limit in self.limits.items()
        }


@dataclass(frozen=True)
class Need:
    """The bytes that a load takes of each resource.

    Attributes:
        peak: at most, while it loads.
        steady: when it is done.
        prepared: before its weights are read: beside the old version under `staged`.
    """

    peak: Sizes
    steady: Sizes
    prepared: Sizes


@dataclass(frozen=True)
class Standing:
    """A version that holds a reservation; `goes`: the new version is to take its place."""

    model: str
    version: int
    takes: Sizes
    goes: bool = False


@dataclass(frozen=True)
class Fit:
    """Whether a load fits under a transition.

    Attributes:
        resource: the one that decides: the first that has too little, else the fullest.
        need: the peak there; `free`: what the load will find; `limit`: of the resource.
        cure: the cheapest thing that would make it fit, in words; empty where it fits.
    """

    transition: str
    fits: bool
    resource: str
    need: int
    free: int
    limit: int
    cure: str = ""

    @property
    def words(self) -> str:
        """``needs 1.2 GB, 1.5 GB free``, and the resource where it is not the host."""
        where = "" if self.resource == "host" else f" on {self.resource}"
        return f"needs {size(self.need)}, {size(max(0, self.free))} free{where}"

    def to_json(self) -> dict[str, Any]:
        """All fields and `words`, as plain data."""
        return {**asdict(self), "words": self.words}


_ITSELF = -1


def fits(
    budget: Budget,
    model: str,
    need: Need,
    transition: str,
    standing: Sequence[Standing],
    own: Sizes | None = None,
) -> Fit:
    """Whether another version of `model` fits, and if not, a change that would help.

    Args:
        standing: every other version that holds a reservation.
        own: the bytes that it has reserved already, which the need replaces.
    """
    standing = [*standing, Standing(model, _ITSELF, own, goes=True)] if own else standing
    found = _fits(budget, need, transition, standing)
    if found.fits:
        return found
    return replace(found, cure=_cure(budget, model, need, standing, found))


def _fits(
    budget: Budget,
    need: Need,
    transition: str,
    standing: Iterable[Standing],
    without: Iterable[Standing] = (),
) -> Fit:
    """The same without a cure; as if those in `without` were gone."""
    chosen = transition_named(transition)
    leaving = [s for s in standing if s.goes and chosen.makes_way]
    gone = [*without, *(s for s in standing if s.version == _ITSELF)]
    tightest: Fit | None = None
    for resource, peak in need.peak.items():
        before = budget.free(resource) + sum(s.takes.get(resource, 0) for s in gone)
        free = before + sum(s.takes.get(resource, 0) for s in leaving if s not in gone)
        enough = peak <= free
        found = Fit(transition, enough, resource, peak, free, budget.limits.get(resource, 0))
        prepared = need.prepared.get(resource, 0)
        if chosen.stages and prepared > before:
            # Beside the old version there is not even room for a worker without weights.
            found = Fit(transition, False, resource, prepared, before, found.limit)
        if not found.fits:
            return found
        if tightest is None or free - peak < tightest.free - tightest.need:
            tightest = found
    return tightest or Fit(transition, True, "host", 0, budget.free("host"), 0)


def _cure(budget: Budget, model: str, need: Need, standing: Sequence[Standing], found: Fit) -> str:
    """The cheapest: another transition, fewer versions, another model less, more memory."""
    lightness = transition_named(found.transition).lightness
    for other in (each for each in BY_MEMORY if TRANSITIONS[each].lightness > lightness):
        fit = _fits(budget, need, other, standing)
        if fit.fits:
            return f"it fits under {other}: {fit.words}"
    by_size = sorted(standing, key=lambda s: s.takes.get(found.resource, 0))
    for each in sorted(by_size, key=lambda s: s.model != model):
        if not each.goes and _fits(budget, need, found.transition, standing, [each]).fits:
            whose = "" if each.model == model else f" of {each.model}"
            takes = size(each.takes.get(found.resource, 0))
            return f"it fits without version {each.version}{whose}, which takes {takes}"
    enough = size(found.limit + found.need - found.free, up=True)
    where = "" if found.resource == "host" else f" for {found.resource}"
    return f"it fits with a limit of {enough}{where} (now {size(found.limit)})"


def size(nbytes: int, up: bool = False) -> str:
    """Bytes as people read them; `up` rounds up, for a limit that must suffice."""
    unit, scale, digits = ("GB", 2**30, 1) if nbytes >= 2**30 else ("MB", 2**20, 0)
    step = scale / 10**digits
    steps = -(-nbytes // step) if up else round(nbytes / step)
    return f"{steps * step / scale:.{digits}f} {unit}"
