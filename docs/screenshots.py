"""The pictures of the README and the documentation, made from the real thing.

    make screenshots

The figures come from `docs.version_figure`, `docs.transition_figure` and
`docs.transition_animation`, the pictures of JupyterLab from its browser tests, light and dark.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]
IMAGES = ROOT / "docs" / "images"
SCREENSHOTS = ROOT / "out" / "screenshots"


def main() -> int:
    """Make all pictures; returns the exit status, 1 when one failed."""
    IMAGES.mkdir(parents=True, exist_ok=True)
    versions = [sys.executable, "-m", "docs.version_figure", str(IMAGES / "versions.png")]
    policies = [sys.executable, "-m", "docs.transition_figure", str(IMAGES / "policies.png")]
    moving = [sys.executable, "-m", "docs.transition_animation", str(IMAGES / "transition.gif")]
    tests = [
        *(sys.executable, "-m", "pytest", "-q"),
        *("-n", "2", "--dist", "loadfile", "tests/browser"),
    ]
    for command in (versions, policies, moving, tests):
        if subprocess.run(command, cwd=ROOT).returncode:
            return 1
    for picture in sorted(SCREENSHOTS.glob("*.png")):
        shutil.copy(picture, IMAGES)
    print(f"{len(list(IMAGES.glob('*.png')))} pictures in {IMAGES}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
