"""The figure of `docs/compare-transitions.md`: the policies on the same traffic."""

from __future__ import annotations

import sys
from pathlib import Path

import workbench as wb
from workbench.samples.digits import load_digits, train_digits


def main(file: str) -> None:
    """Measure, and write the figure as a PNG and beside it as a PDF."""
    digits = load_digits()
    with wb.serve(train_digits(), "digits-figure") as server:
        found = server.compare_transitions(
            train_digits(hidden=(128, 64)), digits.x_test[:1], repeats=5, keep=False
        )
        print(found)
        # For the page, and for print.
        found.plot().savefig(file, dpi=220, facecolor="white")
        found.plot().savefig(Path(file).with_suffix(".pdf"))


if __name__ == "__main__":
    main(sys.argv[1])
