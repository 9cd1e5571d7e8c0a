"""Nothing is measured by the wall clock, which may be set at any time: it is for people."""

from __future__ import annotations

import ast
from pathlib import Path

ROOT = Path(__file__).parents[1]

DATED = {
    "server/control/memory_routes.py": "what a page shows the ledger as of",
    "server/control/pulse_route.py": "what a page shows news as of",
    "server/supervision/supervisor.py": "when a server was made",
    "processes/registry.py": "how old the note of a killed server is",
    "server/engine/engine.py": "when it was started, and when an event happened",
    "server/engine/telemetry/traffic_recorder.py": "when a recording of traffic began",
    "server/engine/versions/life/rising.py": "since when one serves",
    "server/engine/versions/life/revival.py": "until when one is set aside",
    "server/engine/memory/memory_ledger.py": "when a sample was taken",
    "server/engine/versions/source.py": "how old the files of a new folder are",
    "deploy/fleet/deploying.py": "when a fleet was deployed",
    "deploy/fleet/rolling.py": "when a step of a rollout was taken",
    "deploy/fleet/fleet_client.py": "when a fleet was scaled",
    "deploy/fleet/fleet_servers.py": "since when no balancer answers",
    "deploy/remote/ray_head.py": "since when a head does not answer",
    "deploy/display/fleet_state.py": "what a card shows a fleet as of",
    "deploy/ray/server_replica.py": "when a server was started",
    "deploy/ray/balancer_replica.py": "when servers were seen, for a timeline",
    "facade/notebook_fleet.py": "what a timeline shows a fleet as of",
    "experiments/load/load_run.py": "when a load began",
    "experiments/load/load_server.py": "when a measurement began",
    "experiments/store/store.py": "when an experiment was kept",
    "experiments/sweep/sweep.py": "when a sweep began",
}


def readings(path: Path) -> int:
    """How often a module reads the wall clock."""
    names = {"time.time", "time.time_ns", "datetime.now", "datetime.datetime.now"}
    calls = (
        node.func for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.Call)
    )
    return sum(ast.unparse(function) in names for function in calls)


def test_the_wall_clock_is_only_read_to_date_things() -> None:
    package = ROOT / "workbench"
    found = {
        path.relative_to(package).as_posix() for path in package.rglob("*.py") if readings(path) > 0
    }
    assert found == set(DATED)
