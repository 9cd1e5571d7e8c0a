"""The steps as a figure and a table: one column or row for each moment."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from workbench.core.versions.policies import Version
from workbench.core.versions.states import HarnessState
from workbench.experiments.figure import INK, PAGE_WIDTH, Picture
from workbench.experiments.looks import FAILED, STATES, StateLook, version_colour

if TYPE_CHECKING:
    import pandas as pd

SHOWN = 12
"""The figure shows only the latest moments; the table has all."""
_S = HarnessState
# As in the timeline: full while serving, hatched while loading or unloading.
_LOOK: dict[HarnessState, StateLook] = {
    _S.LOADING: STATES["LOADING"],
    _S.STAGING: StateLook(0.2, "rising"),
    _S.STAGED: StateLook(0.2),
    _S.READY: STATES["AVAILABLE"],
    _S.QUIESCING: STATES["UNLOADING"],
    _S.UNLOADING: STATES["UNLOADING"],
}
_PALE = StateLook(0.06)
By = Literal["policy", "server", "time", "you"]


@dataclass(frozen=True)
class Moment:
    """The table after something happened.

    Attributes:
        by: the cause: the policy decided, the server cleaned up, time passed, or the user edited.
        why: what happened, in words.
        rows: the versions then.
    """

    by: By
    why: str
    rows: tuple[Version, ...]


def frame_of(moments: Sequence[Moment]) -> pd.DataFrame:
    """One row a moment: who did what, and the state of each version then."""
    import pandas as pd

    versions = sorted({row.version for moment in moments for row in moment.rows})
    found = []
    for moment in moments:
        states = {row.version: _words(row) for row in moment.rows}
        row = {"by": moment.by, "what happened": moment.why}
        row |= {f"version {version}": states.get(version, "") for version in versions}
        found.append(row)
    return pd.DataFrame(found)


def _words(row: Version) -> str:
    return row.state.value + ("" if row.aspired else ", not aspired")


def figure_of(title: str, moments: Sequence[Moment]) -> Picture:
    """A lane for each version, a column for each of the latest moments."""
    from matplotlib.patches import Rectangle

    first = max(0, len(moments) - SHOWN)
    shown = moments[first:]
    versions = sorted({row.version for moment in shown for row in moment.rows}, reverse=True)
    lanes = {version: at for at, version in enumerate(versions)}
    width = max(PAGE_WIDTH * 0.6, min(PAGE_WIDTH * 1.5, 1.5 + 0.85 * len(shown)))
    figure = Picture(figsize=(width, 1.1 + 0.5 * len(versions)), layout="constrained")
    axes = figure.subplots()
    for place, moment in enumerate(shown):
        for row in moment.rows:
            failed = row.state is _S.ERROR
            colour = FAILED if failed else version_colour(row.version)
            look = _LOOK.get(row.state, _PALE)
            box = Rectangle((place + 0.03, lanes[row.version] - 0.38), 0.94, 0.76)
            box.set(facecolor=colour, edgecolor=colour, linewidth=0.6, **look.patch())
            axes.add_patch(box)
            plain = look.opacity != 1.0
            axes.text(
                place + 0.5, lanes[row.version], row.state.value.replace("_", "\n"),
                ha="center", va="center", fontsize=7.5, color=INK if plain else "white",
                bbox={"facecolor": "white", "edgecolor": "none", "pad": 1} if plain else None,
            )  # fmt: skip
            if not row.aspired:
                ends = [place + 0.1, place + 0.9]
                axes.plot(ends, [lanes[row.version] - 0.44] * 2, color=colour, ls=":", lw=1.2)
    axes.set_xlim(0, max(1, len(shown)))
    axes.set_ylim(-0.6, len(versions) - 0.4)
    axes.set_yticks(range(len(versions)), [f"version {version}" for version in versions])
    labels = [f"{first + at}\n{moment.by}" for at, moment in enumerate(shown)]
    labels[0] = "begin" if first == 0 else labels[0]
    axes.set_xticks([at + 0.5 for at in range(len(shown))], labels, fontsize=8)
    axes.set_title(title, loc="left", fontsize=10)
    axes.set_xlabel("step, and who took it; dotted: not aspired", fontsize=8)
    axes.tick_params(length=0)
    for side in axes.spines.values():
        side.set_visible(False)
    return figure
