"""The outcome of a call of `serve`: a type for programs, a message for people."""

from __future__ import annotations

import html
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from workbench.core.signature import Signature
from workbench.core.status import Code, ServingError


class Outcome:
    """An outcome; it prints as its message, in a terminal and in a cell."""

    ok = True
    changes: tuple[str, ...] = ()
    settings: tuple[str, ...] = ()

    @property
    def message(self) -> str:
        """A sentence, and a line for each detail."""
        return "\n".join([self._sentence(), *self.changes, *self.settings])

    @property
    def brief(self) -> str:
        """A short form, for a place where the server is named already."""
        return "; ".join([self._short(), *self.changes, *self.settings])

    def _sentence(self) -> str:
        raise NotImplementedError

    def _short(self) -> str:
        return type(self).__name__.lower()

    def __str__(self) -> str:
        return self.message

    def _repr_html_(self) -> str:
        first, _, rest = html.escape(self.message).partition("\n")
        colour = "success-color0, #1b7f3b" if self.ok else "error-color0, #b00020"
        if rest:
            style = "margin:6px 0 0;white-space:pre-wrap;font-size:12px"
            rest = f'<pre style="{style}">{rest}</pre>'
        style = f"border-left:3px solid var(--jp-{colour});padding:2px 0 2px 10px"
        return f'<div style="{style}">{first}{rest}</div>'


@dataclass(frozen=True)
class Launched(Outcome):
    """A new server; `note` says if its start was unusual."""

    name: str
    url: str
    note: str = ""

    def _sentence(self) -> str:
        return f"Serving {self.name} at {self.url}" + (f" ({self.note})" if self.note else "")


@dataclass(frozen=True)
class Reused(Outcome):
    """The server ran already and serves this model. `settings` has a line for each setting that was
    changed, and one for those that cannot be changed."""

    name: str
    url: str
    settings: tuple[str, ...] = ()

    def _sentence(self) -> str:
        return f"Reusing {self.name} at {self.url}: it runs already and the model is the same"

    def _short(self) -> str:
        return "reused, the model is the same"


@dataclass(frozen=True)
class Published(Outcome):
    """The model had changed and became the next version. `changes` has a line for each difference,
    and `settings` is as for `Reused`."""

    name: str
    url: str
    version: int
    changes: tuple[str, ...] = ()
    settings: tuple[str, ...] = ()

    def _sentence(self) -> str:
        return f"Published version {self.version} of {self.name} at {self.url}"

    def _short(self) -> str:
        return f"published version {self.version}"


@dataclass(frozen=True)
class Failed(Outcome):
    """There is no server, or no new version; `error` is the reason."""

    name: str
    error: ServingError
    ok = False

    def _sentence(self) -> str:
        return f"{self.name} is not served: {self.error.message}"


@dataclass(frozen=True)
class TimedOut(Outcome):
    """No version was available in time; one may still become available."""

    name: str
    error: ServingError
    ok = False

    def _sentence(self) -> str:
        return f"{self.name} is not served yet: {self.error.message}"


def outcome_of(name: str, error: ServingError) -> Outcome:
    """The outcome of an error."""
    return (TimedOut if error.code is Code.DEADLINE_EXCEEDED else Failed)(name, error)


def differences(before: Mapping[str, Any], after: Mapping[str, Any]) -> tuple[str, ...]:
    """The differences between two described versions, a line each."""
    lines = []
    old, new = Signature.all_from_json(before), Signature.all_from_json(after)
    for name in sorted(old.keys() | new.keys()):
        if name not in new:
            lines.append(f"signature {name} is gone")
        elif name not in old:
            lines.append(f"signature {name} is new: {new[name]}")
        elif (old[name].inputs, old[name].outputs) != (new[name].inputs, new[name].outputs):
            lines.append(f"signature {name}: {old[name]} became {new[name]}")
    if not lines:
        lines.append("signatures unchanged")
    was, now = before["size_bytes"], after["size_bytes"]
    change = f" ({(now - was) / was:+.0%})" if was and now != was else ""
    lines.append(f"size on disk {_size(was)} -> {_size(now)}{change}")
    return tuple(lines)


def _size(nbytes: int) -> str:
    if nbytes < 1000:
        return f"{nbytes} bytes"
    for unit, scale in (("KB", 1e3), ("MB", 1e6)):
        size = nbytes / scale
        if size < 1000:
            return f"{size:.{0 if size >= 10 else 1}f} {unit}"
    return f"{nbytes / 1e9:.1f} GB"
