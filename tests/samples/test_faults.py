"""Each fault on a real server: it happens, the server says so, and it is repaired."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

import workbench as wb
from workbench.client.publishing.saving import version_folders
from workbench.core.status import ServingError
from workbench.samples import faults

X = [1.0, 2.0]


@pytest.fixture(scope="module")
def runtime(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("JUPYTER_RUNTIME_DIR", str(tmp_path_factory.mktemp("runtime")))
        yield


@pytest.fixture(scope="module")
def standing(runtime: None, models: Path) -> Iterator[wb.Server]:
    with wb.serve(models / "half_plus_two", "scratch") as server:
        yield server


@pytest.fixture
def server(standing: wb.Server) -> Iterator[wb.Server]:
    """Marked as scratch; whatever was done to it, it is as it was."""
    faults.scratch(standing)
    budget = standing.budget["host"]["limit"]
    yield standing
    assert standing.predict(X).tolist() == [2.5, 3.0]
    assert standing.versions.available == [1]
    assert list(version_folders(standing.base_path)) == [1]
    assert standing.budget["host"]["limit"] == budget


def test_a_server_that_is_not_marked_is_left_alone(standing: wb.Server) -> None:
    (Path(standing.control.entry().folder) / "scratch").unlink(missing_ok=True)
    seen = int(standing.events()["seq"].max())
    with pytest.raises(ServingError, match=r"'scratch' is not marked as scratch.*anyway=True"):
        faults.killed_worker(standing)
    assert "worker_exited" not in set(standing.events(seen)["kind"])
    with faults.half_copied(standing, anyway=True) as fault:
        assert fault.version is not None


def test_half_copied(server: wb.Server) -> None:
    with faults.half_copied(server) as fault:
        assert server.predict(X).tolist() == [2.5, 3.0]
        assert "variables.data-00000-of-00001 has 4 of 8 bytes" in str(fault)
        assert fault.version is not None
        assert list(server.versions.waiting) == [fault.version]
    assert not server.versions.waiting


def test_corrupt_weights(server: wb.Server) -> None:
    with faults.corrupt_weights(server) as fault:
        assert fault.said.startswith("DATA_LOSS: Version ")
        assert server.versions.available == [1]
        assert "not_loaded" in set(fault.events["kind"])


@pytest.mark.slow
def test_under_unload_first_a_bad_version_is_undone_too(server: wb.Server) -> None:
    server.transition = "unload_first"
    try:
        with faults.corrupt_weights(server):
            pass
    finally:
        server.transition = "smooth"


@pytest.mark.slow
def test_over_budget(server: wb.Server) -> None:
    fault = faults.over_budget(server)
    assert fault.said.startswith("RESOURCE_EXHAUSTED: Version ")
    assert server.versions.available == [1]
    fault.undo()
    fault.undo()


@pytest.mark.slow
def test_out_of_memory(server: wb.Server) -> None:
    with faults.out_of_memory(server) as fault:
        assert "did not load" in fault.said
        assert server.versions.available == [1]
    # The limit is gone with it.
    assert server.publish(server.base_path / "1") > 1
    server.rollback()


@pytest.mark.slow
def test_slow_load(server: wb.Server) -> None:
    with faults.slow_load(server, 1.0) as fault:
        assert server.predict(X).tolist() == [2.5, 3.0]
        assert fault.version is not None
        server.wait_for(fault.version, 60)
    for seconds in (0.0, faults.LONGEST_HOLD_SECONDS + 1):
        with pytest.raises(ServingError, match="seconds must be between 0 and 8"):
            faults.slow_load(server, seconds)


def test_killed_worker(server: wb.Server) -> None:
    with faults.killed_worker(server) as fault:
        assert fault.said.startswith("the worker was killed by SIGKILL")
        assert fault.events["kind"].iloc[0] == "worker_exited"


@pytest.mark.slow
def test_paused_worker(server: wb.Server) -> None:
    with faults.paused_worker(server, 0.5) as fault:
        assert server.predict(X).tolist() == [2.5, 3.0]
        assert fault.said.startswith("version 1 is AVAILABLE")
        assert "worker_exited" not in set(fault.events["kind"])
    with pytest.raises(ServingError, match="between 0 and 8; was 11"):
        faults.paused_worker(server, 11)


@pytest.mark.slow
def test_hanging_worker(server: wb.Server) -> None:
    with faults.hanging_worker(server) as fault:
        assert fault.said.startswith("no sign of life for ")
        assert {"worker_hung", "worker_replaced"} <= set(fault.events["kind"])


@pytest.mark.slow
def test_killed_server(server: wb.Server) -> None:
    before = server.control.entry().server.pid
    with faults.killed_server(server) as fault:
        pass
    assert server.control.entry().server.pid != before
    assert f"(pid {before}) was killed" in fault.done
    # It is scratch still.
    faults.killed_worker(server).undo()


def test_stampede(server: wb.Server) -> None:
    parameters = {"max_batch_size": 4, "max_enqueued_batches": 2, "batch_timeout_micros": 0}
    server.batching = parameters
    with faults.stampede(server, X, requests=2000) as fault:
        assert fault.done == "2000 requests were sent at once"
        assert " rejected" in fault.said
    server.batching = None
    with pytest.raises(ServingError, match="positive whole number; was 0"):
        faults.stampede(server, X, requests=0)
