from __future__ import annotations

import pytest

from workbench.processes.tokens import Token
from workbench.server.front.access import LOOPBACK_HOSTS, NEEDS_TOKEN, AccessPolicy, Refusal

TARGET = b"/v1/models/m:predict"
NO_TOKEN = Refusal(401, NEEDS_TOKEN, (("WWW-Authenticate", "Bearer"),))


def test_nothing_is_asked_by_default() -> None:
    assert AccessPolicy().check(b"POST", TARGET, {}) is None
    assert AccessPolicy().check(b"POST", TARGET, {b"host": b"anything:1"}) is None


@pytest.mark.parametrize(
    "authorization", [b"Bearer s3cret", b"bearer s3cret", b"BEARER   s3cret  "]
)
def test_the_token_opens(authorization: bytes) -> None:
    policy = AccessPolicy("s3cret")
    assert policy.check(b"POST", TARGET, {b"authorization": authorization}) is None


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {b"authorization": b""},
        {b"authorization": b"Bearer"},
        {b"authorization": b"Bearer "},
        {b"authorization": b"Bearer s3cre"},
        {b"authorization": b"Bearer s3crets"},
        {b"authorization": b"Basic s3cret"},
        {b"authorization": b"s3cret"},
        {b"authorization": b"Bearer s3cret, Bearer s3cret"},
        {b"authorization": "Bearer s3crét".encode("latin-1")},
    ],
)
def test_without_the_token_the_cure_is_named(headers: dict[bytes, bytes]) -> None:
    refusal = AccessPolicy("s3cret").check(b"POST", TARGET, headers)
    assert refusal == NO_TOKEN
    assert refusal.body == (
        b'{\n    "error": "This server needs its bearer token: send the header '
        b"'Authorization: Bearer <token>', or 'X-Workbench-Token: <token>' through a proxy that "
        b"takes Authorization for itself (server.token in Python, "
        b'`workbench status --token NAME` in a terminal)."\n}'
    )


@pytest.mark.parametrize(
    ("headers", "passes"),
    [
        ({b"x-workbench-token": b"s3cret"}, True),
        ({b"x-workbench-token": b" s3cret "}, True),
        # A hub's proxy has its own token in the usual header.
        ({b"x-workbench-token": b"s3cret", b"authorization": b"token hub"}, True),
        ({b"x-workbench-token": b"wrong", b"authorization": b"Bearer s3cret"}, True),
        ({b"x-workbench-token": b"Bearer s3cret"}, False),
        ({b"x-workbench-token": b"s3cret, s3cret"}, False),
        ({b"x-workbench-token": b""}, False),
        ({b"x-workbench-token": b"wrong"}, False),
    ],
)
def test_the_token_opens_in_a_header_of_its_own(headers: dict[bytes, bytes], passes: bool) -> None:
    assert AccessPolicy("s3cret").check(b"POST", TARGET, headers) == (None if passes else NO_TOKEN)


def test_the_second_header_is_no_way_around_host_and_origin() -> None:
    policy = AccessPolicy("s3cret", LOOPBACK_HOSTS)
    for name in (b"host", b"origin"):
        headers = {b"x-workbench-token": b"s3cret", name: b"evil.example"}
        refusal = policy.check(b"POST", TARGET, headers)
        assert refusal is not None
        assert refusal.status == 403


def test_an_empty_token_is_still_a_token() -> None:
    assert AccessPolicy("").check(b"GET", TARGET, {}) == NO_TOKEN


@pytest.mark.parametrize(
    ("method", "target", "free"),
    [
        (b"GET", b"/health/live", True),
        (b"GET", b"/health/ready?verbose", True),
        (b"OPTIONS", TARGET, True),
        (b"GET", b"/health/live/", False),
        (b"GET", b"/health/../v1/models/m", False),
        (b"GET", b"/metrics", False),
    ],
)
def test_what_needs_no_token(method: bytes, target: bytes, free: bool) -> None:
    assert AccessPolicy("s3cret").check(method, target, {}) == (None if free else NO_TOKEN)


@pytest.mark.parametrize(
    "host", [b"localhost", b"LOCALHOST:8501", b"127.0.0.1:8501", b"127.0.0.1", b"[::1]:8501"]
)
def test_loopback_names_pass(host: bytes) -> None:
    policy = AccessPolicy(allowed_hosts=LOOPBACK_HOSTS)
    assert policy.check(b"POST", TARGET, {b"host": host}) is None


@pytest.mark.parametrize(
    ("host", "shown"),
    [
        (b"evil.example", "'evil.example'"),
        (b"evil.example:8501", "'evil.example:8501'"),
        (b"localhost.evil.example", "'localhost.evil.example'"),
        (b"localhost, evil.example", "'localhost, evil.example'"),
        (b"[::1].evil.example:1", "'[::1].evil.example:1'"),
        (b"localhost:evil.example", "'localhost:evil.example'"),
        (b"127.0.0.1@evil.example", "'127.0.0.1@evil.example'"),
        (b"", "''"),
        (b"x" * 1000, repr("x" * 100)),
    ],
)
def test_other_names_are_refused(host: bytes, shown: str) -> None:
    policy = AccessPolicy("s3cret", LOOPBACK_HOSTS)
    headers = {b"host": host, b"authorization": b"Bearer s3cret"}
    assert policy.check(b"POST", TARGET, headers) == Refusal(
        403,
        f"Host {shown} is not one of this server's names. Call it by the "
        "address it listens on, or allow the name when starting it.",
    )


def test_a_request_without_host_is_no_browsers() -> None:
    assert AccessPolicy(allowed_hosts=LOOPBACK_HOSTS).check(b"GET", TARGET, {}) is None


def test_the_host_is_checked_on_health_paths_too() -> None:
    refusal = AccessPolicy("s3cret", LOOPBACK_HOSTS).check(
        b"GET", b"/health/live", {b"host": b"evil.example"}
    )
    assert refusal is not None
    assert refusal.status == 403


@pytest.mark.parametrize(
    ("allowed", "origin", "passes"),
    [
        ((), b"http://evil.example", False),
        ((), b"null", False),
        (("https://lab.example",), b"https://lab.example", True),
        (("https://lab.example",), b"https://lab.example.evil.example", False),
        (("*",), b"http://any.example", True),
    ],
)
def test_origins(allowed: tuple[str, ...], origin: bytes, passes: bool) -> None:
    refusal = AccessPolicy(allowed_origins=allowed).check(b"POST", TARGET, {b"origin": origin})
    expected = Refusal(
        403,
        f"Origin {origin.decode()!r} may not call this server. Allow it when starting the server.",
    )
    assert refusal == (None if passes else expected)


def test_a_preflight_passes_whoever_asks() -> None:
    policy = AccessPolicy("s3cret", LOOPBACK_HOSTS)
    headers = {b"host": b"evil.example", b"origin": b"http://evil.example"}
    assert policy.check(b"OPTIONS", TARGET, headers) is None


def test_the_token_is_never_shown() -> None:
    policy = AccessPolicy("s3cret", LOOPBACK_HOSTS)
    assert repr(policy).startswith("AccessPolicy(token required, hosts ")
    assert "s3cret" not in repr(policy)
    assert repr(Token("s3cret")) == "Token(...)"
    assert "s3cret" not in repr(policy.check(b"POST", TARGET, {b"authorization": b"Bearer no"}))
