"""The control plane's routes for the server process.

GET    /server                       state, address, processes
PATCH  /server                       {"num_batch_threads": N, "budget": {...}}
POST   /shutdown                     drain and end
"""

from __future__ import annotations

from workbench.core.memory.memory_limits import MemoryLimits
from workbench.core.status import invalid_argument
from workbench.server.control.handling import Handler


class _Server(Handler):
    def get(self) -> None:
        core = self.core
        self.answer(
            {
                **self.plane.describe(),
                "started": core.started,
                "zygote_pid": core.zygote.pid,
                "num_batch_threads": core.scheduler.slots,
                "outstanding": core.scheduler.outstanding,
                "last_seq": core.events.last_seq,
                "budget": core.reservations.budget.to_json(),
                "models": sorted(core.manager.models),
            }
        )

    def patch(self) -> None:
        body = self.body()
        budget = body.get("budget")
        slots = body.get("num_batch_threads")
        if (budget is None or slots is not None) and (type(slots) is not int or slots < 1):
            raise invalid_argument(f"num_batch_threads must be positive; was {slots}")
        settings = None if budget is None else MemoryLimits.from_json(budget)
        if slots is not None:
            self.manager.set_slots(slots)
        if settings is not None:
            self.core.reservations.set_limits(settings)
        self.plane.on_change()
        self.get()


class _Shutdown(Handler):
    def post(self) -> None:
        self.answer({})
        self.plane.shutdown("asked to stop")


ROUTES = ((r"/server", _Server), (r"/shutdown", _Shutdown))
