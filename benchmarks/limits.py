"""A benchmark's lines, each with what is allowed; a broken limit is the benchmark's failure."""

from __future__ import annotations


class Limits:
    """Prints a line a figure, and remembers which figures are beyond their limits."""

    def __init__(self) -> None:
        self.broken: list[str] = []

    def row(self, what: str, shown: str, allowed: str = "", holds: bool = True) -> None:
        """Print one figure.

        Args:
            allowed: its limit, in words.
            holds: whether it keeps to that.
        """
        verdict = "" if holds else "  BROKEN"
        print(f"{what:<48} {shown:<28} {allowed}{verdict}", flush=True)
        if not holds:
            self.broken.append(what)

    def exit_code(self) -> int:
        """0, or 1 where a limit is broken."""
        return 1 if self.broken else 0
