"""The two pictures of docs/design.md: `python -m docs.design_pictures` writes them as SVG.

They have no figure in them: boxes, arrows and words only, readable on light and dark pages.
"""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple
from xml.sax.saxutils import escape

IMAGES = Path(__file__).with_name("images")
STYLE = """
text { font: 13px system-ui, sans-serif; fill: #24292f; }
.note { font-size: 11.5px; fill: #57606a; }
.label { font-size: 11.5px; fill: #57606a; }
rect { fill: #f6f8fa; stroke: #8c959f; }
rect.ours { fill: #ddf4ff; stroke: #54aeff; }
rect.group { fill: none; stroke: #8c959f; stroke-dasharray: 5 4; }
path { fill: none; stroke: #57606a; stroke-width: 1.4; marker-end: url(#tip); }
path.dashed { stroke-dasharray: 5 4; }
#tip path { fill: #57606a; stroke: none; marker-end: none; }
@media (prefers-color-scheme: dark) {
  text { fill: #e6edf3; }
  .note, .label { fill: #9da7b3; }
  rect { fill: #21262d; stroke: #6e7681; }
  rect.ours { fill: #0c2d4a; stroke: #388bfd; }
  path { stroke: #9da7b3; }
  #tip path { fill: #9da7b3; }
}
"""


class Box(NamedTuple):
    """A box at (x, y), in pixels, with a title and lines below it."""

    x: int
    y: int
    width: int
    height: int
    title: str
    lines: tuple[str, ...] = ()
    kind: str = ""


class Arrow(NamedTuple):
    """A line through points, in pixels, and a label at the last pair."""

    points: tuple[tuple[int, int], ...]
    label: str = ""
    at: tuple[int, int] = (0, 0)
    kind: str = ""


def svg(width: int, height: int, boxes: list[Box], arrows: list[Arrow], title: str) -> str:
    """The picture as text."""
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" '
        f'width="{width}" height="{height}" role="img" aria-label="{escape(title)}">',
        f"<style>{STYLE}</style>",
        '<defs><marker id="tip" viewBox="0 0 8 8" refX="7" refY="4" markerWidth="7" '
        'markerHeight="7" orient="auto"><path d="M0,0 L8,4 L0,8 z"/></marker></defs>',
    ]
    for box in boxes:
        parts.append(
            f'<rect class="{box.kind}" x="{box.x}" y="{box.y}" width="{box.width}" '
            f'height="{box.height}" rx="6"/>'
        )
        parts.append(f'<text x="{box.x + 10}" y="{box.y + 20}">{escape(box.title)}</text>')
        for number, line in enumerate(box.lines):
            y = box.y + 38 + 16 * number
            parts.append(f'<text class="note" x="{box.x + 10}" y="{y}">{escape(line)}</text>')
    for arrow in arrows:
        way = " L".join(f"{x},{y}" for x, y in arrow.points)
        parts.append(f'<path class="{arrow.kind}" d="M{way}"/>')
        if arrow.label:
            x, y = arrow.at
            parts.append(f'<text class="label" x="{x}" y="{y}">{escape(arrow.label)}</text>')
    return "\n".join([*parts, "</svg>", ""])


