"""The base of all widgets (`View`), and of those that follow a server (`LiveWidget`).

One thread of the notebook's kernel asks the servers for news, only for visible widgets and only as
often as each needs. Orders from a widget (publish, roll back ...) run in threads, one after the
other, so the page stays responsive. The browser draws the chart; the kernel only passes on the
server's answers.
"""

from __future__ import annotations

import threading
import time
import weakref
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import anywidget
import ipywidgets as ipw
import traitlets

from workbench.client.control_client import ControlClient
from workbench.client.display.exact_numbers import exact
from workbench.client.display.pulse import FIRST, backlog, marks_of
from workbench.core.status import Code, ServingError

Orders = Mapping[str, Callable[[Mapping[str, Any]], str]]
"""Functions that a page may call, by name: each gets the message, and returns a sentence."""

_AGAIN_SECONDS = 1.0
_ASK_SECONDS = 5.0


def view(name: str) -> traitlets.Unicode[str, str | bytes]:
    """The trait `face` of a widget's class: which view the browser's module draws for it.

    The names of all classes are the type `Face` in TypeScript, and the table of views in
    `extension/src/views/index.ts` must have each of them.
    """
    return traitlets.Unicode(name).tag(sync=True)


def answer_in_subshells(widget: ipw.Widget) -> None:
    """Handle a widget's messages in the subshell that the page sends them to.

    ipykernel from 7.4 on handles them in the shell from which the widget last sent, which is the
    main shell, so they would wait for the running cell. Other kernels do not have this.
    """
    if hasattr(widget.comm, "_reply_subshell_for"):
        widget.comm._reply_subshell_for = lambda data, default: default


class View(anywidget.AnyWidget):
    """A widget that the browser's module draws. It obeys one order of the page at a time.

    Args:
        about: its initial data, plain and without secrets.
    """

    # The browser's part of all widgets, built from `extension/src/views`.
    _esm = Path(__file__).parents[2] / "static" / "widgets.js"
    face = view("")
    about = traitlets.Dict().tag(sync=True)

    def __init__(self, about: Mapping[str, Any], orders: Orders | None = None) -> None:
        super().__init__(about=exact(dict(about)))
        answer_in_subshells(self)
        self._orders = orders or {}
        # An order may call a method that takes a turn itself.
        self._turn = threading.RLock()
        self.on_msg(self._on_message)

    def send(self, content: Any, buffers: Any = None) -> None:
        """Send a message to the browser, with exact version numbers."""
        super().send(exact(content), buffers)

    def _on_message(self, _widget: Any, message: Any, _buffers: Any) -> None:
        op = message.get("op")
        if op in self._orders:
            threading.Thread(
                target=self._obey, args=(op, message), name=f"widget-{op}", daemon=True
            ).start()

    def _obey(self, op: str, message: Mapping[str, Any]) -> None:
        with self._turn:
            self._answer(message, self._orders[op])

    def _answer(
        self, message: Mapping[str, Any], order: Callable[[Mapping[str, Any]], str]
    ) -> None:
        """Do what a message asks for, and show the page the result or the error."""
        done = {"kind": "done", "id": message.get("id")}
        try:
            self.send({**done, "ok": True, "text": order(message)})
        except Exception as error:
            if isinstance(error, ServingError) and error.reason is not None:
                done["reason"] = error.reason.value
            self.send({**done, "ok": False, "text": str(error) or type(error).__name__})


class LiveWidget(View):
    """A view of one model of a server, updated while it is visible.

    Args:
        interval_seconds: between news.

    Attributes:
        target_micros: a latency; news say how many requests were answered within it. 0: none.
    """

    target_micros = 0.0

    def __init__(
        self,
        server: str,
        model: str,
        about: Mapping[str, Any],
        orders: Orders | None = None,
        interval_seconds: float = 0.5,
    ) -> None:
        super().__init__(about, orders)
        self.interval_seconds = interval_seconds
        self._model = model
        self._control = ControlClient(server, _ASK_SECONDS)
        # Messages arrive in the kernel's main thread or, while a cell runs, in a subshell's; news
        # are sent from a third thread.
        self._state = threading.Lock()
        self._seen: set[str] = set()
        self._marks: dict[str, Any] = {}
        self._hellos = 0
        self._told = 0
        self._ended = False

    @property
    def wanted(self) -> bool:
        """Whether it is visible in a browser."""
        with self._state:
            return bool(self._seen)

    def pulse(self) -> None:
        """Ask for news and send it to the browser; called by the thread of news."""
        with self._state:
            marks, hellos = self._marks, self._hellos
        try:
            message, marks = self.news(marks)
        except ServingError as error:
            gone = error.code is Code.NOT_FOUND
            text = "server stopped" if gone else "the server does not answer"
            self._ended = True
            self.send({"kind": "ended", "text": text})
            with self._state:
                self._marks = {}
            return
        with self._state:
            if hellos == self._hellos:
                self._marks = marks
        self._ended = False
        # A new view gets everything, and so does an older view once more.
        message["fresh"] = hellos != self._told
        self._told = hellos
        self.send(message)

    def news(self, marks: dict[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
        """News since `marks` (empty: everything) as a message to the browser, and the next marks.

        Raises:
            ServingError: NOT_FOUND, the server has ended; UNAVAILABLE, it does not answer.
        """
        news = self._control.pulse(self._model, marks or FIRST, self.target_micros)
        if not marks:
            news = backlog(news)
        return {"kind": "pulse", "pulse": news}, marks_of(news)

    def _on_message(self, widget: Any, message: Any, buffers: Any) -> None:
        op = message.get("op")
        view = str(message.get("view", ""))
        if op == "hello":
            with self._state:
                # A new view needs everything.
                self._marks = {}
                self._hellos += 1
                self._seen.add(view)
            _NEWS.look_at(self)
        elif op == "seen":
            with self._state:
                (self._seen.add if message.get("value") else self._seen.discard)(view)
            if message.get("value"):
                _NEWS.look_at(self)
        else:
            super()._on_message(widget, message, buffers)

    def _obey(self, op: str, message: Mapping[str, Any]) -> None:
        super()._obey(op, message)
        _NEWS.look_at(self)


class _News:
    """The thread that asks for news; it runs while any widget is visible."""

    def __init__(self) -> None:
        # The widgets, each with the time of its next news.
        self._due: weakref.WeakKeyDictionary[LiveWidget, float] = weakref.WeakKeyDictionary()
        self._lock = threading.Lock()
        self._wake = threading.Event()
        self._thread: threading.Thread | None = None

    def look_at(self, widget: LiveWidget) -> None:
        """Send the widget news now, and from now on."""
        with self._lock:
            self._due[widget] = 0.0
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, name="widget-news", daemon=True)
                self._thread.start()
        self._wake.set()

    def _run(self) -> None:
        while True:
            self._wake.clear()
            with self._lock:
                looked_at = [w for w in self._due if w.wanted]
                if not looked_at:
                    self._thread = None
                    return
            now = time.monotonic()
            for widget in looked_at:
                if self._due.get(widget, 0.0) <= now:
                    widget.pulse()
                    pause = _AGAIN_SECONDS if widget._ended else widget.interval_seconds
                    self._due[widget] = time.monotonic() + pause
            soonest = min(self._due.get(w, 0.0) for w in looked_at)
            del looked_at
            self._wake.wait(max(0.02, soonest - time.monotonic()))


_NEWS = _News()
