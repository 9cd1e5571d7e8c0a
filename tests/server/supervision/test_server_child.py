"""What a server process leaves behind is recognised by its session."""

from __future__ import annotations

import subprocess
import sys

SCRIPT = """
import subprocess, time
import psutil
from workbench.processes.lifetime import become_subreaper
from workbench.server.supervision.server_child import ServerChild

become_subreaper()
# A kernel that supervises a server has children of its own, in any session.
mine = [subprocess.Popen(["sleep", "60"], start_new_session=new) for new in (False, True)]
# The leader has ended, and leaves a process that ignores the end of its parent, and a zombie.
child = ServerChild.__new__(ServerChild)
child.process = subprocess.Popen(["sh", "-c", "sleep 60 & true &"], start_new_session=True)
child.process.wait()
time.sleep(0.2)
assert len(psutil.Process().children()) == 4, psutil.Process().children()
child.end_orphans()
assert {each.pid for each in psutil.Process().children()} == {each.pid for each in mine}
for each in mine:
    each.kill()
"""


def test_only_the_processes_of_the_ended_session_are_ended() -> None:
    done = subprocess.run([sys.executable, "-c", SCRIPT], capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")
