from workbench.core.status import Code
from workbench.formats.http_status import HTTP_STATUS, code_of_status, reason_phrase


def test_every_code_has_tensorflow_servings_status() -> None:
    assert dict(HTTP_STATUS) == {
        Code.OK: 200,
        Code.CANCELLED: 499,
        Code.UNKNOWN: 500,
        Code.INVALID_ARGUMENT: 400,
        Code.DEADLINE_EXCEEDED: 504,
        Code.NOT_FOUND: 404,
        Code.ALREADY_EXISTS: 409,
        Code.PERMISSION_DENIED: 403,
        Code.RESOURCE_EXHAUSTED: 429,
        Code.FAILED_PRECONDITION: 400,
        Code.ABORTED: 409,
        Code.OUT_OF_RANGE: 400,
        Code.UNIMPLEMENTED: 501,
        Code.INTERNAL: 500,
        Code.UNAVAILABLE: 503,
        Code.DATA_LOSS: 500,
        Code.UNAUTHENTICATED: 401,
    }
    assert set(HTTP_STATUS) == set(Code)


def test_a_status_stands_for_the_first_code_that_has_it() -> None:
    statuses = (200, 400, 409, 412, 413, 429, 500, 502, 503)
    assert [code_of_status(status).name for status in statuses] == [
        "OK", "INVALID_ARGUMENT", "ALREADY_EXISTS", "UNKNOWN", "INVALID_ARGUMENT",
        "RESOURCE_EXHAUSTED", "UNKNOWN", "UNKNOWN", "UNAVAILABLE",
    ]  # fmt: skip


def test_reason_phrases_are_libevents() -> None:
    statuses = (200, 400, 401, 404, 408, 409, 413, 429, 431, 499, 500, 501, 503, 504, 507)
    assert [reason_phrase(status) for status in statuses] == [
        "OK", "Bad Request", "Unauthorized", "Not Found", "Request Time-out", "Conflict",
        "Request Entity Too Large", "Client Error", "Client Error", "Client Error",
        "Internal Server Error", "Not Implemented", "Service Unavailable", "Gateway Time-out",
        "Server Error",
    ]  # fmt: skip
