"""Tracebacks of our refusals in a cell: the user's own lines and the sentence.

A `ServingError` says its cause and its cure. The code of this package below the user's call, and
the errors inside it that led to the refusal, add nothing to that. IPython asks an exception for its
traceback (`_render_traceback_`), so plain Python, other exceptions and `%debug` are not changed.
`%xmode Verbose` shows everything.
"""

from __future__ import annotations

import sysconfig
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType

from workbench.core.status import ServingError

_OURS = f"{Path(__file__).parents[1]}/"
_LIBRARIES = tuple(f"{sysconfig.get_path(name)}/" for name in ("stdlib", "purelib", "platlib"))


def in_a_cell(error: ServingError) -> list[str]:
    """The traceback for a cell, as IPython wants it: parts that are printed below each other."""
    from IPython import get_ipython

    formatter = get_ipython().InteractiveTB
    if formatter.mode == "Verbose":
        parts: list[str] = formatter.structured_traceback(type(error), error, error.__traceback__)
        return parts
    shown = _copy(error)
    shown.__context__ = _of_the_user(error)
    parts = formatter.structured_traceback(
        type(error), shown, _without_ours(error.__traceback__), tb_offset=0
    )
    return parts


def _copy(error: ServingError) -> ServingError:
    """The same error, raised nowhere and by nothing."""
    made = type(error).__new__(type(error), *error.args)
    made.__dict__.update(error.__dict__)
    return made


def _of_the_user(error: BaseException) -> BaseException | None:
    """The nearest error behind this one that was raised in the user's code."""
    seen: set[int] = set()
    behind = error.__cause__ or (None if error.__suppress_context__ else error.__context__)
    while behind is not None and id(behind) not in seen:
        seen.add(id(behind))
        # What was raised in our code, or below it, is ours.
        if not any(_is_ours(each) for each in _chain(behind.__traceback__)):
            return behind
        behind = behind.__cause__ or (None if behind.__suppress_context__ else behind.__context__)
    return None


def _without_ours(traceback: TracebackType | None) -> TracebackType | None:
    """The user's frames: all before the first of this package, and from there on those that are
    neither of this package nor of a library, such as a function that we call back."""
    kept: list[TracebackType] = []
    inside = False
    for each in _chain(traceback):
        module = each.tb_frame.f_globals.get("__name__", "")
        inside = inside or _is_ours(each)
        library = each.tb_frame.f_code.co_filename.startswith(_LIBRARIES)
        if not (module.partition(".")[0] == "IPython" or (inside and (_is_ours(each) or library))):
            kept.append(each)
    made: TracebackType | None = None
    for each in reversed(kept):
        made = TracebackType(made, each.tb_frame, each.tb_lasti, each.tb_lineno)
    return made


def _is_ours(traceback: TracebackType) -> bool:
    return traceback.tb_frame.f_code.co_filename.startswith(_OURS)


def _chain(traceback: TracebackType | None) -> Iterator[TracebackType]:
    while traceback is not None:
        yield traceback
        traceback = traceback.tb_next
