"""The memory ledger as tables, and the answer to whether one more version would fit."""

from __future__ import annotations

import html
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from workbench.client.control_client import ControlClient
from workbench.client.display.tables import table_of
from workbench.core.memory.budget import size
from workbench.core.status import invalid_argument

if TYPE_CHECKING:
    import pandas as pd

_PROCESS_COLUMNS = ("role", "model", "version", "pid", "pss", "uss", "measured")
_KIND_COLUMNS = ("device", "owner", "model", "version", "pid", "kind", "bytes", "how")


def frame(control: ControlClient, by: str) -> pd.DataFrame:
    """The memory held now: a row for each process, or a row for each kind of memory.

    The second table's `attrs` have the machines' own numbers and the ledger's notes.

    Raises:
        ServingError: INVALID_ARGUMENT, `by` is neither.
    """
    if by == "process":
        return table_of(control.memory(), _PROCESS_COLUMNS)
    if by == "kind":
        account = control.ledger()
        found = table_of(account["cells"], _KIND_COLUMNS, ("version", "pid"))
        found.attrs = {"machines": account["machines"], "notes": account["notes"]}
        return found
    raise invalid_argument(f"Memory by {by!r} is not known: use 'process' or 'kind'")


def history(control: ControlClient, since: float, points: int | None) -> pd.DataFrame:
    """Memory over time, a row a process and sample."""
    return table_of(control.memory_history(since, points), ["monotonic", "wall", *_PROCESS_COLUMNS])


@dataclass(frozen=True)
class Transition:
    """Whether the load fits under one transition.

    Attributes:
        need, free: bytes needed and bytes free, on the device with the least room.
        words: the same in words.
        cure: a change that would make it fit; empty if it fits.
    """

    name: str
    fits: bool
    need: int
    free: int
    words: str
    cure: str

    @property
    def answer(self) -> str:
        """`fits` in words."""
        return "fits" if self.fits else "does not fit"


@dataclass(frozen=True)
class Fit:
    """The memory that a SavedModel would take as a model's next version; nothing was loaded.

    Attributes:
        path: of the SavedModel, as it was given.
        weights: bytes of its weights, from the checkpoint's index.
        peak, steady: bytes by device, at most while it loads, and once it is loaded.
        estimated_from: ``the files``, or ``the last load`` of the model.
        transition: the model's.
        transitions: for each transition, whether it fits.
    """

    path: str
    model: str
    device: str
    fallback: str
    weights: int
    peak: Mapping[str, int]
    steady: Mapping[str, int]
    estimated_from: str
    transition: str
    transitions: Mapping[str, Transition]

    @property
    def fits(self) -> bool:
        """Whether it fits under the model's transition."""
        return self.transitions[self.transition.partition("+")[0]].fits

    def __bool__(self) -> bool:
        return self.fits

    def _head(self) -> str:
        peaks = " and ".join(f"{size(n)} on {where}" for where, n in self.peak.items())
        where = f" ({self.fallback})" if self.fallback else ""
        weights = size(self.weights) if self.weights >= 2**20 else "less than 1 MB"
        last = f" of {self.model}" if self.estimated_from == "the last load" else ""
        return (
            f"{self.path} as the next version of {self.model}: "
            f"{weights} of weights, at most {peaks}{where}, estimated "
            f"from {self.estimated_from}{last}"
        )

    def __repr__(self) -> str:
        lines = [self._head()]
        for t in self.transitions.values():
            cure = t.cure and f"; {t.cure}"
            lines.append(f"  {t.answer} under {t.name}: {t.words}{cure}")
        return "\n".join(lines)

    def _repr_html_(self) -> str:
        cells = ((t.name, t.answer, t.words, t.cure) for t in self.transitions.values())
        rows = "".join(
            f"<tr>{''.join(f'<td>{html.escape(text)}</td>' for text in row)}</tr>" for row in cells
        )
        head = "<tr><th>transition</th><th></th><th>memory</th><th>what would help</th></tr>"
        return f"<div>{html.escape(self._head())}<table>{head}{rows}</table></div>"

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Fit:
        """Read the control plane's answer."""
        same = ("path", "model", "device", "fallback", "weights", "peak", "steady", "transition")
        transitions = {
            name: Transition(name, t["fits"], t["need"], t["free"], t["words"], t["cure"])
            for name, t in data["transitions"].items()
        }
        return cls(
            **{name: data[name] for name in same},
            estimated_from=data["from"],
            transitions=transitions,
        )


def budget_json(limits: int | str | Mapping[str, Any] | None) -> dict[str, Any]:
    """A budget as plain data. One value is for the host."""
    if not isinstance(limits, Mapping):
        limits = {"host_memory_bytes": limits}
    return {
        name: parse_bytes(limit, name) if name.endswith("_bytes") else limit
        for name, limit in limits.items()
    }


_UNITS = {"b": 1, "kb": 2**10, "mb": 2**20, "gb": 2**30, "tb": 2**40}


def parse_bytes(value: int | str | None, name: str) -> int | None:
    """A number of bytes from ``2_000_000``, ``"1.5 GB"`` or ``"800MB"``; None stays None.

    Raises:
        ServingError: INVALID_ARGUMENT, with the argument `name` and its value.
    """
    if value is None:
        return None
    if isinstance(value, str):
        match = re.fullmatch(r"\s*([0-9]+(?:\.[0-9]+)?)\s*([kmgt]?b)?\s*", value.lower())
        number = None if match is None else round(float(match[1]) * _UNITS[match[2] or "b"])
    else:
        number = value if type(value) is int else None
    if number is None or number < 1:
        raise invalid_argument(
            f"{name} {value!r} is not understood: give a number of bytes, or text like '1.5 GB'"
        )
    return number
