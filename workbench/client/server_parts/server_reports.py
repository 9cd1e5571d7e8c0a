"""Reports about a server: memory, budget and events, as tables."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from workbench.client.display import memory_tables
from workbench.client.display.memory_tables import Fit
from workbench.client.display.tables import table_of
from workbench.client.server_parts.named_server import NamedServer

if TYPE_CHECKING:
    import pandas as pd


class ServerReports(NamedServer):
    """Reads the server's memory ledger and event log."""

    def memory(self, by: str = "process") -> pd.DataFrame:
        """The memory that the server holds now, in bytes.

        Args:
            by: ``"process"``: PSS and USS, measured, one row a process; ``"kind"``: the whole
                ledger, one row for each device, owner and kind of memory (weights, activations,
                reserved, free, unattributed ...). The bytes of a device add up to all that it has,
                and `how` says for each row whether it is measured or estimated.
        """
        return memory_tables.frame(self.control, by)

    def memory_history(self, since: float = 0.0, points: int | None = None) -> pd.DataFrame:
        """Memory over time: one row a process and sample. `monotonic` is in seconds, and
        `measured` is False for values that were not read exactly. With `points`, about that many
        rows of each process at most."""
        return memory_tables.history(self.control, since, points)

    def will_it_fit(self, path: str | os.PathLike[str]) -> Fit:
        """The memory that a SavedModel would take as the model's next version, and whether it fits
        under each transition. Nothing is loaded. The result is true if it fits under the model's
        own transition.

        Raises:
            ServingError: INVALID_ARGUMENT, there is no SavedModel.
        """
        absolute = str(Path(path).expanduser().resolve())
        return replace(Fit.from_json(self.control.fit(self.model, absolute)), path=str(path))

    @property
    def budget(self) -> dict[str, Any]:
        """The memory that versions may use together, by device, with its reserved and free parts,
        in bytes. May be assigned: a number of bytes or text like ``"4 GB"`` for the host, or a
        dictionary with `host_memory_bytes` and `gpu_memory_bytes`; None stands for 90 % of the
        device. A version that was refused and fits now is loaded."""
        return self.control.describe_server()["budget"]

    @budget.setter
    def budget(self, limits: int | str | Mapping[str, Any] | None) -> None:
        self.control.set_budget(memory_tables.budget_json(limits))

    def events(self, since: int = 0) -> pd.DataFrame:
        """The event log, oldest first: one row an event, with its log line if it has one."""
        import pandas as pd

        events = self.control.events(since)["events"]
        columns = ["seq", "monotonic", "wall", "kind", "model", "version", "data", "line"]
        frame = table_of(events, columns)
        frame["time"] = pd.to_datetime(frame["wall"], unit="s", utc=True)
        return frame
