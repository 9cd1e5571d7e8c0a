"""The parts of the memory ledger's bars, in the order in which they are stacked.

First the versions and the memory that is reserved for them but not taken yet; the budget's line
stands behind these, at a distance of what is left of the budget. Then the server's own processes,
the memory of other programs, and free memory.

A process's bytes include its share of common memory (PSS), such as TensorFlow's code, while the
budget counts only private memory. So the line shows what is left of the budget, and not its size.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from workbench.core.memory.budget import size

if TYPE_CHECKING:
    import pandas as pd

OF_A_VERSION = {
    "weights": 1.0,
    "activations": 0.7,
    "allocator": 0.7,
    "runtime": 0.45,
    "context": 0.45,
    "shared regions": 0.3,
    "shared runtime": 0.2,
}
"""The opacity of each kind in its version's colour, in stacking order."""
OF_THE_SERVER = {"server": 0.9, "supervisor": 0.7, "zygote": 0.55}
"""The opacity of processes without a version, by role."""
OTHER_PROCESS, UNATTRIBUTED = 0.4, 0.22
_OF_THE_MACHINE = ("unattributed", "free")
_MARGIN = 1.04
_NEAR = 2.5
_WIDE = 0.5
_WORDS = {
    "reserved": "reserved, not taken yet",
    "unattributed": "not of this server",
    "free": "free",
}


@dataclass(frozen=True)
class Part:
    """One stretch of a device's bar.

    Attributes:
        label: owner and purpose.
        kind: as in the ledger's cells; `how`: ``measured`` or ``estimated``.
        bytes: negative only for `unattributed`, where memory was counted twice.
    """

    label: str
    kind: str
    bytes: int
    how: str
    model: str | None = None
    version: int | None = None

    @property
    def amount(self) -> str:
        """`bytes` as people read them."""
        return size(self.bytes) if self.bytes >= 0 else f"-{size(-self.bytes)}"


@dataclass(frozen=True)
class Device:
    """A device and its parts, whose bytes add up to `total`.

    Attributes:
        scope: what `total` is the limit of.
        limit: the versions' budget in bytes; `reserved`: the part of it in use.
    """

    device: str
    total: int
    scope: str
    limit: int | None
    reserved: int
    parts: tuple[Part, ...]

    def held(self) -> int:
        """Bytes that versions hold."""
        return sum(part.bytes for part in self.parts if part.version is not None)

    def taken(self) -> int:
        """Bytes that versions hold or have reserved."""
        return self.held() + self.of_kind("reserved")

    def budget_at(self) -> int | None:
        """The place on the bar up to which versions may grow, in bytes; None without a budget."""
        return None if self.limit is None else self.taken() + self.limit - self.reserved

    def magnified_to(self, asked: int = 0) -> int | None:
        """The end of the magnified bar in bytes, which includes a budget that is near; None where
        the server's part is already large enough to see.

        Args:
            asked: bytes that one more version would need.
        """
        ours = sum(max(0, p.bytes) for p in self.parts if p.kind not in _OF_THE_MACHINE)
        end = max(ours, self.taken() + asked) if asked else ours
        budget = self.budget_at()
        if budget is not None and end < budget < _NEAR * end:
            end = budget
        end = round(end * _MARGIN)
        return None if not ours or end > _WIDE * self.total else end

    def of_kind(self, kind: str) -> int:
        """Bytes of all parts of a kind."""
        return sum(part.bytes for part in self.parts if part.kind == kind)

    @property
    def summary(self) -> str:
        """The bar in words."""
        processes = ("process", "shared regions")
        sums = {
            "the server's own processes": sum(
                p.bytes for p in self.parts if p.version is None and p.kind in processes
            ),
            "reserved and not taken yet": self.of_kind("reserved"),
            "not of this server": self.of_kind("unattributed"),
            "free": self.of_kind("free"),
        }
        said = f"{self.device}, {size(self.total)} by the {self.scope}: versions hold "
        said += size(self.held())
        if self.limit is not None:
            said += f", {size(self.reserved)} reserved of a budget of {size(self.limit)}"
        for text, nbytes in sums.items():
            if nbytes:
                said += f", {text} {size(nbytes) if nbytes > 0 else f'{nbytes} bytes'}"
        return said

    def to_json(self, asked: int = 0) -> dict[str, Any]:
        """The data for a page, with the computed values; `asked` as in `magnified_to`."""
        return {
            **asdict(self),
            "taken": self.taken(),
            "budget_at": self.budget_at(),
            "magnified_to": self.magnified_to(asked),
            "summary": self.summary,
        }


