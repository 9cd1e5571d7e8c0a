"""The README's moving picture: one new version, brought in smoothly and unload-first.

    python -m docs.transition_animation docs/images/transition.gif

Both are real, on the same arrivals. The figure is that of `server.compare_transitions`; time
uncovers it.
"""

from __future__ import annotations

import io
import sys
from typing import TYPE_CHECKING

import workbench as wb
from workbench.experiments.recording.recording_figure import draw
from workbench.samples.digits import load_digits, train_digits

if TYPE_CHECKING:
    from matplotlib.figure import Figure
    from PIL.Image import Image

POLICIES = ("smooth", "unload_first")
VIEW_SECONDS = (-0.15, 0.6)
FRAMES, FRAME_MILLIS, LAST_MILLIS = 60, 70, 4000
DPI = 120


def main(file: str) -> None:
    """Measure both policies, and write the GIF."""
    digits = load_digits()
    with wb.serve(train_digits(), "digits-animation") as server:
        found = server.compare_transitions(
            train_digits(hidden=(512, 512, 256)),
            digits.x_test[:1],
            policies=POLICIES,
            rate=300,
            repeats=3,
            keep=False,
        )
        print(found.advice)
    figure = draw([found.of(policy)[1].recording for policy in POLICIES], view=VIEW_SECONDS)
    first, *others = pictures(figure)
    first.save(
        file,
        save_all=True,
        append_images=others,
        duration=[FRAME_MILLIS] * (len(others)) + [LAST_MILLIS],
        loop=0,
        optimize=True,
    )


def pictures(figure: Figure) -> list[Image]:
    """The figure at each moment: what is yet to come is covered."""
    from PIL import Image

    panels = [axes for axes in figure.axes if axes.get_visible()]
    begin, end = VIEW_SECONDS
    figure.canvas.draw()
    # The first placing of the panels holds for all frames, and so do their ends.
    figure.set_layout_engine("none")
    for axes in panels:
        axes.set_xlim(VIEW_SECONDS)
    found = []
    for frame in range(FRAMES + 1):
        now = begin + (end - begin) * frame / FRAMES
        marks = []
        for axes in panels:
            marks.append(axes.axvspan(now, 2 * end, color="white", linewidth=0, zorder=50))
            marks.append(axes.axvline(now, color="#333333", linewidth=0.8, zorder=51))
        data = io.BytesIO()
        figure.savefig(data, dpi=DPI, facecolor="white", bbox_inches="tight", pad_inches=0.08)
        found.append(Image.open(data).convert("P", palette=Image.Palette.ADAPTIVE, colors=64))
        for mark in marks:
            mark.remove()
    return found


if __name__ == "__main__":
    main(sys.argv[1])
