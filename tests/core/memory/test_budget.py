"""The memory budget: nothing leaks, nobody takes what is not there, the cure is the cheapest."""

from __future__ import annotations

import hypothesis.strategies as st
import pytest
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from workbench.core.memory.budget import Budget, Fit, Need, Standing, fits, size

GB = 2**30
KEYS = st.sampled_from("abcdef")
SIZES = st.integers(0, 60)


class BudgetMachine(RuleBasedStateMachine):
    """Loads come and go; a plain dictionary says what must be reserved."""

    def __init__(self) -> None:
        super().__init__()
        self.limits = {"host": 100, "gpu:0": 50}
        self.budget = Budget(self.limits)
        self.model: dict[str, dict[str, int]] = {}

    def total(self, resource: str) -> int:
        return sum(claim.get(resource, 0) for claim in self.model.values())

    @rule(key=KEYS, host=SIZES, gpu=st.none() | SIZES)
    def reserve(self, key: str, host: int, gpu: int | None) -> None:
        needs = {"host": host} if gpu is None else {"host": host, "gpu:0": gpu}
        mine = self.model.get(key, {})
        short = [
            resource
            for resource, need in needs.items()
            if self.total(resource) - mine.get(resource, 0) + need > self.limits[resource]
        ]
        assert self.budget.reserve(key, needs) == (short[0] if short else None)
        if not short:
            self.model[key] = needs

    @rule(key=KEYS, share=st.floats(0, 1))
    def settle(self, key: str, share: float) -> None:
        takes = {r: int(share * need) for r, need in self.model.get(key, {}).items()}
        self.budget.settle(key, takes)
        if key in self.model:
            self.model[key] = takes

    @rule(key=KEYS)
    def release(self, key: str) -> None:
        assert self.budget.release(key) == (self.model.pop(key, None) is not None)

    @invariant()
    def adds_up(self) -> None:
        for resource, limit in self.limits.items():
            assert self.budget.reserved(resource) == self.total(resource) <= limit
            assert self.budget.free(resource) == limit - self.total(resource)
        assert {key: self.budget.claim(key) for key in self.model} == self.model

    def teardown(self) -> None:
        for key in "abcdef":
            self.budget.release(key)
        assert [self.budget.reserved(resource) for resource in self.limits] == [0, 0]


TestBudget = BudgetMachine.TestCase


def test_a_lower_limit_takes_nothing_away() -> None:
    budget = Budget({"host": 10})
    assert budget.reserve("a", {"host": 8}) is None
    budget.limits["host"] = 5
    assert (budget.reserved("host"), budget.free("host")) == (8, -3)
    assert budget.reserve("b", {"host": 1}) == "host"
    # What really is taken may be more than was reserved; it is told as it is.
    budget.settle("a", {"host": 12})
    assert budget.to_json() == {"host": {"limit": 5, "reserved": 12, "free": -7}}
    assert budget.reserve("c", {"gpu:3": 1}) == "gpu:3"


def need(peak: float, prepared: float = 0.1, resource: str = "host") -> Need:
    return Need(
        {resource: round(peak * GB)}, {resource: round(peak * GB)}, {resource: round(prepared * GB)}
    )


def standing(model: str, version: int, takes: float, goes: bool = False) -> Standing:
    return Standing(model, version, {"host": round(takes * GB)}, goes)


def budget_with(limit: float, *held: Standing) -> Budget:
    budget = Budget({"host": round(limit * GB)})
    for each in held:
        budget._claims[each.model, each.version] = dict(each.takes)
    return budget


OLD = standing("m", 1, 1.1, goes=True)


