"""The routes as a browser meets them, over a real Jupyter Server and real model servers."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
from tornado.httpclient import HTTPClientError, HTTPResponse

import workbench as wb
from tests.jupyter.server_extension.conftest import NOTEBOOK
from workbench.jupyter.server_extension import server_routes
from workbench.jupyter.server_extension.stream import StreamHandler
from workbench.processes import paths, registry
from workbench.processes.lifetime import ProcessId

_MODEL = "workbench/api/servers/digits/models/digits"
ROUTES = [
    ("GET", "workbench/api/servers"),
    ("POST", "workbench/api/servers"),
    ("GET", "workbench/api/servers/digits"),
    ("DELETE", "workbench/api/servers/digits"),
    ("POST", "workbench/api/servers/digits/restart"),
    ("GET", "workbench/api/servers/digits/memory"),
    ("GET", "workbench/api/servers/digits/events"),
    ("GET", "workbench/api/servers/digits/models"),
    ("GET", _MODEL),
    ("PATCH", _MODEL),
    ("GET", f"{_MODEL}/versions"),
    ("POST", f"{_MODEL}/publish"),
    ("GET", "workbench/api/folder"),
    ("GET", "workbench/api/experiments"),
    ("GET", "workbench/api/experiments/1"),
    ("POST", "workbench/api/experiments/running/1/cancel"),
    ("GET", "workbench/api/labs"),
    ("POST", "workbench/api/labs"),
    ("POST", "workbench/api/quickstart"),
]
CHANGING = [route for route in ROUTES if route[0] != "GET"]


@pytest.fixture
def served(jp_environ: None, models: Path) -> Iterator[wb.Server]:
    with wb.serve(models / "half_plus_two", name="halves") as server:
        yield server
    # Looking at all servers also reaps this one's supervisor, which is a child of this process.
    assert wb.servers() == []


@pytest.fixture
def dead_entry(jp_environ: None) -> registry.Entry:
    """A server that is looked after (by this test) and does not answer."""
    me = ProcessId.me()
    folder = paths.server_folder("mute")
    folder.mkdir()
    entry = registry.Entry(
        "mute", me, me, "127.0.0.1", 1, "secret", str(folder / "none.sock"), str(folder)
    )
    registry.write(entry)
    return entry


async def _json(jp_fetch: Any, *args: Any, **kwargs: Any) -> Any:
    return json.loads((await jp_fetch(*args, **kwargs)).body)


async def _refusal(jp_fetch: Any, *args: Any, **kwargs: Any) -> tuple[int, dict[str, Any]]:
    with pytest.raises(HTTPClientError) as refused:
        await jp_fetch(*args, **kwargs)
    response: HTTPResponse | None = refused.value.response
    assert response is not None
    return response.code, json.loads(response.body)


def _body(method: str) -> dict[str, Any]:
    return {"body": ""} if method in ("POST", "PATCH") else {}


async def test_nothing_runs(jp_fetch: Any) -> None:
    assert await _json(jp_fetch, "workbench/api/servers") == {"servers": []}


async def test_a_server_is_listed_and_stopped(jp_fetch: Any, served: wb.Server) -> None:
    response = await jp_fetch("workbench/api/servers")
    (listed,) = json.loads(response.body)["servers"]
    (model,) = listed["models"]
    (version,) = model["versions"]
    assert version["memory_bytes"] > 0
    assert listed["memory_bytes"] > version["memory_bytes"]
    assert listed["budget_bytes"] > listed["memory_bytes"]
    assert listed == {
        "name": "halves",
        "url": served.address,
        "kernel_id": None,
        "state": "running",
        "memory_bytes": listed["memory_bytes"],
        "budget_bytes": listed["budget_bytes"],
        "requests_per_second": 0.0,
        "models": [
            {
                "name": "halves",
                "versions": [
                    {
                        "version": 1,
                        "state": "AVAILABLE",
                        "error": None,
                        "memory_bytes": version["memory_bytes"],
                    }
                ],
            }
        ],
    }
    assert served.token is not None
    assert served.token not in response.body.decode()

    response = await jp_fetch("workbench/api/servers/halves", method="DELETE")
    assert (response.code, response.body) == (204, b"")
    assert not served.running
    assert await _json(jp_fetch, "workbench/api/servers") == {"servers": []}


async def test_a_server_that_does_not_answer_is_listed_as_unreachable(
    jp_fetch: Any, dead_entry: registry.Entry
) -> None:
    assert await _json(jp_fetch, "workbench/api/servers") == {
        "servers": [
            {
                "name": "mute",
                "url": "http://127.0.0.1:1",
                "kernel_id": None,
                "state": "unreachable",
                "memory_bytes": None,
                "budget_bytes": None,
                "requests_per_second": 0.0,
                "models": [],
            }
        ]
    }


async def test_stopping_an_unknown_server(jp_fetch: Any) -> None:
    assert await _refusal(jp_fetch, "workbench/api/servers/digits", method="DELETE") == (
        404,
        {"code": "NOT_FOUND", "message": "No server named 'digits' is running (running: none)"},
    )


@pytest.mark.parametrize(
    ("name", "clean"),
    [("../../secret", "secret"), ("..", ""), (".hidden", "hidden"), ("a\0b", "a-b"),
     ("a b", "a-b"), ("x" * 65, "x" * 64)],
)  # fmt: skip
async def test_a_name_that_is_no_name_touches_no_file(
    http_server_client: Any,
    jp_auth_header: Any,
    jp_base_url: str,
    jp_fetch: Any,
    name: str,
    clean: str,
) -> None:
    outside = paths.runtime_folder().parent / "secret.json"
    outside.write_text("not an entry: who reads it as one removes it")

    def fetch_quoted(path: str, **kwargs: Any) -> Any:
        return http_server_client.fetch(jp_base_url + path, headers=jp_auth_header, **kwargs)

    path = f"workbench/api/servers/{quote(name, safe='')}"
    assert await _refusal(fetch_quoted, path, method="DELETE") == (
        400,
        {
            "code": "INVALID_ARGUMENT",
            "message": f"Server name {name!r} cannot be used: it needs 1 to 64 letters, digits, "
            "'.', '_' or '-', and must begin with a letter or digit"
            + (f"; {clean!r} can be used" if clean else ""),
        },
    )
    assert outside.exists()


async def test_a_path_below_a_name_is_no_route(jp_fetch: Any) -> None:
    with pytest.raises(HTTPClientError, match="404: Not Found"):
        await jp_fetch("workbench/api/servers/a/../../b", method="DELETE")


async def test_the_quickstart_is_put_there_once(
    jp_fetch: Any, jp_root_dir: Path, notebooks: Path, jp_base_url: str
) -> None:
    response = await jp_fetch("workbench/api/quickstart", method="POST", body="")
    assert response.code == 201
    assert response.headers["Location"] == f"{jp_base_url}api/contents/00-quickstart.ipynb"
    assert json.loads(response.body) == {"path": "00-quickstart.ipynb"}
    copy = jp_root_dir / "00-quickstart.ipynb"
    assert json.loads(copy.read_text())["cells"] == json.loads(NOTEBOOK)["cells"]

    copy.write_text("the user's own")
    response = await jp_fetch("workbench/api/quickstart", method="POST", body="")
    assert (response.code, json.loads(response.body)) == (200, {"path": "00-quickstart.ipynb"})
    assert copy.read_text() == "the user's own"


async def test_a_clone_of_the_project_has_the_quickstart(jp_fetch: Any, jp_root_dir: Path) -> None:
    (jp_root_dir / "notebooks").mkdir()
    (jp_root_dir / "notebooks" / "00-quickstart.ipynb").write_text(NOTEBOOK)
    response = await jp_fetch("workbench/api/quickstart", method="POST", body="")
    assert response.code == 200
    assert json.loads(response.body) == {"path": "notebooks/00-quickstart.ipynb"}
    assert not (jp_root_dir / "00-quickstart.ipynb").exists()


@pytest.mark.parametrize(("method", "route"), ROUTES)
async def test_without_a_token_every_route_is_forbidden(
    jp_fetch: Any, method: str, route: str
) -> None:
    code, _ = await _refusal(
        jp_fetch, route, method=method, headers={"Authorization": ""}, **_body(method)
    )
    assert code == 403


@pytest.mark.parametrize(("method", "route"), ROUTES)
async def test_every_route_asks_for_authorisation(
    jp_fetch: Any, jp_serverapp: Any, method: str, route: str
) -> None:
    asked: list[tuple[str, str]] = []

    def refuse(handler: Any, user: Any, action: str, resource: str) -> bool:
        asked.append((action, resource))
        return False

    jp_serverapp.authorizer.is_authorized = refuse
    code, _ = await _refusal(jp_fetch, route, method=method, **_body(method))
    assert code == 403
    assert asked == [("read" if method == "GET" else "write", "workbench")]


def test_every_route_is_tested_above() -> None:
    groups = (
        ("([^/]+)", "digits"),
        ("([0-9]{1,19})", "1"),
        ("(publish|rollback|undo)", "publish"),
    )
    verbs = set()
    for pattern, handler in server_routes.HANDLERS:
        if issubclass(handler, StreamHandler):
            continue  # `test_stream` has it.
        for group, example in groups:
            pattern = pattern.replace(group, example)
        verbs |= {(verb, pattern.removeprefix("/")) for verb in _verbs(handler)}
    assert verbs == set(ROUTES)


def _verbs(handler: type) -> set[str]:
    names = ("get", "head", "post", "put", "patch", "delete")
    return {verb.upper() for verb in names if verb in vars(handler)}


async def test_no_handler_of_ours_lets_anybody_in_unasked(jp_serverapp: Any) -> None:
    """What Jupyter Server itself would complain about, over all handlers that are registered."""
    ours = [
        rule.target
        for router in jp_serverapp.web_app.default_router.rules
        for rule in getattr(router.target, "rules", [])
        if getattr(rule.target, "__module__", "").startswith("workbench.")
    ]
    assert {handler for _, handler in server_routes.HANDLERS} <= set(ours)
    for handler in ours:
        for verb in _verbs(handler):
            method = getattr(handler, verb.lower())
            assert not getattr(method, "__allow_unauthenticated", False), (handler, verb)
            # Both decorators wrap: what is within is the handler's own.
            assert getattr(method, "__wrapped__", None) is not None, (handler, verb)


@pytest.mark.parametrize(("method", "route"), CHANGING)
async def test_a_cookie_alone_changes_nothing(
    jp_fetch: Any, jp_serverapp: Any, method: str, route: str
) -> None:
    login = await jp_fetch(
        "api/me",
        headers={"Authorization": ""},
        params={"token": jp_serverapp.identity_provider.token},
    )
    user = [cookie.partition(";")[0] for cookie in login.headers.get_list("Set-Cookie")]
    # The XSRF cookie is the page's to repeat in a header, which a foreign site cannot do.
    headers = {"Authorization": "", "Cookie": "; ".join([*user, "_xsrf=a0b1c2d3"])}
    assert (await jp_fetch("workbench/api/servers", headers=headers)).code == 200

    code, answer = await _refusal(jp_fetch, route, method=method, headers=headers, **_body(method))
    assert (code, answer["message"]) == (403, "'_xsrf' argument missing from POST")
    headers["X-XSRFToken"] = "3d2c1b0a"
    code, answer = await _refusal(jp_fetch, route, method=method, headers=headers, **_body(method))
    assert (code, answer["message"]) == (403, "XSRF cookie does not match POST argument")

    headers["X-XSRFToken"] = "a0b1c2d3"
    if route.endswith("quickstart"):
        assert (await jp_fetch(route, method=method, headers=headers, body="")).code == 201
    else:
        code, _ = await _refusal(jp_fetch, route, method=method, headers=headers, **_body(method))
        assert code in (400, 404)


async def test_an_internal_error_keeps_its_words(
    jp_fetch: Any, notebooks: Path, caplog: pytest.LogCaptureFixture
) -> None:
    os.remove(notebooks / "00-quickstart.ipynb")
    code, answer = await _refusal(jp_fetch, "workbench/api/quickstart", method="POST", body="")
    assert code == 500
    assert answer == {"message": "Unhandled error", "reason": None, "traceback": ""}
    assert "00-quickstart.ipynb" in caplog.text