PROCESSES = (
    [
        Box(20, 20, 220, 62, "owner", ("a notebook's kernel, a script,", "a Jupyter kernel")),
        Box(20, 140, 220, 78, "supervisor",
            ("holds the listening sockets,", "restarts the server process,",
             "ends it with the owner"), "ours"),
        Box(320, 20, 390, 330, "server process: no TensorFlow", (), "group"),
        Box(340, 60, 165, 78, "front",
            ("REST, gRPC, metrics;", "reads and writes tensors"), "ours"),
        Box(525, 60, 165, 78, "control", ("orders of clients,", "over a unix socket"), "ours"),
        Box(340, 180, 350, 62, "engine",
            ("versions, batches, memory, trial, telemetry",), "ours"),
        Box(340, 272, 350, 60, "core", ("the rules: states, policies, batching, budget",)),
        Box(780, 20, 220, 62, "codec processes",
            ("convert large JSON bodies,", "one for each class of sizes"), "ours"),
        Box(780, 140, 220, 62, "zygote", ("has imported TensorFlow,", "forks workers"), "ours"),
        Box(780, 240, 220, 46, "worker: version 1", ("one loaded version",), "ours"),
        Box(780, 304, 220, 46, "worker: version 2", ("one loaded version",), "ours"),
        Box(20, 272, 220, 78, "client, JupyterLab",
            ("requests to the front,", "orders to the control plane")),
    ],
    [
        Arrow(((130, 82), (130, 138)), "starts", (138, 114)),
        Arrow(((240, 170), (318, 170)), "starts", (252, 162)),
        Arrow(((240, 300), (290, 300), (290, 110), (338, 110)), "HTTP, gRPC", (246, 318)),
        Arrow(((422, 138), (422, 178))),
        Arrow(((607, 138), (607, 178))),
        Arrow(((515, 242), (515, 270)), "asks", (523, 262)),
        Arrow(((505, 80), (515, 80), (515, 52), (778, 52)), "shared memory", (640, 46)),
        Arrow(((690, 200), (735, 200), (735, 170), (778, 170)), "start", (742, 162)),
        Arrow(((690, 222), (735, 222), (735, 263), (778, 263)),
              "batches in shared memory", (636, 368)),
        Arrow(((735, 263), (735, 327), (778, 327))),
        Arrow(((1000, 170), (1020, 170), (1020, 263), (1002, 263)), "forks", (1024, 215), "dashed"),
        Arrow(((1020, 263), (1020, 327), (1002, 327)), "", (0, 0), "dashed"),
    ],
)  # fmt: skip

REQUEST = (
    [
        Box(20, 20, 300, 62, "1  front/http or front/grpc",
            ("parses the request; access and admission", "decide whether it is taken"), "ours"),
        Box(20, 112, 300, 62, "2  front/rest, front/json",
            ("names model and signature;", "JSON becomes tensors (large: in codec)"), "ours"),
        Box(20, 204, 300, 62, "3  engine/batching: tasks, scheduler",
            ("the task waits in the queue", "of its version and signature"), "ours"),
        Box(400, 204, 270, 62, "core/batching: queue, slots",
            ("decides when a batch is closed,", "and why"),),
        Box(400, 20, 270, 62, "core/versions",
            ("which version is available;", "a request may wait out a gap"),),
        Box(20, 296, 300, 62, "4  engine/batching: joining, runs",
            ("the parts are written side by side", "into a lane's shared memory"), "ours"),
        Box(740, 296, 240, 62, "5  worker",
            ("TensorFlow reads the region in place", "and writes outputs to a region"), "ours"),
        Box(740, 204, 240, 62, "6  engine/batching: runs",
            ("splits outputs by request;", "checks, records, telemetry"), "ours"),
        Box(740, 96, 240, 78, "7  front/json, formats/wire",
            ("encode each answer straight", "from shared memory;",
             "then the lane is free"), "ours"),
    ],
    [
        Arrow(((170, 82), (170, 110))),
        Arrow(((170, 174), (170, 202)), "task", (178, 193)),
        Arrow(((170, 266), (170, 294)), "batch", (178, 285)),
        Arrow(((320, 220), (398, 220)), "asks", (344, 214)),
        Arrow(((320, 40), (398, 40)), "asks", (344, 34)),
        Arrow(((320, 327), (738, 327)),
              "one small header over a socket; the tensors stay in the region", (350, 320)),
        Arrow(((860, 294), (860, 268))),
        Arrow(((860, 202), (860, 176))),
    ],
)  # fmt: skip


def main() -> None:
    """Write both pictures into docs/images."""
    processes = svg(1070, 380, *PROCESSES, "The processes of a server and what connects them")
    request = svg(1000, 380, *REQUEST, "The way of a request through the rooms of the server")
    (IMAGES / "processes.svg").write_text(processes)
    (IMAGES / "request.svg").write_text(request)


if __name__ == "__main__":
    main()
