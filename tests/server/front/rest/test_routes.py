from __future__ import annotations

import pytest

from workbench.core.status import Code, ServingError
from workbench.server.front.rest.rest import route
from workbench.server.front.rest.routes import Route, UnreadableVersion


@pytest.mark.parametrize(
    ("method", "target", "asked"),
    [
        ("POST", "/v1/models/m:predict", Route("predict", "m")),
        ("POST", "/v1/models/m/versions/1:predict", Route("predict", "m", 1)),
        ("POST", "/v1/models/m/versions/00000123:predict", Route("predict", "m", 123)),
        ("POST", "/v1/models/m/versions/0:predict", Route("predict", "m", 0)),
        ("POST", f"/v1/models/m/versions/{2**63 - 1}:predict", Route("predict", "m", 2**63 - 1)),
        # Python refuses to convert more than 4 300 digits; these are only zeros.
        ("POST", f"/v1/models/m/versions/{'0' * 5000}7:predict", Route("predict", "m", 7)),
        ("POST", "/v1/models/m/labels/stable:predict", Route("predict", "m", None, "stable")),
        ("POST", "/v1/models/m/labels/a%2Fb%3A:regress", Route("regress", "m", None, "a/b:")),
        ("POST", "/v1/models/m:classify", Route("classify", "m")),
        ("POST", "/v1/models/m/versions/2:regress", Route("regress", "m", 2)),
        ("POST", "/V1/Models/m/Versions/3:predict", Route("predict", "m", 3)),
        # Matched undecoded, decoded afterwards; a plus sign is no space.
        ("POST", "/v1/models/name%2F%3A:predict", Route("predict", "name/:")),
        ("POST", "/v1/models/a+b%20c:predict", Route("predict", "a+b c")),
        ("POST", "/v1/models/m%C3%A9:predict", Route("predict", "mé")),
        ("GET", "/v1/models/m", Route("status", "m")),
        ("GET", "/v1/models/m/versions/1", Route("status", "m", 1)),
        ("GET", "/v1/models/m/labels/stable", Route("status", "m", None, "stable")),
        # The query is part of what is matched, and here of the name.
        ("GET", "/v1/models/m?x=1", Route("status", "m?x=1")),
        ("GET", "/v1/models/m/metadata", Route("metadata", "m")),
        ("GET", "/v1/models/m/versions/1/metadata", Route("metadata", "m", 1)),
        ("GET", "/v1/models/m/labels/l/metadata", Route("metadata", "m", None, "l")),
        # Matched in any case, compared in lower case.
        ("GET", "/v1/models/m/Metadata", Route("status", "m")),
        ("GET", "/v1/models/metadata", Route("status", "metadata")),
        ("GET", "/v1/models", Route("list")),
        ("GET", "/health/live", Route("live")),
        ("GET", "/health/ready?verbose", Route("ready")),
        ("HEAD", "/health/live", Route("live")),
        ("OPTIONS", "/v1/models/m:predict", Route("preflight")),
        ("OPTIONS", "/v1/anything", Route("preflight")),
        ("OPTIONS", "/health/live", Route("page not found")),
        ("GET", "/", Route("page not found")),
        ("GET", "/v2/models/m", Route("page not found")),
        ("GET", "/v1", Route("page not found")),
        ("POST", "/health/live", Route("page not found")),
        ("GET", "/health", Route("page not found")),
        ("POST", "*", Route("page not found")),
    ],
)  # fmt: skip
def test_what_a_request_asks_for(method: str, target: str, asked: Route) -> None:
    assert route(method, target) == asked


@pytest.mark.parametrize(
    ("method", "target"),
    [
        ("POST", "/v1/models/m"),
        ("POST", "/v1/models/m:"),
        ("POST", "/v1/models/m:Predict"),
        ("POST", "/v1/models/m:PREDICT"),
        ("POST", "/v1/models/m:multi"),
        ("POST", "/v1/models/m:predict/"),
        ("POST", "/v1/models/m:predict?x=1"),
        ("POST", "/v1/models/:predict"),
        ("POST", "/v1/models/a/b:predict"),
        ("POST", "/v1/models/a:b:predict"),
        ("POST", "/v1/models/m/version/1:predict"),
        ("POST", "/v1/models/m/versions/abc:predict"),
        ("POST", "/v1/models/m/versions/-1:predict"),
        ("POST", "/v1/models/m/versions/:predict"),
        ("POST", "/v1/models/m/versions/1/labels/x:predict"),
        ("POST", "/v1/models/m/labels/x/versions/1:predict"),
        ("GET", "/v1/models/m:predict"),
        ("GET", "/v1/models/"),
        ("GET", "/v1/models/m/"),
        ("GET", "/v1/models/m/versions/1/"),
        ("GET", "/v1/models/m/metadata/x"),
        ("GET", "/v1/foo"),
        ("GET", "/v1/"),
        ("HEAD", "/v1/models/m"),
        ("PUT", "/v1/models/m"),
        ("DELETE", "/v1/models/m"),
        ("PATCH", "/v1/models/m:predict"),
    ],
)
def test_malformed_requests_say_what_was_sent(method: str, target: str) -> None:
    with pytest.raises(ServingError) as refused:
        route(method, target)
    assert refused.value == ServingError(
        Code.INVALID_ARGUMENT, f"Malformed request: {method} {target}"
    )


@pytest.mark.parametrize(
    "target", ["/v1/models/versions/1", "/v1/models/labels/x", "/v1/models/labels/x/metadata"]
)
def test_a_version_of_no_model_is_refused(target: str) -> None:
    with pytest.raises(ServingError) as refused:
        route("GET", target)
    assert refused.value == ServingError(Code.INVALID_ARGUMENT, "Missing model name in request.")


@pytest.mark.parametrize("digits", [str(2**63), "9" * 20, "1" * 5000])
@pytest.mark.parametrize("rest", [":predict", ":classify"])
def test_a_version_beyond_64_bits_cannot_be_read(digits: str, rest: str) -> None:
    with pytest.raises(UnreadableVersion):
        route("POST", f"/v1/models/m/versions/{digits}{rest}")
