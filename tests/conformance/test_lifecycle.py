"""The life of versions as TensorFlow Serving lives it: its log lines, and who waits for whom."""

from __future__ import annotations

import asyncio
import itertools
import re
from pathlib import Path
from typing import Any

import pytest

from tests.servers import Server, floats
from workbench.core.events import log_line
from workbench.core.status import Code, ServingError
from workbench.core.versions.version_policy import VersionPolicy


def lines(server: Server, since: int, model: str = "my_mnist_model") -> list[str]:
    """The log, without what differs from run to run."""
    told = [(e, log_line(e)) for e in server.events(since) if e.model == model]
    return [re.sub(r"\d+ microseconds", "N microseconds", line) for _, line in told if line]


def states(server: Server, since: int, model: str, version: int) -> list[str]:
    """The public states that a version went through."""
    told = [
        e.data["state"]
        for e in server.events(since)
        if (e.kind, e.model, e.version) == ("state", model, version) and e.data is not None
    ]
    return [state for state, _ in itertools.groupby(told)]


def test_the_log_of_a_smooth_change(server: Server, tmp_path: Path) -> None:
    async def change() -> None:
        await server.serve(tmp_path, "half_plus_two", name="my_mnist_model")
        server.put(tmp_path, 2, "half_plus_three")
        server.poll("my_mnist_model")
        await server.available("my_mnist_model", 2)
        model = server.core.manager.models["my_mnist_model"]
        await server.until(lambda: 1 not in model.versions, "version 1 is unloaded")

    server.run(change())
    since = next(
        e.seq
        for e in server.events()
        if (e.kind, e.model, e.version) == ("aspired", "my_mnist_model", 2)
    )
    one, two = (f"{{name: my_mnist_model version: {v}}}" for v in (1, 2))
    path = tmp_path / "2"
    assert lines(server, since) == [
        f"Successfully reserved resources to load servable {two}",
        f"Approving load for servable version {two}",
        f"Loading servable version {two}",
        f"Reading SavedModel from: {path}",
        "Reading meta graph with tags { serve }",
        "SavedModel load for tags { serve }; Status: success: OK. Took N microseconds.",
        f"No warmup data file found at {path}/assets.extra/tf_serving_warmup_requests",
        f"Successfully loaded servable version {two}",
        f"Quiescing servable version {one}",
        f"Done quiescing servable version {one}",
        f"Unloading servable version {one}",
        f"Done unloading servable version {one}",
    ]
    assert states(server, 0, "my_mnist_model", 1)[-5:] == [
        "START",
        "LOADING",
        "AVAILABLE",
        "UNLOADING",
        "END",
    ]


def test_a_failing_load_blocks_nobody(server: Server, tmp_path: Path) -> None:
    """In TensorFlow Serving a load that is retried stalls every other model's loads."""

    async def load() -> None:
        bad = tmp_path / "bad"
        server.put(bad, 1, "half_plus_two")
        original = server.core.manager.loader.load

        async def fail(model: Any, served: Any) -> Any:
            if model.name == "bad":
                raise ServingError(Code.UNAVAILABLE, "the storage is away")
            return await original(model, served)

        server.core.manager.loader.load = fail  # type: ignore[method-assign]
        try:
            model = server.set_model("bad", bad, max_load_retries=1000, load_retry_seconds=0.01)
            await server.until(
                lambda: any(e.kind == "load_retry" and e.model == "bad" for e in server.events()),
                "the load is being retried",
            )
            await server.serve(tmp_path / "good", "half_plus_two", name="good")
            answer = await server.predict("good", {"x": floats(2.0)})
            assert answer["y"].tolist() == [3.0]
            # Un-aspired while it is being retried: it is given up.
            server.core.manager.remove_model("bad")
            await server.until(lambda: not model.versions, "the version is given up")
        finally:
            del server.core.manager.loader.load

    server.run(load())
    failed = [e for e in server.events() if e.kind == "load_failed" and e.model == "bad"]
    assert log_line(failed[0]) == (
        "Loading servable: {name: bad version: 1} failed: UNAVAILABLE: the storage is away"
    )
    retried = [e for e in server.events() if e.kind == "load_retry" and e.model == "bad"]
    assert log_line(retried[0]) == "Retrying of Loading servable: {name: bad version: 1} retry: 1"


