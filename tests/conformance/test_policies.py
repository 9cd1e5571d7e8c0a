"""The transition policies, told by the log and the answers of a real model server.

The decision tables themselves are in `tests/core/versions/test_policies.py`; here folders come and
go
under a running process, and the order of its log lines shows which row was applied.
"""

from __future__ import annotations

import re
import shutil
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.conformance.model_server import ModelServer, put

Start = Callable[..., ModelServer]
READY = "Exporting HTTP/REST API at"
WAIT_SECONDS = 60.0

_STEPS = {
    "Staging servable version": "stage",
    "Done staging servable version": "staged",
    "Loading servable version": "load",
    "Successfully loaded servable version": "loaded",
    "Encountered an error for servable version": "error",
    "Quiescing servable version": "quiesce",
    "Done quiescing servable version": "quiesced",
    "Unloading servable version": "unload",
    "Done unloading servable version": "unloaded",
}
_STEP = re.compile(rf"\d ({'|'.join(_STEPS)}) {{name: default version: (\d+)}}")


def steps(server: ModelServer) -> list[str]:
    """What was done to which version, in the order of the log."""
    return [f"{_STEPS[words]} {version}" for words, version in _STEP.findall(server.output)]


def after(server: ModelServer, seen: int, last: str) -> list[str]:
    """The steps after the first `seen`, once the step `last` is among them."""
    end = time.monotonic() + WAIT_SECONDS
    while last not in (found := steps(server)[seen:]):
        assert time.monotonic() < end, f"waited in vain for {last!r}: {found}\n{server.output}"
        time.sleep(0.02)
    return found


def loading(version: int) -> list[str]:
    return [f"load {version}", f"loaded {version}"]


def unloading(version: int) -> list[str]:
    return [f"{step} {version}" for step in ("quiesce", "quiesced", "unload", "unloaded")]


def answer(server: ModelServer) -> tuple[int, str]:
    status, body = server.rest("/v1/models/default:predict", '{"instances": [2.0]}')
    return status, "".join(body.split())


def serve(start: Start, base: Path, transition: str, *flags: str) -> ModelServer:
    server = start(
        f"--model_base_path={base}",
        f"--transition={transition}",
        "--max_num_load_retries=0",
        "--load_retry_interval_micros=0",
        *flags,
    )
    server.wait_for(READY)
    return server


def staging(version: int) -> list[str]:
    return [f"stage {version}", f"staged {version}"]


def changing(transition: str, old: int, new: int) -> tuple[list[str], str]:
    """All steps of a change of version, and the last of them."""
    if transition == "smooth":
        # Ready and un-aspired, beside a loading one: nothing; beside a ready one: unload.
        return loading(new) + unloading(old), f"unloaded {old}"
    before = staging(new) if transition.startswith("staged") else []
    return before + unloading(old) + loading(new), f"loaded {new}"


@pytest.mark.parametrize(
    "transition", ["smooth", "unload_first", "unload_first+hold", "staged", "staged+hold"]
)
def test_a_new_version_and_back(
    transition: str, models: Path, tmp_path: Path, start: Start
) -> None:
    base = tmp_path / "half"
    put(models / "half_plus_two", base, 1)
    server = serve(start, base, transition)
    assert steps(server) == loading(1)
    assert answer(server) == (200, '{"predictions":[3.0]}')

    two = put(models / "half_plus_three", base, 2)
    steps_there, last = changing(transition, 1, 2)
    assert after(server, 2, last) == steps_there
    assert answer(server) == (200, '{"predictions":[4.0]}')

    # Rolling back: the folder goes, the version before is aspired again.
    two.rename(tmp_path / "taken-away")
    steps_back, last = changing(transition, 2, 1)
    assert after(server, 2 + len(steps_there), last) == steps_back
    assert answer(server) == (200, '{"predictions":[3.0]}')


@pytest.mark.parametrize("transition", ["smooth", "unload_first", "unload_first+hold", "staged"])
def test_a_broken_version(transition: str, models: Path, tmp_path: Path, start: Start) -> None:
    base = tmp_path / "half"
    put(models / "half_plus_two", base, 1)
    server = serve(start, base, transition)
    put(models / "bad_graph", base, 2)
    if transition == "smooth":
        assert after(server, 2, "error 2") == ["load 2", "error 2"]
        assert answer(server) == (200, '{"predictions":[3.0]}')
    elif transition == "staged":
        # Its graph is read before the old version goes.
        assert after(server, 2, "error 2") == ["stage 2", "error 2"]
        assert answer(server) == (200, '{"predictions":[3.0]}')
    else:
        assert after(server, 2, "error 2") == [*unloading(1), "load 2", "error 2"]
        assert answer(server) == (
            404,
            '{"error":"Servablenotfoundforrequest:Latest(default)"}',
        )
    status, body = server.rest("/v1/models/default")
    assert status == 200
    assert ('"AVAILABLE"' in body) == (transition in ("smooth", "staged"))


def test_several_versions_at_once(models: Path, tmp_path: Path, start: Start) -> None:
    """The highest is loaded first, and the lowest un-aspired one is unloaded first."""
    base = tmp_path / "half"
    for version in (1, 2, 3):
        put(models / "half_plus_two", base, version)
    config = tmp_path / "models.config"

    def write(policy: str) -> None:
        text = (
            f'model_config_list {{ config {{ name: "default" base_path: "{base}" '
            f'model_platform: "tensorflow" model_version_policy {{ {policy} }} }} }}'
        )
        beside = config.with_suffix(".new")
        beside.write_text(text)
        beside.rename(config)

    write("all {}")
    server = start(f"--model_config_file={config}", "--model_config_file_poll_wait_seconds=1")
    server.wait_for(READY)
    begun = [step for step in after(server, 0, "loaded 1") if step.startswith("load ")]
    assert begun == ["load 3", "load 2", "load 1"]

    write("specific { versions: 2 }")
    ended = after(server, 6, "unloaded 3")
    assert [step for step in ended if step.startswith("quiesce ")] == ["quiesce 1", "quiesce 3"]
    assert answer(server) == (200, '{"predictions":[3.0]}')


def test_what_a_base_path_without_versions_means(
    models: Path, tmp_path: Path, start: Start
) -> None:
    """A folder that is away harms nothing; an empty one un-aspires every version, if it may."""
    base = tmp_path / "half"
    put(models / "half_plus_two", base, 1)
    server = serve(start, base, "smooth", "--servable_versions_always_present=false")
    base.rename(tmp_path / "away")
    server.wait_for("Could not find base path")
    assert answer(server) == (200, '{"predictions":[3.0]}')
    (tmp_path / "away").rename(base)
    shutil.rmtree(base / "1")
    assert after(server, 2, "unloaded 1") == unloading(1)
    assert answer(server) == (404, '{"error":"Servablenotfoundforrequest:Latest(default)"}')
    assert "Did you forget to name your leaf directory as a number" in server.output
