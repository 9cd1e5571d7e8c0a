"""A fleet in virtual time: one heap of events, and one `VirtualServer` for each server.

Three rules keep cause before effect:

* **A server stops until the balancers have decided.** `VirtualServer.turns` yields the time until
  which its arrivals must be known. The server's next event is that time, less the way from a
  balancer; when the event is due, every request that could arrive until then has been sent.
* **Requests come before servers.** Of events in the same microsecond, changes of the fleet are
  first, then requests are sent, then servers continue, then answers are seen. So a balancer has
  seen the answers of the microseconds before, and none that is given later.
* **A request that is sent again is sent at least a microsecond later**, so no server has to take a
  request that arrives before a time until which it was promised to know all.

So the order in which servers continue makes no difference, and a server behind a balancer takes the
same steps as one that is alone and knows all arrivals from the beginning.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Iterator
from functools import partial
from heapq import heappop, heappush
from random import Random

import numpy as np

from workbench.core.batching.parameters import BatchingParameters
from workbench.core.fleet.balancing import BalancingPolicy
from workbench.experiments.fleet.fleet_balancer import Balancer
from workbench.experiments.fleet.fleet_outcomes import Outcome
from workbench.experiments.fleet.fleet_server import NOT_DUE, Phase, Place
from workbench.experiments.fleet.fleet_setting import FleetSetting
from workbench.experiments.simulator.hiccups import NEVER
from workbench.experiments.simulator.service_time import ServiceTime
from workbench.experiments.simulator.virtual_server import Share, VirtualServer

# An event is one whole number: its time, its kind, and what it is about. Numbers are compared
# faster than tuples, and the kinds are in the order in which they happen within a microsecond.
_CHANGE, _SEND, _CONTINUE, _ANSWER, _REJECT, _REFUSE, _TIMEOUT = range(7)
_ABOUT_BITS, _TIME_BITS = 36, 39
_ABOUT, _KIND = (1 << _ABOUT_BITS) - 1, 0b111
_SEND_AT, _CONTINUE_AT, _ANSWER_AT, _REJECT_AT, _REFUSE_AT, _TIMEOUT_AT = (
    kind << _ABOUT_BITS for kind in range(_SEND, _TIMEOUT + 1)
)
_FAILURES = {_REJECT: Outcome.REJECTED, _REFUSE: Outcome.REFUSED, _TIMEOUT: Outcome.TIMEOUT}
_RETRIED = {
    Outcome.REFUSED: "refused",
    Outcome.LOST: "lost",
    Outcome.REJECTED: "rejected",
    Outcome.TIMEOUT: "timeout",
}
_BALANCER_SEEDS = 1_000_003
_OPEN, _OVER, _HANGS = range(3)
_THE_END = NOT_DUE


class FleetSimulation:
    """Runs requests through balancers and servers.

    An *attempt* is one sending of a request. The first attempt of a request has its number; further
    attempts have numbers after those of all requests.

    Attributes:
        setting: of the fleet.
        times: at which requests come to the balancers.
        places: of the servers.
        balancers: in front of them.
        again: by further attempt, the request that it repeats.
        server, sent, ended: by attempt, the server (-1: none), and when the balancer sent it and
            saw its end, in microseconds.
        outcomes: by request, the value of its `Outcome`, once the run is over.
        now: in microseconds.
        rejected: attempts that servers have rejected so far.
        reached: called with a balancer, a server and whether it took the connection, for each
            request; None: nobody wants to know.
    """

    def __init__(
        self,
        parameters: BatchingParameters,
        service: ServiceTime,
        slots: int,
        rows: list[int],
        seed: int,
        times: list[int],
        setting: FleetSetting,
    ) -> None:
        """
        Args:
            rows: of each request, in turn.
            times: at which requests reach the balancers, increasing.
        """
        count, most = len(times), setting.most_servers
        self._parameters, self.service, self._slots = parameters, service, slots
        self._rows, self._seed, self.times, self.setting = rows, seed, times, setting
        rounds = -(-count // len(rows))
        # The servers of a fleet share the requests, so each draws as many random numbers as it
        # needs of them; one that is alone draws as many as in `simulate`.
        self._share = Share(-(-count // setting.servers), rounds * sum(rows), max(rows))
        self._to, self._back = setting.to_server_micros, setting.from_server_micros
        self._retry, self._timeout = setting.retry, setting.retry.timeout_micros

        self.places = [Place(number) for number in range(most)]
        self.again: list[int] = []
        self.server = [-1] * count
        self.sent = [0] * count
        self.ended: list[float] = [0.0] * count
        self.outcomes = bytearray(count)
        self.now = self.rejected = 0
        self.reached: Callable[[int, int, bool], None] | None = None
        self._over = bytearray(count)  # by attempt
        self._tries: dict[int, int] = {}  # by request, its further attempts
        self._parts: dict[int, tuple[float, int]] = {}  # by attempt, of split requests
        self._left = count
        self._heap: list[int] = [_THE_END]
        self._changes: list[Callable[[], None]] = []

        # A balancer's random numbers are its own: its choices do not depend on the others.
        self.balancers = [
            Balancer(setting, seed + _BALANCER_SEEDS * (number + 1))
            for number in range(setting.balancers)
        ]
        self.counts: list[BalancingPolicy] = [each.policy for each in self.balancers]
        if setting.report_interval_micros:
            # The servers count for themselves, and the balancers hear of it in reports.
            self.counts = [BalancingPolicy(most, Random(seed))] * setting.balancers
        self._choose = [each.policy.choose for each in self.balancers]
        self._sent_to = [each.sent for each in self.counts]
        self._ended_at = [each.ended for each in self.counts]
        self._of = [0] * count
        if setting.balancers > 1:
            drawn = np.random.default_rng([seed, 1]).integers(0, setting.balancers, count)
            self._of = drawn.tolist()

    # The fleet.

    def at(self, time: int, change: Callable[[], None]) -> None:
        """Change something of the fleet at this time."""
        heappush(self._heap, time << _TIME_BITS | len(self._changes))
        self._changes.append(change)

    def put_server(self, place: Place) -> None:
        """A new server takes a place and serves."""
        rows = self._rows if len(self._rows) == 1 else []
        stands = len(place.stands)
        # The first server of all has the random numbers that it has alone.
        first = place.number == stands == 0
        seed = self._seed if first else [self._seed, place.number, stands]
        server = VirtualServer(
            self._parameters, self.service, self._slots, rows, seed, [], share=self._share
        )
        place.put(server, rows)
        place.enter(Phase.SERVING, self.now)

    @property
    def arrived(self) -> int:
        """Requests that have come to the balancers so far."""
        return bisect_left(self.times, self.now)

    def outstanding(self, number: int) -> int:
        """Requests that balancers are waiting for from this server."""
        return sum(each.outstanding[number] for each in {id(c): c for c in self.counts}.values())

    def unanswered(self, place: Place) -> Iterator[int]:
        """The attempts whose answer or rejection the last server of this place has not sent yet."""
        sent = self.now + self._back
        for attempt in place.attempts:
            if self._over[attempt] != _OVER and not 0 < self.ended[attempt] <= sent:
                yield attempt

    def awaited(self, place: Place, balancer: int) -> Iterator[int]:
        """The attempts for which this balancer waits."""
        for attempt in place.attempts:
            if self._over[attempt] != _OVER and self._of[self.request_of(attempt)] == balancer:
                yield attempt

    # Events.

    def run(self) -> None:
        """Run until every request is answered or has failed.

        Raises:
            ServingError: INVALID_ARGUMENT, a request is larger than `max_batch_size`.
        """
        first, heap = self._hand_over if self.setting.balancer_micros else self._send, self._heap
        for request, time in enumerate(self.times):
            limit = time << _TIME_BITS | _SEND_AT
            if heap[0] < limit:
                self._run_until(limit)
            self.now = time
            first(request)
        while self._left and heap[0] < _THE_END:
            self._run_until(heap[0] + 1)
        for attempt, over in enumerate(self._over):
            if over != _OVER:
                self.outcomes[self.request_of(attempt)] = Outcome.UNANSWERED

    def _run_until(self, limit: int) -> None:
        """All events before `limit`."""
        # This loop and what it calls are the time that a simulation takes.
        heap, over = self._heap, self._over
        while (event := heap[0]) < limit:
            heappop(heap)
            kind, about = (event >> _ABOUT_BITS) & _KIND, event & _ABOUT
            if kind == _CONTINUE:
                place = self.places[about]
                if place.due == event:
                    self._continue(place, event, limit)
            elif kind == _ANSWER:
                if not over[about]:
                    self._answered(about)
            else:
                self.now = event >> _TIME_BITS
                if kind == _SEND:
                    self._send(about)
                elif kind == _CHANGE:
                    self._changes[about]()
                elif over[about] != _OVER:
                    self.fail(about, _FAILURES[kind])

    def _continue(self, place: Place, event: int, limit: int) -> None:
        """A server goes on for as long as nothing else happens before."""
        heap, server, resume, to = self._heap, place.server, place.resume, self._to
        about = place.number | _CONTINUE_AT
        while True:
            server.known_until = (event >> _TIME_BITS) + to
            until = resume()
            event = (until - to) << _TIME_BITS | about if until != NEVER else NOT_DUE
            if server.answered or server.rejected:
                self._collect(place, event if event < limit else limit)
            if event >= limit or heap[0] < event:
                place.due = event
                if event != place.planned and event != NOT_DUE:
                    heappush(heap, event)
                return

    def _collect(self, place: Place, limit: int) -> None:
        """The answers and rejections that a server has sent are on their way. Those that are the
        next of all events, and before `limit`, need not wait."""
        server, attempts, heap, back = place.server, place.attempts, self._heap, self._back
        ended = self.ended
        for task, time in server.rejected:
            attempt = attempts[task]
            ended[attempt] = time + back
            heappush(heap, (time + back) << _TIME_BITS | _REJECT_AT | attempt)
        server.rejected.clear()
        for run in server.answered:
            seen, step = run.answering + back, run.answer_step
            for count, part in enumerate(run.batch.parts, 1):
                attempt, at = attempts[part.task], seen + step * count
                if part.size != part.total:
                    at, left = self._last_part(attempt, at, part.size, part.total)
                    if left:
                        continue
                ended[attempt] = at
                event = round(at) << _TIME_BITS | _ANSWER_AT | attempt
                if event < limit and event < heap[0] and not self._over[attempt]:
                    self._answered(attempt)
                else:
                    heappush(heap, event)
            del run.batch
        server.answered.clear()

    def _last_part(self, attempt: int, at: float, rows: int, total: int) -> tuple[float, int]:
        """A part of a split request is ready; returns when the last one was, and the rows that are
        not ready."""
        before, left = self._parts.pop(attempt, (0.0, total))
        found = max(before, at), left - rows
        if found[1]:
            self._parts[attempt] = found
        return found

    # Requests.

    def request_of(self, attempt: int) -> int:
        """The request that an attempt sends."""
        first = len(self.times)
        return attempt if attempt < first else self.again[attempt - first]

    def _hand_over(self, attempt: int) -> None:
        """A balancer sends it after all that came to it before."""
        balancer = self.balancers[self._of[self.request_of(attempt)]]
        balancer.free_at = max(balancer.free_at, self.now) + self.setting.balancer_micros
        heappush(self._heap, balancer.free_at << _TIME_BITS | _SEND_AT | attempt)

    def _send(self, attempt: int) -> None:
        time = self.now
        request = attempt if attempt < len(self.times) else self.request_of(attempt)
        of = self._of[request]
        self.sent[attempt] = time
        number = self._choose[of]()
        if number is None:
            self._give_up(attempt, Outcome.NO_SERVER)
            return
        self.server[attempt] = number
        self._sent_to[of](number)
        if self._timeout is not None:
            heappush(self._heap, (time + self._timeout) << _TIME_BITS | _TIMEOUT_AT | attempt)
        place, arrival = self.places[number], time + self._to
        if not place.takes:
            self._not_taken(attempt, place, arrival)
            return
        if self.reached is not None:
            self.reached(of, number, True)
        place.attempts.append(attempt)
        if place.rows is not self._rows:
            place.rows.append(self._rows[request % len(self._rows)])
        server = place.server
        times = server.times
        times.append(arrival)
        if len(times) > server.wakes_at:
            event = time << _TIME_BITS | _CONTINUE_AT | number
            if event < place.due:
                # The later event stays in the heap: often it will be due again.
                place.planned, place.due = place.due, event
                heappush(self._heap, event)

    def _not_taken(self, attempt: int, place: Place, arrival: int) -> None:
        """The server does not take a request."""
        if place.phase is Phase.AWAY:
            event = (arrival + self._back) << _TIME_BITS | _REJECT_AT
        elif place.phase is Phase.SILENT:
            waited = self.sent[attempt] + self._retry.connect_timeout_micros
            event = waited << _TIME_BITS | _REFUSE_AT
        else:
            event = (arrival + self._back) << _TIME_BITS | _REFUSE_AT
        heappush(self._heap, event | attempt)

    def _answered(self, attempt: int) -> None:
        """The balancer sees an answer."""
        self._over[attempt] = _OVER
        count = len(self.times)
        request = attempt if attempt < count else self.again[attempt - count]
        self._ended_at[self._of[request]](self.server[attempt])
        self._left -= 1

    def hang(self, attempt: int, *, for_ever: bool) -> None:
        """No answer will come, and the balancer does not know."""
        self._over[attempt] = _HANGS
        if for_ever:
            self._left -= 1

    def fail(self, attempt: int, outcome: Outcome) -> None:
        """The balancer sees that an attempt has failed; it tries again, or tells the caller."""
        of, number = self._of[self.request_of(attempt)], self.server[attempt]
        self._ended_at[of](number)
        if outcome is Outcome.REJECTED:
            self.rejected += 1
        elif outcome is Outcome.REFUSED and self.reached is not None:
            self.reached(of, number, False)
        self._give_up(attempt, outcome)

    def _give_up(self, attempt: int, outcome: Outcome) -> None:
        request, retry = self.request_of(attempt), self._retry
        self._over[attempt] = _OVER
        self.ended[attempt] = self.now
        tries = self._tries.get(request, 0)
        if tries < retry.attempts and _RETRIED.get(outcome) in retry.on:
            self._tries[request] = tries + 1
            pause = retry.pause_micros if outcome is Outcome.REFUSED else 1
            self._send_again(request, self.now + pause)
        else:
            self.outcomes[request] = outcome
            self._left -= 1

    def _send_again(self, request: int, time: int) -> None:
        attempt = len(self.server)
        self.again.append(request)
        self.server.append(-1)
        self.sent.append(0)
        self.ended.append(0.0)
        self._over.append(_OPEN)
        if self.setting.balancer_micros:
            self.at(time, partial(self._hand_over, attempt))
        else:
            heappush(self._heap, time << _TIME_BITS | _SEND_AT | attempt)
