"""The supervisor as a process of its own."""

from __future__ import annotations

import os
import signal
import sys
import threading
from pathlib import Path
from typing import NoReturn

import orjson

from workbench.core.status import ServingError
from workbench.processes.lifetime import wait_for_end
from workbench.processes.server_options import StartRequest
from workbench.server.supervision.supervisor import Supervisor


def main() -> NoReturn:
    """Run a supervisor until its owner ends, a signal comes, or its server has ended.

    Reads a `StartRequest` from standard input, and prints one line of JSON: ``{"ready": true}`` or
    ``{"failed": message, "code": name}``.
    """
    request = StartRequest.from_bytes(sys.stdin.buffer.read())
    supervisor = Supervisor(request)
    wake = threading.Event()
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, lambda *_: wake.set())
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    owner = request.owner
    if owner is not None:

        def owner_died() -> None:
            wait_for_end(owner)
            wake.set()

        threading.Thread(target=owner_died, name="owner-watch", daemon=True).start()
    try:
        entry = supervisor.start()
    except ServingError as error:
        print(orjson.dumps({"failed": error.message, "code": error.code.name}).decode(), flush=True)
        os._exit(1)
    print(orjson.dumps({"ready": True}).decode(), flush=True)
    # The owner may end, and its pipes with it; a reader of these pipes must not wait for us.
    log = os.open(Path(entry.folder) / "server.log", os.O_WRONLY | os.O_APPEND)
    os.dup2(log, 1)
    os.dup2(log, 2)
    os.close(log)
    supervisor.stop_when(wake)
    os._exit(0)


if __name__ == "__main__":
    main()