def devices_of(account: Mapping[str, Any]) -> list[Device]:
    """The devices of a ledger from `GET /memory/ledger`."""
    found = []
    for machine in account["machines"]:
        device = machine["device"]
        budget = account["budget"].get(device, {"limit": None, "reserved": 0})
        parts = _parts([cell for cell in account["cells"] if cell["device"] == device])
        total, scope = machine["total"], machine["scope"]
        limit, reserved = budget["limit"], budget["reserved"]
        found.append(Device(device, total, scope, limit, reserved, tuple(parts)))
    return found


def _parts(cells: Sequence[Mapping[str, Any]]) -> list[Part]:
    """The cells of one device in order; cells of one version and kind, or one role, are added."""
    sums: dict[tuple[Any, ...], list[Mapping[str, Any]]] = {}
    for cell in sorted(cells, key=_place):
        whose = cell["owner"] if cell["version"] is None else (cell["model"], cell["version"])
        sums.setdefault((whose, cell["kind"]), []).append(cell)
    several = len({cell["model"] for cell in cells if cell["version"] is not None}) > 1
    found = []
    for same in sums.values():
        nbytes = sum(cell["bytes"] for cell in same)
        first = same[0]
        kind = first["kind"]
        # Empty parts are left out, except that no free memory is worth showing.
        if nbytes or kind in _OF_THE_MACHINE:
            how = "measured" if all(cell["how"] == "measured" for cell in same) else "estimated"
            label = _label(first, several)
            found.append(Part(label, kind, nbytes, how, first["model"], first["version"]))
    return found


def _place(cell: Mapping[str, Any]) -> tuple[Any, ...]:
    kind = cell["kind"]
    if cell["version"] is not None:
        order = [*OF_A_VERSION, kind].index(kind)
        return 0, str(cell["model"]), cell["version"], order
    if kind == "reserved":
        return 1, "", 0, 0
    if kind in _OF_THE_MACHINE:
        return 3, "", 0, _OF_THE_MACHINE.index(kind)
    return 2, cell["owner"], 0, kind


def _label(cell: Mapping[str, Any], several: bool) -> str:
    if cell["version"] is not None:
        whose = f"{cell['model']} " if several else ""
        return f"{whose}version {cell['version']}: {cell['kind']}"
    if cell["kind"] in _WORDS:
        return _WORDS[cell["kind"]]
    return cell["owner"] if cell["kind"] == "process" else f"{cell['owner']}: {cell['kind']}"


def frame_of(devices: Sequence[Device]) -> pd.DataFrame:
    """A row a part: device, label, bytes, share of the device, measured or estimated."""
    import pandas as pd

    rows = [
        (d.device, p.label, p.bytes, p.bytes / d.total, p.how) for d in devices for p in d.parts
    ]
    return pd.DataFrame(rows, columns=["device", "part", "bytes", "share", "how"])


def text_of(devices: Sequence[Device], notes: Sequence[str] = ()) -> str:
    """The ledger for a terminal: each device in words, then its parts with bars."""
    lines = []
    for device in devices:
        lines.append(device.summary)
        most = max((p.bytes for p in device.parts if p.kind not in _OF_THE_MACHINE), default=1)
        wide = max((len(p.label) for p in device.parts), default=0)
        for part in device.parts:
            ours = part.kind not in _OF_THE_MACHINE
            bar = "█" * max(1, round(20 * part.bytes / most)) if ours and part.bytes > 0 else ""
            lines.append(f"  {part.label:<{wide}}  {part.amount:>8}  {part.how:<9}  {bar}".rstrip())
    return "\n".join([*lines, *notes])
