"""Ends the processes that a test starts with the test, also when it is killed."""

from __future__ import annotations

import shutil

WITH_TEST = ("setpriv", "--pdeathsig", "TERM") if shutil.which("setpriv") else ()
"""Goes before a command. The kernel then sends SIGTERM when the thread that started it ends."""
