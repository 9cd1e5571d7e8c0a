"""The control plane's route for live views: everything new about one model, in one answer.

    GET    /models/NAME/pulse?events=SEQ&memory=T&traffic=T&target=MICROS

A view polls, each time with the marks of the answer before, and so gets each event once. `events`
is a sequence number, `memory` and `traffic` are monotonic seconds. `target` is a latency: each
second then says how many requests were answered within it.
"""

from __future__ import annotations

import time
from typing import Any

from workbench.core.events import log_line
from workbench.server.control.handling import Handler

_MOST_EVENTS = 2000


class _Pulse(Handler):
    """See the module. The answer holds

    * `now` (monotonic) and `wall`, both in seconds; `seq`, the last event's number;
    * `model`, as `/models/NAME` has it, with `held` and `waiting`;
    * `events`, `memory` and `seconds`, `dots` (see `Traffic`): what is new.
    """

    def get(self, name: str) -> None:
        model = self.manager.get(name, removed=True)
        log = self.core.events
        seq = int(self.number("events", log.last_seq))
        if seq > log.last_seq:
            # The mark is from before a restart of the server, which began a new log.
            seq = 0
        now = time.monotonic()
        traffic = self.number("traffic", now)
        samples = self.core.ledger.recent(self.number("memory", now))
        about: dict[str, Any] = model.to_json()
        for version in about["versions"]:
            version.pop("signatures", None)
        self.answer(
            {
                "now": now,
                "wall": time.time(),
                "seq": log.last_seq,
                "outstanding": self.core.scheduler.outstanding,
                "num_batch_threads": self.core.scheduler.slots,
                "model": about,
                "events": [
                    {**event.to_json(), "line": log_line(event)}
                    for event in list(log.since(seq))[-_MOST_EVENTS:]
                    if event.model in (name, None)
                ],
                "memory": [
                    [s.monotonic, s.process.role, s.process.version, s.pss, s.uss, s.measured]
                    for s in samples
                    if s.process.model in (name, None)
                ],
                "seconds": model.traffic.seconds(traffic, self.number("target", 0)),
                "dots": model.traffic.dots(traffic),
            }
        )


ROUTES = ((r"/models/([^/]+)/pulse", _Pulse),)
