"""The options of a server: declared once, checked, and passed on."""

from __future__ import annotations

from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import orjson
import pytest

from docs.settings_tables import page
from workbench.core.status import Code, ServingError
from workbench.formats.config_files import METRICS_PATH
from workbench.processes.lifetime import ProcessId
from workbench.processes.server_options import SERVER_OPTIONS, ServerOptions, StartRequest

DOCS = Path(__file__).parents[2] / "docs"


def test_every_field_is_a_declared_option() -> None:
    assert list(SERVER_OPTIONS) == [each.name for each in fields(ServerOptions)]
    assert ServerOptions("a").metrics_path == METRICS_PATH


def test_the_documentation_lists_every_setting_and_option() -> None:
    assert (DOCS / "settings.md").read_text() == page(), "run `python -m docs.settings_tables`"


def test_a_request_survives_json() -> None:
    options = ServerOptions("a", allowed_hosts=("b.example",), grpc_port=None, models=({"x": 1},))
    request = StartRequest(options, owner=ProcessId(1, 2.0), kernel_id="k", keeper=ProcessId(3, 4))
    assert StartRequest.from_bytes(request.to_bytes()) == request
    plain = replace(request, owner=None, keeper=None)
    assert StartRequest.from_bytes(plain.to_bytes()) == plain
    assert ServerOptions.from_json(orjson.loads(orjson.dumps(options.to_json()))) == options


def test_secrets_are_not_shown() -> None:
    options = ServerOptions("a", token="secret", grpc_tls={"server_key": "secret"})
    assert "secret" not in repr(StartRequest(options))
    for wrong in ({"token": "sécret"}, {"grpc_tls": "secret"}):
        with pytest.raises(ServingError) as refused:
            ServerOptions("a", **wrong)  # type: ignore[arg-type]
        assert refused.value.message.endswith("; it is not shown")


@pytest.mark.parametrize("host", ["127.0.0.1", "::1", "localhost"])
def test_loopback(host: str) -> None:
    assert ServerOptions("a", host=host).loopback
    assert not ServerOptions("a", host="0.0.0.0").loopback


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        (
            {"port": 70000},
            "Setting 'port' must be a number from 1 to 65535, or 0 to let the system choose; was "
            "70000",
        ),
        (
            {"idle_seconds": 0},
            "Setting 'idle_seconds' must be a number of seconds, above 0, or None for no limit; "
            "was 0",
        ),
        ({"models": "m"}, "Setting 'models' must be a list of models' settings; was 'm'"),
        (
            {"allowed_hosts": "b"},
            "allowed_hosts must be a list of host names like ['hub.example.org']; was 'b'",
        ),
        (
            {"colour": 1},
            "Unknown server option 'colour': known are " + ", ".join(sorted(SERVER_OPTIONS)),
        ),
    ],
)
def test_what_is_refused(wrong: dict[str, Any], message: str) -> None:
    with pytest.raises(ServingError) as refused:
        ServerOptions.from_json({"name": "a", **wrong})
    assert refused.value == ServingError(Code.INVALID_ARGUMENT, message)


def test_a_server_needs_a_name() -> None:
    with pytest.raises(ServingError, match="server option 'name' is missing"):
        ServerOptions.from_json({})
