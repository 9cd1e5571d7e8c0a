"""The pictures of the README and the documentation, made from the real thing.

    make screenshots

The figures come from `docs.version_figure`, `docs.transition_figure`, `docs.transition_animation`
and `docs.fleet_pictures`, the pictures of JupyterLab from its browser tests: of those, the ones
that a page shows are kept.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]
DOCS = ROOT / "docs"
IMAGES = DOCS / "images"
SCREENSHOTS = ROOT / "out" / "screenshots"


def main() -> int:
    """Make all pictures; returns the exit status, 1 when one failed."""
    IMAGES.mkdir(parents=True, exist_ok=True)
    versions = [sys.executable, "-m", "docs.version_figure", str(IMAGES / "versions.png")]
    policies = [sys.executable, "-m", "docs.transition_figure", str(IMAGES / "policies.png")]
    moving = [sys.executable, "-m", "docs.transition_animation", str(IMAGES / "transition.gif")]
    fleet = [sys.executable, "-m", "docs.fleet_pictures", str(IMAGES)]
    tests = [
        *(sys.executable, "-m", "pytest", "-q"),
        *("-n", "2", "--dist", "loadfile", "tests/browser"),
    ]
    for command in (versions, policies, moving, fleet, tests):
        if subprocess.run(command, cwd=ROOT).returncode:
            return 1
    pages = "".join(page.read_text() for page in (ROOT / "README.md", *DOCS.rglob("*.md")))
    for picture in sorted(SCREENSHOTS.glob("*.png")):
        if picture.name in pages:
            shutil.copy(picture, IMAGES)
    print(f"{len(list(IMAGES.glob('*.png')))} pictures in {IMAGES}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
