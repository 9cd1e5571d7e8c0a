"""The memory ledger, live: the owners of each device's memory, and whether a model would fit."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from workbench.client.display.memory_tables import Fit
from workbench.client.server import ServerClient
from workbench.widgets.base.durable import Durable, Lasting, lasting
from workbench.widgets.base.live import LiveWidget, view
from workbench.widgets.ledger.ledger_figure import plot_ledger
from workbench.widgets.ledger.ledger_parts import devices_of, frame_of, text_of

if TYPE_CHECKING:
    import pandas as pd

    from workbench.experiments.figure import Picture

# Each reading walks page tables.
_INTERVAL_SECONDS = 2.0


class LedgerWidget(Durable, LiveWidget):
    """A server's memory ledger, and the memory that another SavedModel would need; see
    `Server.ledger`.

    Attributes:
        fit: the last answer to *Will it fit?*; None before the first.
    """

    face = view("ledger")

    def __init__(self, server: ServerClient) -> None:
        self.server = server
        self.fit: Fit | None = None
        self._account: Mapping[str, Any] = {}
        self._shown: object = None
        about = {
            "name": f"{server.model} on {server.name}",
            "model": server.model,
            "transition": server.transition,
        }
        orders = {"fit": self._asked}
        super().__init__(server.name, server.model, about, orders, _INTERVAL_SECONDS)
        self._account = self._control.ledger()

    def news(self, marks: dict[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
        """The whole ledger, with the last answer to *Will it fit?* for a new view."""
        self._account = self._control.ledger()
        self._keep()
        message: dict[str, Any] = {
            "kind": "ledger",
            "wall": self._account["wall"],
            "devices": self._devices(),
            "notes": self._account["notes"],
        }
        if not marks and self.fit is not None:
            message["fit"] = _fit_json(self.fit)
        return message, {"known": True}

    def will_it_fit(self, path: str) -> Fit:
        """The memory that the SavedModel in a folder would need as the model's next version, under
        each transition; the button does the same. Nothing is loaded.

        Raises:
            ServingError: INVALID_ARGUMENT, there is no SavedModel.
        """
        self.fit = self.server.will_it_fit(path)
        self.send({"kind": "fit", "fit": _fit_json(self.fit), "devices": self._devices()})
        return self.fit

    @property
    def frame(self) -> pd.DataFrame:
        """The parts as of the last news: device, part, bytes, share of the device, measured."""
        return frame_of(devices_of(self._account))

    def plot(self) -> Picture:
        """The bars as of the last news."""
        return plot_ledger(devices_of(self._account), self._title())

    def lasting(self) -> Lasting:
        """Its contents for a notebook without the kernel."""
        found = lasting(self._title(), str(self), self.frame, self.plot())
        if self.fit is None:
            return found
        return Lasting(found.html + self.fit._repr_html_(), found.text, found.png)

    def _asked(self, message: Mapping[str, Any]) -> str:
        path = str(message["path"]).strip()
        if not path:
            raise ValueError("Name the folder of a SavedModel.")
        fit = self.will_it_fit(path)
        self._keep()
        return f"{'It fits' if fit else 'It does not fit'} under {fit.transition}."

    def _devices(self) -> list[dict[str, Any]]:
        """The devices for the page, with room for the last *Will it fit?*"""
        peak = {} if self.fit is None else self.fit.peak
        return [d.to_json(peak.get(d.device, 0)) for d in devices_of(self._account)]

    def _title(self) -> str:
        when = time.strftime("%H:%M:%S", time.localtime(self._account["wall"]))
        return f"Memory of {self.server.name}, as of {when}"

    def _keep(self) -> None:
        """Update the lasting output if the versions or the last answer have changed."""
        shown = (
            self.fit,
            sorted({(c["model"] or "", c["version"] or 0) for c in self._account["cells"]}),
        )
        if self._output is not None and shown != self._shown:
            self._shown = shown
            self._renew()

    def __repr__(self) -> str:
        parts = text_of(devices_of(self._account), self._account["notes"])
        return "\n".join([self._title(), parts, *([] if self.fit is None else [repr(self.fit)])])


def _fit_json(fit: Fit) -> dict[str, Any]:
    return {
        "head": fit._head(),
        "device": fit.device,
        "fits": fit.fits,
        "peak": dict(fit.peak),
        "transition": fit.transition,
        "transitions": [asdict(each) for each in fit.transitions.values()],
    }
