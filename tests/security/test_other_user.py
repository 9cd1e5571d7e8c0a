"""Another user of the machine: sees that there is a server, and can do nothing with it.

Only the system's superuser can act as another user, so these tests are for `root`.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import grpc
import psutil
import pytest

from tests.security.house import NAME, House, house
from tests.security.nobody import (
    NOBODY,
    ONLY_ROOT,
    SECONDS,
    as_nobody,
    public_python,
    script_of_nobody,
)
from workbench.processes import registry
from workbench.server.front.grpc.grpc_server import NEEDS_TOKEN

pytestmark = ONLY_ROOT

TOKEN = "the-token-of-the-first-user"
ROUTES = [
    ["GET", "/v1/models"],
    ["GET", f"/v1/models/{NAME}"],
    ["GET", f"/v1/models/{NAME}/metadata"],
    ["POST", f"/v1/models/{NAME}:predict"],
    ["POST", f"/v1/models/{NAME}/versions/1:classify"],
    ["POST", f"/v1/models/{NAME}/labels/stable:regress"],
    ["GET", "/monitoring/prometheus/metrics"],
    ["GET", "/"],
    ["PUT", "/v1/models"],
    ["DELETE", f"/v1/models/{NAME}"],
]
GRPC_METHODS = [
    f"/tensorflow.serving.{service}/{method}"
    for service, methods in {
        "PredictionService": (
            "Predict", "Classify", "Regress", "MultiInference", "GetModelMetadata", "NoSuchMethod"
        ),
        "ModelService": ("GetModelStatus", "HandleReloadConfigRequest"),
    }.items()
    for method in methods
]  # fmt: skip


@pytest.fixture(scope="module")
def abstract_before() -> list[str]:
    return abstract_sockets()


def abstract_sockets() -> list[str]:
    lines = Path("/proc/net/unix").read_text().splitlines()
    return [line.split()[-1] for line in lines if line.split()[-1].startswith("@")]


@pytest.fixture(scope="module")
def guarded(models: Path, abstract_before: list[str]) -> Iterator[House]:
    with house(models, TOKEN) as opened:
        yield opened


def test_nothing_of_ours_can_be_used_without_the_token(
    guarded: House, abstract_before: list[str]
) -> None:
    entry = registry.find(NAME)
    tree = guarded.tree()
    ports = sorted(
        connection.laddr.port
        for process in tree
        for connection in process.net_connections("inet")
        if connection.status == psutil.CONN_LISTEN
    )
    # No port but the two that are told: nothing else is on the network.
    assert sorted(set(ports)) == sorted({entry.port, entry.grpc_port})
    plan = {
        "files": [str(path) for path in guarded.files()] + [entry.socket],
        "folders": [str(guarded.runtime / f"workbench-{NAME}"), str(Path(entry.socket).parent)],
        "sockets": [entry.socket],
        "pids": [process.pid for process in tree],
        "marker": TOKEN,
        "uid": os.getuid(),
        "shared memory before": [],
        "abstract before": abstract_before,
        "http ports": [entry.port],
        "routes": ROUTES,
    }
    script = (Path(__file__).parent / "intruder.py").read_text()
    said = json.loads(as_nobody([public_python(), "-I", "-c", script], json.dumps(plan)))
    assert said["uid"] == NOBODY
    assert said["done"] == []
    # Four processes at least, each asked for some twenty things, and the routes.
    assert said["tried"] > 100
    # It serves on, and all its processes are the same.
    assert guarded.server.predict([1.0]).tolist() == [2.5]  # type: ignore[union-attr]
    assert {process.pid for process in guarded.tree()} == {process.pid for process in tree}


@pytest.mark.parametrize("method", GRPC_METHODS)
def test_no_grpc_method_answers_without_the_token(guarded: House, method: str) -> None:
    """Whoever asks is the same to gRPC: what counts is what is sent."""
    with grpc.insecure_channel(str(registry.find(NAME).grpc_address)) as channel:
        call = channel.unary_unary(method)
        for metadata in (
            [],
            [("authorization", "Bearer wrong")],
            [("authorization", "")],
            [("authorization-bin", f"Bearer {TOKEN}".encode())],
        ):
            error = call.future(b"", metadata=metadata, timeout=SECONDS).exception()
            assert (error.code(), error.details()) == (
                grpc.StatusCode.UNAUTHENTICATED,
                NEEDS_TOKEN,
            )


SECOND_USER = """
import json, os, sys
import workbench as wb
from workbench.processes import registry
home, name = sys.argv[1:]
with wb.serve(home + "/model", name, timeout=50) as server:
    entry = registry.find(name)
    print(json.dumps({"uid": os.getuid(), "servers": [str(s.name) for s in wb.servers()],
          "port": entry.port, "said": server.predict([3.0]).tolist()}), flush=True)
    sys.stdin.readline()
"""


@contextmanager
def a_second_user(models: Path) -> Iterator[dict[str, Any]]:
    """The other user's own server of the same name, while the block runs."""
    export = models / "half_plus_two"
    with script_of_nobody(export, "model", SECOND_USER, NAME) as (_, script):
        assert script.stdout is not None
        line = script.stdout.readline()
        assert line, "the script has ended"
        yield json.loads(line)


def test_two_users_have_servers_of_one_name(guarded: House, models: Path) -> None:
    ours = registry.find(NAME)
    with a_second_user(models) as second:
        assert second["uid"] == NOBODY
        assert second["servers"] == [NAME]
        assert second["port"] != ours.port
        assert second["said"] == [3.5]
        # Ours goes on beside it, and is the one that we find.
        assert registry.find(NAME) == ours
        assert guarded.server.predict([1.0]).tolist() == [2.5]  # type: ignore[union-attr]
    assert guarded.server.predict([1.0]).tolist() == [2.5]  # type: ignore[union-attr]


def test_what_guards_names_that_are_left_behind_is_checked(guarded: House) -> None:
    """The folder of a server must be its user's own: one that lies in wait is refused."""
    from workbench.core.status import ServingError
    from workbench.processes import paths

    waiting = guarded.runtime / "workbench-trap"
    waiting.mkdir()
    os.chown(waiting, NOBODY, NOBODY)
    with pytest.raises(ServingError, match=re.escape(f"{waiting} belongs to another user")):
        paths.make_private(waiting)
    assert sorted(path.name for path in waiting.iterdir()) == []
