"""Which server answers the next request: the policies of a balancer.

A balancer knows two things about each server: whether it is up, as far as its health checks say
(`health`), and how many requests it is waiting for, its *outstanding* requests. A policy chooses by
these:

* **Round robin** takes the servers in turn. It does not look at outstanding requests, so a slow
  server gets as many as a fast one.
* **Random** needs to remember nothing. By chance some servers get many more requests than others:
  of n requests to n servers, the unluckiest gets about log n / log log n.
* **Two choices** draws two servers at random and takes the one with fewer outstanding requests. The
  longest queue then grows only as log log n (Mitzenmacher, "The power of two choices in randomized
  load balancing", 2001), so it stays short however many servers there are.
* **Least outstanding** takes the server with the fewest, and those that have equally many in turn.
  It is best as long as what it knows is true. Several balancers that all know the same old news
  send their requests to the same server: the *herd*.

The names in HAProxy are `roundrobin`, `random(1)`, `random(2)` and `leastconn`. Servers are
numbered from 0. Every choice takes constant time, however many servers there are.
"""

from __future__ import annotations

from collections import OrderedDict, defaultdict
from collections.abc import Mapping
from typing import Protocol

from workbench.core.status import invalid_argument


class Random(Protocol):
    """Where random numbers come from, such as `random.Random`."""

    def random(self) -> float:
        """A number from 0 to below 1; all are equally likely."""


class BalancingPolicy:
    """What all policies share: the servers that are up, and their outstanding requests.

    Attributes:
        up: the servers that are up, in no certain order.
        outstanding: by server, the requests that it was sent and has not answered, as far as the
            balancer knows.
    """

    def __init__(self, servers: int, random: Random) -> None:
        """All of so many servers are down at first."""
        self.up: list[int] = []
        self.outstanding = [0] * servers
        self._place = [-1] * servers  # in `up`
        self._random = random.random

    def choose(self) -> int | None:
        """The server for the next request; None if none is up."""
        raise NotImplementedError

    def sent(self, server: int) -> None:
        """The server was sent a request."""
        self.outstanding[server] += 1

    def ended(self, server: int) -> None:
        """The server has answered a request, or will never answer it."""
        self.outstanding[server] -= 1

    def learn(self, server: int, outstanding: int) -> None:
        """The server reports that it has so many outstanding requests, of all balancers."""
        self.outstanding[server] = outstanding

    def add(self, server: int) -> None:
        """The server is up. Its outstanding requests stay."""
        self._place[server] = len(self.up)
        self.up.append(server)

    def remove(self, server: int) -> None:
        """The server is down, or gets no more requests."""
        # The last one takes its place.
        place, last = self._place[server], self.up.pop()
        if last != server:
            self.up[place] = last
            self._place[last] = place
        self._place[server] = -1

    def is_up(self, server: int) -> bool:
        """Whether it may be chosen."""
        return self._place[server] >= 0


class RoundRobin(BalancingPolicy):
    """The servers in turn."""

    def __init__(self, servers: int, random: Random) -> None:
        super().__init__(servers, random)
        self._next = 0

    def choose(self) -> int | None:
        """See `BalancingPolicy.choose`."""
        if self._next >= len(self.up):
            if not self.up:
                return None
            self._next = 0
        server = self.up[self._next]
        self._next += 1
        return server


class RandomChoice(BalancingPolicy):
    """A server at random."""

    def choose(self) -> int | None:
        """See `BalancingPolicy.choose`."""
        up = self.up
        return up[int(self._random() * len(up))] if up else None


class TwoChoices(BalancingPolicy):
    """The better of two servers at random; as in HAProxy, both draws may be the same server."""

    def choose(self) -> int | None:
        """See `BalancingPolicy.choose`."""
        up, random = self.up, self._random
        if not up:
            return None
        count = len(up)
        one, other = up[int(random() * count)], up[int(random() * count)]
        return other if self.outstanding[other] < self.outstanding[one] else one


class LeastOutstanding(BalancingPolicy):
    """The server with the fewest outstanding requests; of several, the one that has had so many for
    the longest time, which takes them in turn.

    Servers that are up are kept in one bucket for each number of outstanding requests. A request or
    an answer moves a server to the neighbouring bucket, so the lowest bucket with a server in it
    moves by one at most.
    """

    def __init__(self, servers: int, random: Random) -> None:
        super().__init__(servers, random)
        # Ordered sets: the first is found, and any removed, in constant time.
        self._buckets: defaultdict[int, OrderedDict[int, None]] = defaultdict(OrderedDict)
        self._lowest = 0  # no server has fewer

    def choose(self) -> int | None:
        """See `BalancingPolicy.choose`."""
        if not self.up:
            return None
        buckets, lowest = self._buckets, self._lowest
        while not buckets[lowest]:
            lowest += 1
        self._lowest = lowest
        return next(iter(buckets[lowest]))

    def sent(self, server: int) -> None:
        """See `BalancingPolicy.sent`."""
        self.learn(server, self.outstanding[server] + 1)

    def ended(self, server: int) -> None:
        """See `BalancingPolicy.ended`."""
        self.learn(server, self.outstanding[server] - 1)

    def learn(self, server: int, outstanding: int) -> None:
        """See `BalancingPolicy.learn`."""
        if self._place[server] >= 0:
            del self._buckets[self.outstanding[server]][server]
            self._join(server, outstanding)
        self.outstanding[server] = outstanding

    def add(self, server: int) -> None:
        """See `BalancingPolicy.add`."""
        super().add(server)
        self._join(server, self.outstanding[server])

    def remove(self, server: int) -> None:
        """See `BalancingPolicy.remove`."""
        super().remove(server)
        del self._buckets[self.outstanding[server]][server]

    def _join(self, server: int, count: int) -> None:
        self._buckets[count][server] = None
        if count < self._lowest:
            self._lowest = count


POLICIES: Mapping[str, type[BalancingPolicy]] = {
    "round_robin": RoundRobin,
    "random": RandomChoice,
    "two_choices": TwoChoices,
    "least_outstanding": LeastOutstanding,
}
"""Every policy by its name."""


def policy_named(name: str) -> type[BalancingPolicy]:
    """The policy of that name.

    Raises:
        ServingError: INVALID_ARGUMENT, there is none.
    """
    if name not in POLICIES:
        raise invalid_argument(
            f"Unknown balancing policy {name!r}: the policies are {', '.join(POLICIES)}"
        )
    return POLICIES[name]
