"""The balancing policies, by hand and against a model that counts everything anew."""

from __future__ import annotations

from collections import Counter
from random import Random

import pytest

from workbench.core.fleet.balancing import (
    POLICIES,
    BalancingPolicy,
    LeastOutstanding,
    RandomChoice,
    RoundRobin,
    TwoChoices,
    policy_named,
)
from workbench.core.status import ServingError


def made(kind: type[BalancingPolicy], servers: int, seed: int = 0) -> BalancingPolicy:
    policy = kind(servers, Random(seed))
    for server in range(servers):
        policy.add(server)
    return policy


@pytest.mark.parametrize("kind", POLICIES.values())
def test_only_servers_that_are_up_are_chosen(kind: type[BalancingPolicy]) -> None:
    policy = kind(3, Random(1))
    assert policy.choose() is None
    policy.add(2)
    policy.add(0)
    assert {policy.choose() for _ in range(50)} <= {0, 2}
    policy.remove(2)
    assert (policy.is_up(0), policy.is_up(1), policy.is_up(2)) == (True, False, False)
    assert {policy.choose() for _ in range(50)} == {0}
    policy.remove(0)
    assert policy.choose() is None


def test_round_robin_takes_the_servers_in_turn() -> None:
    policy = made(RoundRobin, 3)
    assert [policy.choose() for _ in range(7)] == [0, 1, 2, 0, 1, 2, 0]
    policy.remove(1)
    assert Counter(policy.choose() for _ in range(20)) == {0: 10, 2: 10}


def test_random_gives_all_servers_about_as_much() -> None:
    policy = made(RandomChoice, 10, seed=3)
    counts = Counter(policy.choose() for _ in range(20_000))
    # Four standard deviations of a binomial.
    assert all(abs(count - 2000) < 4 * (20_000 * 0.1 * 0.9) ** 0.5 for count in counts.values())
    assert len(counts) == 10


def test_two_choices_takes_the_better_of_two() -> None:
    """The server with the most requests is taken only if both draws are this one."""
    policy = made(TwoChoices, 4, seed=5)
    for _ in range(9):
        policy.sent(2)
    counts = Counter(policy.choose() for _ in range(16_000))
    assert counts[2] == pytest.approx(1000, rel=0.15)


def test_least_outstanding_takes_equals_in_turn() -> None:
    policy = made(LeastOutstanding, 3)
    order = []
    for _ in range(6):
        server = policy.choose()
        assert server is not None
        policy.sent(server)
        order.append(server)
    assert order == [0, 1, 2, 0, 1, 2]
    policy.ended(1)
    assert policy.choose() == 1
    policy.sent(1)
    # Server 1 has had two for a shorter time than the others.
    assert policy.choose() == 0


@pytest.mark.parametrize("seed", range(20))
def test_least_outstanding_always_finds_a_server_with_the_fewest(seed: int) -> None:
    """Servers come and go, are sent requests, answer and report."""
    random = Random(seed)
    policy = LeastOutstanding(8, random)
    counts, up = [0] * 8, set[int]()
    for _ in range(3000):
        server, deed = random.randrange(8), random.random()
        if deed < 0.05:
            (policy.remove if server in up else policy.add)(server)
            up ^= {server}
        elif deed < 0.1:
            counts[server] = random.randrange(6)
            policy.learn(server, counts[server])
        elif deed < 0.5 and counts[server]:
            counts[server] -= 1
            policy.ended(server)
        elif (chosen := policy.choose()) is not None:
            assert chosen in up
            assert counts[chosen] == min(counts[each] for each in up)
            counts[chosen] += 1
            policy.sent(chosen)
        else:
            assert not up
    assert policy.outstanding == counts
    assert set(policy.up) == up


def test_policies_have_names() -> None:
    assert policy_named("two_choices") is TwoChoices
    with pytest.raises(ServingError, match="Unknown balancing policy 'fastest': the policies are"):
        policy_named("fastest")
