"""A load from inside the server, over the control plane, beside a real core."""

from __future__ import annotations

import base64
import gc

from tests.server.conftest import Planes
from tests.servers import Server, floats
from workbench.ipc.frames import encode_message
from workbench.server.engine.engine_load import EngineRun


def test_a_load_leaves_no_records_to_the_garbage_collector(planes: Planes, catalog: Server) -> None:
    inputs = {"a": floats([1.0, 2.0]), "b": floats(1.0).astype("int32")}
    message = encode_message({}, inputs)
    body = {"inputs": [base64.b64encode(message).decode()], "callers": 4, "seconds": 0.2}
    gc.collect()
    gc.disable()
    try:
        answers = [planes.control("POST", "/models/multi/engine-load", body) for _ in range(2)]
        left = [each for each in gc.get_objects() if isinstance(each, EngineRun)]
    finally:
        gc.enable()

    assert [answer.status for answer in answers] == [200, 200], answers
    assert left == []
