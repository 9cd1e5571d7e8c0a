"""The figure of `docs/compare-versions.md`: two versions of a digits classifier."""

from __future__ import annotations

import sys
from pathlib import Path

import workbench as wb
from workbench.samples.digits import load_digits, train_digits


def main(file: str) -> None:
    """Measure, and write the figure as a PNG and beside it as a PDF."""
    digits = load_digits()
    with wb.serve(train_digits(), "digits-figure") as server:
        server.publish(train_digits(hidden=(128, 64)))
        found = server.compare_versions(1, 2, digits.x_test, digits.y_test, pairs=1000, keep=False)
        # For the page, and for print.
        found.plot().savefig(file, dpi=220, facecolor="white")
        found.plot().savefig(Path(file).with_suffix(".pdf"))


if __name__ == "__main__":
    main(sys.argv[1])
