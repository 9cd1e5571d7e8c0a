"""The memory ledger as a notebook sees it: tables."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from workbench.client.control import ControlClient
from workbench.core.status import invalid_argument

if TYPE_CHECKING:
    import pandas as pd

_PROCESS_COLUMNS = ("role", "model", "version", "pid", "pss", "uss", "measured")
_KIND_COLUMNS = ("device", "owner", "model", "version", "pid", "kind", "bytes", "how")


def frame(control: ControlClient, by: str) -> pd.DataFrame:
    """What is held now: a row a process, or a row for each kind of memory.

    The machines' own numbers and the ledger's notes are in the second table's `attrs`.

    Raises:
        ServingError: INVALID_ARGUMENT, `by` is neither.
    """
    import pandas as pd

    if by == "process":
        samples = control.request("GET", "/memory")["samples"]
        found = pd.DataFrame(samples, columns=list(_PROCESS_COLUMNS))
        return found.astype({"version": "Int64"})
    if by == "kind":
        account = control.request("GET", "/memory/ledger")
        found = pd.DataFrame(account["cells"], columns=list(_KIND_COLUMNS))
        found = found.astype({"version": "Int64", "pid": "Int64"})
        found.attrs = {"machines": account["machines"], "notes": account["notes"]}
        return found
    raise invalid_argument(f"Memory by {by!r} is not known: use 'process' or 'kind'")


def history(control: ControlClient, since: float, points: int | None) -> pd.DataFrame:
    """Memory over time, a row a process and sample."""
    import pandas as pd

    asked: dict[str, Any] = {"since": since, "columns": 1}
    if points is not None:
        asked["points"] = points
    columns = control.request("GET", "/memory", **asked)["columns"]
    found = pd.DataFrame(columns, columns=["monotonic", "wall", *_PROCESS_COLUMNS])
    return found.astype({"version": "Int64"})
