"""A load from inside the server, over the control plane, beside a real core."""

from __future__ import annotations

import base64
import gc
import time

from tests.server.conftest import Planes
from tests.servers import Server, floats
from workbench.ipc.frames import encode_message
from workbench.server.engine.engine_load import EngineRun


def runs_alive() -> int:
    return sum(isinstance(each, EngineRun) for each in gc.get_objects())


def test_a_load_leaves_no_records_to_the_garbage_collector(planes: Planes, catalog: Server) -> None:
    inputs = {"a": floats([1.0, 2.0]), "b": floats(1.0).astype("int32")}
    message = encode_message({}, inputs)
    body = {"inputs": [base64.b64encode(message).decode()], "callers": 4, "seconds": 0.2}
    gc.collect()
    gc.disable()
    try:
        answers = [planes.control("POST", "/models/multi/engine-load", body) for _ in range(2)]
        # The server's thread may not have left the handler yet.
        end = time.monotonic() + 5
        while (left := runs_alive()) and time.monotonic() < end:
            time.sleep(0.01)
    finally:
        gc.enable()

    assert [answer.status for answer in answers] == [200, 200], answers
    assert left == 0
