"""Recording traffic over the control plane, beside a real core."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from tests.server.conftest import Planes
from tests.servers import Server
from workbench.load.packed_numbers import unpack_numbers


def test_requests_of_several_inputs_and_of_strings_are_recorded(
    planes: Planes, catalog: Server
) -> None:
    numbers = {}
    for model in ("multi", "text"):
        answer = planes.control("POST", f"/models/{model}/traffic", {"seconds": 60})
        assert (answer.status, answer.json["recorded"], answer.json["ended"]) == (200, 0, False)
        numbers[model] = answer.json["number"]

    asked = [
        ("multi", {"inputs": {"a": [[1.0, 2.0]] * 3, "b": [1, 2, 3]}}),
        ("text", {"instances": ["abc", "de"]}),
        ("text", {"instances": ["x"]}),
        ("text", {"instances": []}),
        ("text", "no object"),
    ]
    statuses = [planes.ask("POST", f"/v1/models/{m}:predict", body).status for m, body in asked]

    found = {}
    for model, number in numbers.items():
        path = f"/models/{model}/traffic/{number}"
        assert planes.control("GET", path).json["number"] == number
        found[model] = planes.control("DELETE", path).json
        assert planes.control("GET", path).status == 404
    # What cannot be read has no size.
    assert statuses == [200, 200, 200, 400, 400]
    assert columns(found["text"], "rows", "bytes") == [[2, 1], [5, 1]]
    (at,) = columns(found["text"], "at")
    assert 0 <= at[0] < at[1]
    assert columns(found["multi"], "rows", "bytes") == [[3], [3 * (2 * 4 + 4)]]


def columns(about: dict[str, Any], *names: str) -> list[list[int]]:
    return [unpack_numbers(about[name], np.int64).tolist() for name in names]


@pytest.mark.parametrize(
    ("method", "path", "body", "status", "code", "message"),
    [
        ("POST", "none/traffic", {"seconds": 1}, 404, "NOT_FOUND", "Could not find model none"),
        ("POST", "text/traffic", {}, 400, "INVALID_ARGUMENT",
         "'seconds' must be a number; was None"),
        ("POST", "text/traffic", {"seconds": True}, 400, "INVALID_ARGUMENT",
         "'seconds' must be a number; was True"),
        ("POST", "text/traffic", {"seconds": 0}, 400, "INVALID_ARGUMENT",
         "Traffic is recorded for more than 0 and at most 86400 seconds; was 0"),
        ("GET", "text/traffic/999", None, 404, "NOT_FOUND",
         "Recording 999 of the traffic of text is gone: nobody has asked about it for 30 s, or the "
         "server process was replaced. Record again"),
        ("DELETE", "half/traffic/999", None, 404, "NOT_FOUND",
         "Recording 999 of the traffic of half is gone: nobody has asked about it for 30 s, or the "
         "server process was replaced. Record again"),
    ],
)  # fmt: skip
def test_what_cannot_be_recorded(
    planes: Planes, catalog: Server, method: str, path: str, body: Any, status: int, code: str,
    message: str,
) -> None:  # fmt: skip
    answer = planes.control(method, f"/models/{path}", body)
    found = answer.json
    assert (answer.status, found["code"], found["error"]) == (status, code, message)
