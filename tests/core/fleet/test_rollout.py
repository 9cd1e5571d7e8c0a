"""The rules of a rollout, against a fleet that exists in virtual time only."""

from __future__ import annotations

from dataclasses import dataclass, field
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from workbench.core.fleet.rollout import (
    Action,
    Change,
    Counts,
    Finish,
    GoBack,
    Looked,
    RolloutRule,
    RolloutState,
    ServerReport,
    Wait,
    begin,
    decide,
)
from workbench.core.status import ServingError

OLD, NEW = 1, 2


@dataclass
class Server:
    """A server that changes some time after it was ordered to.

    Attributes:
        rate, error_share, latency_s: of its requests, before and after the change.
        takes_s: the time of the change; `refuses`: it cannot change.
    """

    rate: float = 100.0
    error_share: tuple[float, float] = (0.0, 0.0)
    latency_s: tuple[float, float] = (0.002, 0.002)
    takes_s: float = 1.0
    refuses: bool = False
    revision: int = OLD
    ordered_s: float | None = None
    counts: Counts = field(default_factory=Counts)
    refused: int | None = None

    def live(self, now: float, seconds: float) -> None:
        if self.ordered_s is not None and now - self.ordered_s >= self.takes_s:
            if self.refuses:
                self.refused = NEW
            elif self.revision != NEW:
                self.revision, self.counts = NEW, Counts()
        which = int(self.revision == NEW)
        requests = round(self.rate * seconds)
        failed = round(requests * self.error_share[which])
        answered = requests - failed
        self.counts += Counts(answered, failed, answered * self.latency_s[which])


@dataclass
class Fleet:
    servers: dict[str, Server]
    rule: RolloutRule = field(default_factory=RolloutRule)
    now: float = 0.0
    actions: list[Action] = field(default_factory=list)
    most_at_once: int = 0

    def reports(self) -> list[ServerReport]:
        return [
            ServerReport(name, s.revision, s.counts, s.refused, "it is broken" if s.refused else "")
            for name, s in self.servers.items()
        ]

    def step(self, state: RolloutState, seconds: float = 0.25) -> tuple[Action, RolloutState]:
        self.now += seconds
        for server in self.servers.values():
            server.live(self.now, seconds)
        action, state = decide(self.rule, state, self.now, self.reports())
        if isinstance(action, Change):
            for name in action.servers:
                self.servers[name].ordered_s = self.now
        changing = [
            s
            for s in self.servers.values()
            if s.ordered_s is not None and s.revision == OLD and s.refused is None
        ]
        self.most_at_once = max(self.most_at_once, len(changing))
        if not isinstance(action, Wait):
            self.actions.append(action)
        return action, state

    def roll(self, most_steps: int = 5000) -> Action:
        for server in self.servers.values():
            server.live(self.now, 10.0)
        state = begin(NEW, self.now, self.reports())
        for _ in range(most_steps):
            action, state = self.step(state)
            if isinstance(action, GoBack | Finish):
                return action
        raise AssertionError(f"it did not end: {self.actions}")


def fleet(count: int, rule: RolloutRule | None = None, **server: object) -> Fleet:
    servers = {f"s{n}": Server(**server) for n in range(count)}  # type: ignore[arg-type]
    return Fleet(servers, rule or RolloutRule())


@settings(deadline=None)
@given(st.integers(1, 12), st.integers(1, 4), st.floats(1.0, 4.0), st.integers(1, 3))
def test_a_good_change_reaches_every_server_and_never_too_many_at_once(
    count: int, first: int, growth: float, at_once: int
) -> None:
    many = fleet(count, RolloutRule(first=first, growth=growth, at_once=at_once))
    assert isinstance(many.roll(), Finish)
    assert {s.revision for s in many.servers.values()} == {NEW}
    ordered = [name for a in many.actions if isinstance(a, Change) for name in a.servers]
    assert sorted(ordered) == sorted(many.servers)
    assert many.most_at_once <= at_once


def test_one_server_is_first_and_then_ever_more_follow() -> None:
    many = fleet(8, RolloutRule(first=1, growth=2.0, at_once=8))
    many.roll()
    steps = [len(action.servers) for action in many.actions if isinstance(action, Change)]
    assert steps == [1, 1, 2, 4]
    # After each step it was looked.
    assert [type(action) for action in many.actions] == [Change, Looked] * 4 + [Finish]


def test_the_look_lasts_as_long_as_the_rule_says() -> None:
    pair = fleet(2, RolloutRule(look_s=7.0), takes_s=0.0)
    state = begin(NEW, 0.0, pair.reports())
    times = {}
    while True:
        action, state = pair.step(state)
        if isinstance(action, Change):
            times.setdefault(action.servers[0], pair.now)
        if len(times) == 2:
            break
    # The first server has changed at the next decision, and the look begins then.
    assert times["s1"] - times["s0"] == pytest.approx(7.0 + 2 * 0.25)


def test_a_server_that_refuses_ends_it_and_no_other_is_touched() -> None:
    many = fleet(5)
    many.servers["s0"].refuses = True
    action = many.roll()
    assert action == GoBack("server s0 could not change: it is broken")
    assert [s.ordered_s is not None for s in many.servers.values()] == [True] + [False] * 4