def test_a_version_that_fails_leaves_the_one_before_serving_and_can_be_mended(
    server: Server, tmp_path: Path
) -> None:
    """Deviates from TensorFlow Serving, where a failed version is never tried again."""

    async def mend() -> None:
        model, first = await server.serve(tmp_path, "half_plus_two")
        server.put(tmp_path, 2, "bad_graph")
        server.poll("m")
        await server.until(
            lambda: 2 in model.versions and model.versions[2].harness.error is not None,
            "version 2 has failed",
        )
        assert server.core.manager.find("m") is first
        listed = [(s.id.version, s.harness.public_state.name) for s in model.listed()]
        assert listed == [(2, "END"), (1, "AVAILABLE")]
        server.unput(tmp_path, 2)
        server.put(tmp_path, 2, "half_plus_three")
        server.poll("m")
        await server.until(
            lambda: model.ready is not None and model.ready.id.version == 2, "version 2 serves"
        )

    server.run(mend())


def test_a_version_that_is_unwanted_while_it_loads_is_cancelled(
    server: Server, tmp_path: Path
) -> None:
    since = server.core.events.last_seq

    async def unwant() -> None:
        server.put(tmp_path, 1, "half_plus_two")
        model = server.set_model("m", tmp_path)
        await server.until(
            lambda: 1 in model.versions and model.versions[1].harness.state.value == "loading",
            "it loads",
        )
        none = VersionPolicy("specific", versions=(9,))
        server.core.manager.update("m", version_policy=none)
        await server.until(lambda: not model.versions, "it is gone")
        (status,) = server.core.manager.status("m")
        assert status.harness.error is not None
        assert (status.harness.error.code, status.harness.error.message) == (
            Code.CANCELLED,
            "Loading of servable cancelled",
        )

    server.run(unwant())
    assert "AVAILABLE" not in states(server, since, "m", 1)


def test_a_label_in_the_first_settings(server: Server, tmp_path: Path) -> None:
    async def ask() -> None:
        await server.serve(tmp_path, "half_plus_two", labels={"stable": 1})
        assert server.core.manager.find("m", label="stable").id.version == 1

    server.run(ask())


def test_one_missing_base_path_harms_only_its_own_model(server: Server, tmp_path: Path) -> None:
    async def serve() -> None:
        from workbench.core.model_settings import ModelConfig

        server.core.manager.set_model(ModelConfig("lost", str(tmp_path / "nowhere")))
        await server.serve(tmp_path / "here", "half_plus_two")
        lost = server.core.manager.models["lost"]
        await server.until(lambda: lost.polled, "its folder was looked at")
        assert lost.warnings == [
            f"Could not find base path {tmp_path}/nowhere for servable lost with error "
            f"NOT_FOUND: {tmp_path}/nowhere not found. Create it, or correct the model's base path."
        ]

    server.run(serve())


@pytest.mark.parametrize("transition", ["smooth", "unload_first"])
def test_a_version_that_is_wanted_again_before_it_is_gone_goes_on(
    server: Server, tmp_path: Path, transition: str
) -> None:
    async def back() -> None:
        model, first = await server.serve(tmp_path, "half_plus_two", transition=transition)
        # As when a folder is renamed away and back between two looks at it.
        (tmp_path / "1").rename(tmp_path / "1.denied")
        (tmp_path / "1.denied").rename(tmp_path / "1")
        server.poll("m")
        await asyncio.sleep(0.1)
        assert model.ready is first

    server.run(back())
