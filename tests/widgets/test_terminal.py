"""In a plain IPython the live views are text."""

from __future__ import annotations

import subprocess
import sys

import workbench as wb

_LINES = """
import workbench as wb
server = wb.connect("half")
server
server.ledger()
server.timeline()
names = {"x_label": "ms", "y_label": "y", "y_range": (0, 3)}
wb.PredictThenReveal("How fast?", [1, 2], lambda report: [1, 2], **names)
wb.policy_stepper()
wb.fleet_explorer()
"""


def test_text_in_a_terminal(live: wb.Server) -> None:
    """`live` is found by its name in the registry that its environment names."""
    done = subprocess.run(
        [sys.executable, "-m", "IPython", "--simple-prompt", "--no-banner", "--colors=nocolor"],
        input=_LINES,
        capture_output=True,
        text=True,
        timeout=100,
    )
    assert done.returncode == 0, done.stderr
    said = done.stdout
    assert "half at http://127.0.0.1:" in said
    assert "Memory of half, as of " in said
    assert "version 1: runtime" in said
    assert "Timeline of half on half, as of " in said
    assert "available" in said.partition("Timeline of")[2]
    assert "<PredictThenReveal 'How fast?': not revealed yet>" in said
    assert "<PolicyStepper smooth: 1 ready un-aspired, 2 new>" in said
    assert "Fleet explorer: 7,900 requests/s, 4 servers" in said
    assert "Traceback" not in said
    assert "Widget" not in said