@pytest.mark.parametrize(
    ("transition", "limit", "held", "peak", "told"),
    [
        ("smooth", 2.5, [OLD], 1.2, ""),
        ("unload_first", 1.5, [OLD], 1.2, ""),
        ("resource_preserving+hold", 1.5, [OLD], 1.2, ""),
        ("staged", 1.5, [OLD], 1.2, ""),
        ("smooth", 1.5, [OLD], 1.2,
         "needs 1.2 GB, 410 MB free; it fits under staged: needs 1.2 GB, 1.5 GB free"),
        ("smooth", 1.15, [OLD], 1.1,
         "needs 1.1 GB, 51 MB free; it fits under unload_first: needs 1.1 GB, 1.2 GB free"),
        ("staged+hold", 1.15, [OLD], 1.1,
         "needs 102 MB, 51 MB free; it fits under unload_first: needs 1.1 GB, 1.2 GB free"),
        # Versions that stay: those of the same model first, the smallest that suffices.
        ("unload_first", 2.0, [standing("m", 2, 0.5), standing("m", 3, 1.0), standing("n", 1, 0.4)],
         1.0, "needs 1.0 GB, 102 MB free; it fits without version 3, which takes 1.0 GB"),
        ("smooth", 2.0, [standing("n", 1, 0.7), standing("o", 4, 0.9)], 1.0,
         "needs 1.0 GB, 410 MB free; it fits without version 1 of n, which takes 717 MB"),
        # Where no other one alone makes enough room, only a higher limit does.
        ("unload_first", 2.0, [standing("n", 1, 1.5), standing("o", 4, 1.2)], 2.0,
         "needs 2.0 GB, 0 MB free; it fits with a limit of 4.8 GB (now 2.0 GB)"),
        ("smooth", 1.0, [], 1.2,
         "needs 1.2 GB, 1.0 GB free; it fits with a limit of 1.3 GB (now 1.0 GB)"),
    ],
)  # fmt: skip
def test_whether_it_fits_and_what_would_help(
    transition: str, limit: float, held: list[Standing], peak: float, told: str
) -> None:
    found = fits(budget_with(limit, *held), "m", need(peak), transition, held)
    assert found.fits == (told == "")
    assert (f"{found.words}; {found.cure}" if told else found.cure) == told


def test_what_it_has_reserved_already_is_not_counted_twice() -> None:
    """A staged version holds the little that it needed so far."""
    own = {"host": round(0.1 * GB)}
    budget = Budget({"host": GB})
    assert budget.reserve("mine", own) is None
    assert not fits(budget, "m", need(1.0), "staged", []).fits
    assert fits(budget, "m", need(1.0), "staged", [], own).fits
    assert fits(budget, "m", need(1.0), "smooth", [], own).fits


def test_the_resource_that_decides_is_named() -> None:
    budget = Budget({"host": 10 * GB, "gpu:1": 2 * GB})
    both = Need({"host": GB, "gpu:1": 3 * GB}, {}, {})
    found = fits(budget, "m", both, "smooth", [])
    assert found == Fit(
        "smooth", False, "gpu:1", 3 * GB, 2 * GB, 2 * GB,
        "it fits with a limit of 3.0 GB for gpu:1 (now 2.0 GB)",
    )  # fmt: skip
    assert found.words == "needs 3.0 GB, 2.0 GB free on gpu:1"
    enough = fits(budget, "m", Need({"host": GB, "gpu:1": GB}, {}, {}), "smooth", [])
    assert (enough.fits, enough.resource) == (True, "gpu:1")
    assert enough.to_json() == {
        "transition": "smooth", "fits": True, "resource": "gpu:1", "need": GB, "free": 2 * GB,
        "limit": 2 * GB, "cure": "", "words": "needs 1.0 GB, 2.0 GB free on gpu:1",
    }  # fmt: skip


def test_sizes_as_people_read_them() -> None:
    assert [size(n) for n in (0, 2**20, 999 * 2**20, GB, 1.26 * GB)] == [  # type: ignore[arg-type]
        "0 MB", "1 MB", "999 MB", "1.0 GB", "1.3 GB",
    ]  # fmt: skip
    assert size(GB + 1, up=True) == "1.1 GB"
    assert size(2**20 + 1, up=True) == "2 MB"