def test_a_change_that_fails_requests_goes_back() -> None:
    many = fleet(4, error_share=(0.0, 0.08))
    action = many.roll()
    assert isinstance(action, GoBack)
    assert action.reason.startswith("the changed servers fail more requests: ")
    assert "8.0% failed (the others: 0.0%)" in action.reason
    assert [s.revision for s in many.servers.values()].count(NEW) == 1


def test_requests_that_fail_everywhere_are_not_the_changes_fault() -> None:
    assert isinstance(fleet(4, error_share=(0.3, 0.3)).roll(), Finish)


def test_chance_alone_takes_fewer_than_one_of_a_hundred_good_changes_back() -> None:
    """300 rollouts over two servers, both of which fail each request with a probability of 30 %."""
    random = Random(5)

    @dataclass
    class Unlucky(Server):
        def live(self, now: float, seconds: float) -> None:
            super().live(now, seconds)
            requests = round(self.rate * seconds)
            failed = sum(random.random() < 0.3 for _ in range(requests))
            self.counts += Counts(requests - failed, failed, (requests - failed) * 0.002)

    taken_back = 0
    for _ in range(300):
        pair = Fleet({"s0": Unlucky(rate=40.0), "s1": Unlucky(rate=40.0)})
        taken_back += isinstance(pair.roll(), GoBack)
    assert taken_back < 3


def test_one_pause_of_the_machine_does_not_take_a_change_back() -> None:
    pair = fleet(2, RolloutRule(look_s=2.0), latency_s=(0.010, 0.010), takes_s=0.0)
    state = begin(NEW, 0.0, pair.reports())
    looks = 0
    while True:
        was = state
        action, state = pair.step(state)
        if state.looking and not was.looking:
            looks += 1
            if looks == 1:
                # 200 requests wait for 0.2 s each.
                pair.servers["s0"].counts += Counts(0, 0, 40.0)
        if isinstance(action, Looked):
            break
        assert not isinstance(action, GoBack)
    assert looks == 2


def test_a_change_that_answers_slowly_goes_back() -> None:
    action = fleet(3, latency_s=(0.010, 0.025)).roll()
    assert isinstance(action, GoBack)
    assert "25.0 ms (10.0 ms)" in action.reason


def test_quick_answers_are_never_too_slow() -> None:
    assert isinstance(fleet(3, latency_s=(0.0002, 0.002)).roll(), Finish)


def test_the_only_server_is_compared_with_itself_before() -> None:
    action = fleet(1, error_share=(0.0, 0.2)).roll()
    assert isinstance(action, GoBack)
    assert "all servers before: 0.0%" in action.reason


def test_too_few_requests_are_not_judged_and_the_log_says_so() -> None:
    few = fleet(2, rate=4.0, error_share=(0.0, 1.0))
    assert isinstance(few.roll(), Finish)
    assert Looked("20 requests, too few to judge") in few.actions


def test_a_server_that_takes_too_long_ends_it() -> None:
    slow = fleet(2, RolloutRule(change_s=5.0), takes_s=60.0)
    assert slow.roll() == GoBack("server s0 has not changed within 5 s")


def test_a_server_that_ends_meanwhile_is_not_waited_for() -> None:
    many = fleet(3, takes_s=3.0)
    state = begin(NEW, 0.0, many.reports())
    action, state = many.step(state)
    assert action == Change(("s0",))
    gone = many.servers.pop("s0")
    many.servers["s9"] = Server()  # its replacement serves the old plan
    while not isinstance(action, Change) or action.servers == ("s0",):
        action, state = many.step(state)
    # It might have been only silent.
    assert many.now >= RolloutRule().gone_s
    while not isinstance(action, Finish):
        action, state = many.step(state)
    assert {s.revision for s in many.servers.values()} == {NEW}
    assert gone.revision == OLD


def test_a_server_that_is_silent_for_a_moment_keeps_its_place() -> None:
    pair = fleet(2, takes_s=0.0)
    state = begin(NEW, 0.0, pair.reports())
    _, state = pair.step(state)
    silent = pair.servers.pop("s0")
    for _ in range(8):
        action, state = pair.step(state)
        assert isinstance(action, Wait)
    pair.servers["s0"] = silent
    action, state = pair.step(state)
    assert isinstance(action, Wait)
    assert state.looking


def test_counts_begin_anew_with_a_new_version() -> None:
    assert Counts(5, 1, 0.5).since(Counts(100, 3, 9.0)) == Counts(5, 1, 0.5)
    assert Counts(120, 5, 9.5).since(Counts(100, 3, 9.0)) == Counts(20, 2, 0.5)


def test_a_rule_is_checked_and_survives_json() -> None:
    rule = RolloutRule(first=2, look_s=0.0)
    assert RolloutRule.from_json(rule.to_json()) == rule
    with pytest.raises(ServingError, match="'growth' must be a number, at least 1; was 0"):
        RolloutRule(growth=0)
    with pytest.raises(ServingError, match="fist"):
        RolloutRule.from_json({"fist": 1})
