"""Trials of real versions by a real server: what they decide, what they cost, what they refuse."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.servers import Server, floats
from workbench.core.batching.merging import COMPILED_BATCH_SIZES, Merging
from workbench.core.batching.parameters import BatchingParameters
from workbench.core.status import Code, ServingError
from workbench.core.versions.states import HarnessState
from workbench.formats.wire.tf_example import Feature, encode_example
from workbench.server.engine.batching.tasks import VersionQueues
from workbench.server.engine.versions.model import Served
from workbench.server.engine.workers.worker_handle import Lane


def queues_of(served: Served) -> VersionQueues:
    assert served.queues is not None
    return served.queues


def example(x: float) -> bytes:
    """A serialised `tf.train.Example` with the feature x."""
    return encode_example({b"x": Feature("float", [x])})


async def together(server: Server, inputs: list[dict[str, Any]], signature: str) -> list[Any]:
    return await asyncio.gather(
        *(server.submit("m", each, signature=signature)[1] for each in inputs)
    )


def test_what_is_decided_is_told_with_the_version_and_as_an_event(
    server: Server, tmp_path: Path
) -> None:
    async def test() -> None:
        _, served = await server.serve(tmp_path / "m", "rows")
        told = served.to_json()
        assert told["probe"]["verdict"] == "passed"
        assert told["probe"]["seconds"] > 0
        by = {name: (m["merged"], m["by"]) for name, m in told["merging"].items()}
        assert by["picky"] == (True, "run")
        assert by["count"] == (False, "graph")
        assert by["total"] == (False, "shape")
        (tried,) = [e for e in server.events() if e.kind == "tried"]
        assert tried.data is not None
        assert tried.data["merging"]["picky"] == "merged (run)"
        assert tried.data["merging"]["count"].startswith("runs alone (graph: ")

    server.run(test())


def test_live_requests_are_the_witness_where_inputs_cannot_be_made_up(
    server: Server, tmp_path: Path
) -> None:
    async def test() -> None:
        _, served = await server.serve(tmp_path / "m", "half_plus_two")
        queues, name = queues_of(served), "regress_x_to_y"
        assert queues.merging[name].merged is None

        async def ask(*values: float) -> list[float]:
            inputs = [{"inputs": np.array([example(x)], object)} for x in values]
            answers = await together(server, inputs, name)
            return [float(answer["outputs"][0, 0]) for answer in answers]

        assert await ask(2.0) == [3.0]
        assert await ask(4.0, 6.0, 8.0) == [4.0, 5.0, 6.0]
        await server.until(lambda: bool(queues.merging[name].merged), "it is merged")
        before = queues.statistics.to_json()["batches"]
        assert await ask(*range(8)) == [2 + x / 2 for x in range(8)]
        assert queues.statistics.to_json()["batches"] - before < 8
        (event,) = [e for e in server.events() if e.kind == "merging"]
        assert event.data is not None
        assert event.data["by"] == "requests"
        # What the server has asked itself is nobody's request.
        assert queues.answered == 12

    server.run(test())


def test_an_audit_ends_the_merging_of_rows_that_mix(server: Server, tmp_path: Path) -> None:
    async def test() -> None:
        _, served = await server.serve(tmp_path / "m", "rows")
        queues = queues_of(served)
        # As if both witnesses had been wrong.
        queues.merging["count"] = Merging(True, "run")
        inputs = [{"x": floats(number)} for number in range(4)]
        wrong = await together(server, inputs, "count")
        assert [int(answer["rows"][0]) for answer in wrong] == [4] * 4
        # The first answers are not audited, and as these are whole numbers, three have to be wrong
        # in a row.
        for _ in range(3):
            await asyncio.sleep(0.6)
            await together(server, inputs, "count")
        await server.until(lambda: queues.merging["count"].merged is False, "it runs alone")
        right = await together(server, inputs, "count")
        assert [int(answer["rows"][0]) for answer in right] == [1] * 4
        (event,) = [e for e in server.events() if e.kind == "merging"]
        assert event.data is not None
        assert event.data["by"] == "audit"

    server.run(test())


def test_the_sizes_of_the_last_batches_are_run_before_a_version_serves(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ran: list[tuple[Lane, int]] = []
    run = Lane.run

    def noted(lane: Lane, signature: str, parts: Any, *more: Any) -> None:
        if signature == "picky":
            ran.append((lane, sum(len(part) for part in parts["x"])))
        run(lane, signature, parts, *more)

    async def test() -> None:
        await server.serve(tmp_path / "m", "rows")
        await together(server, [{"x": floats(number)} for number in range(5)], "picky")
        monkeypatch.setattr(Lane, "run", noted)
        server.put(tmp_path / "m", 2, "rows")
        server.poll("m")
        served = await server.available("m", 2)
        assert served.worker is not None
        for lane in served.worker.lanes:
            assert ran.count((lane, 5)) >= 2

    server.run(test())


def test_a_signature_that_keeps_state_is_neither_run_nor_merged(
    server: Server, tmp_path: Path
) -> None:
    async def test() -> None:
        await server.serve(tmp_path / "m", "counter")
        answer = await server.predict("m", {}, signature="get_counter")
        assert float(answer["output"]) == 0.0
        _, keeper = await server.serve(tmp_path / "k", "keeper", name="k")
        assert queues_of(keeper).merging["keep"].by == "state"

    server.run(test())


def test_a_compiled_signature_is_compiled_for_a_few_sizes_before_it_serves(
    server: Server, tmp_path: Path
) -> None:
    async def test() -> None:
        _, served = await server.serve(tmp_path / "m", "compiled")
        told = served.to_json()
        assert told["probe"]["compiled_seconds"] > 0
        merging = told["merging"]["serving_default"]
        assert (merging["merged"], tuple(merging["batch_sizes"])) == (True, COMPILED_BATCH_SIZES)
        rows = np.arange(11 * 4, dtype=np.float32).reshape(11, 4)
        answers = await together(server, [{"x": row[None]} for row in rows], "serving_default")
        for row, answer in zip(rows, answers, strict=True):
            np.testing.assert_allclose(answer["y"], [2 * row + 1])
        # Eleven rows were padded to sixteen, or to fours where some came first.
        statistics = queues_of(served).statistics.to_json()
        assert statistics["padding"] > 0
        assert (statistics["rows"] + statistics["padding"]) % 4 in (0, 1)

    server.run(test())


def test_asked_batching_that_mixes_rows_is_warned_of(server: Server, tmp_path: Path) -> None:
    async def test() -> None:
        parameters = BatchingParameters(max_batch_size=4)
        _, served = await server.serve(tmp_path / "m", "rows", batching=parameters)
        probe = served.to_json()["probe"]
        assert probe["verdict"] == "warned"
        (warning,) = [w for w in probe["warnings"] if "'count'" in w]
        assert "joins the rows of a batch" in warning

    server.run(test())


@pytest.mark.parametrize("probe", ["refuse", "warn", "off"])
def test_a_version_that_refuses_what_the_last_one_answered(
    server: Server, tmp_path: Path, probe: str
) -> None:
    async def test() -> None:
        base = tmp_path / "m"
        model, _ = await server.serve(base, "slow", probe=probe)
        steps = {"x": floats(1), "steps": np.array([1], np.int32)}
        await server.predict("m", steps)
        server.put(base, 2, "picky_steps")
        server.poll("m")
        await server.until(
            lambda: (
                2 in model.versions
                and model.versions[2].harness.state in (HarnessState.READY, HarnessState.ERROR)
            ),
            "version 2 is decided",
        )
        second = model.versions[2]
        if probe == "refuse":
            error = second.harness.error
            assert error is not None
            assert error.code is Code.FAILED_PRECONDITION
            assert "refuses the last request that version 1 answered" in error.message
            assert "steps must be negative" in error.message
            assert (await server.predict("m", steps))["y"].tolist() == [1.0]
        else:
            assert second.harness.state is HarnessState.READY
            warnings = second.to_json()["probe"]["warnings"]
            assert bool(warnings) == (probe == "warn")
            with pytest.raises(ServingError):
                await server.predict("m", steps)

    server.run(test())


def test_a_signature_that_became_another_is_tried_on_its_own_requests(
    server: Server, tmp_path: Path
) -> None:
    """Both signatures of version 2 are one function, which answers what the first was asked."""

    async def test() -> None:
        model, _ = await server.serve(tmp_path / "m", "takes_negative")
        await server.predict("m", {"x": floats(4)})
        await server.predict("m", {"x": floats(-2)}, signature="other")
        server.put(tmp_path / "m", 2, "checks_both")
        server.poll("m")
        await server.until(
            lambda: 2 in model.versions and model.versions[2].harness.error is not None,
            "version 2 is refused",
        )
        error = model.versions[2].harness.error
        assert error is not None
        assert error.message.startswith("Signature 'other' refuses the last request that version 1")
        answer = await server.predict("m", {"x": floats(-2)}, signature="other")
        assert answer["y"].tolist() == [-200.0]

    server.run(test())


def test_what_can_be_fed_to_nobody_is_refused(server: Server, tmp_path: Path) -> None:
    async def test() -> None:
        with pytest.raises(ServingError, match='"x:0" fed more than once'):
            await server.serve(tmp_path / "m", "fed_twice")

    server.run(test())


def test_what_clients_would_notice_of_a_new_version_is_a_warning(
    server: Server, tmp_path: Path
) -> None:
    async def test() -> None:
        await server.serve(tmp_path / "m", "half_plus_two")
        server.put(tmp_path / "m", 2, "digits")
        server.poll("m")
        served = await server.available("m", 2)
        warnings = served.to_json()["probe"]["warnings"]
        assert "Signature 'classify_x_to_y' is gone: clients that ask it are refused" in warnings
        assert (
            "Signature 'serving_default' has no input 'x' any more; it has 'images' now" in warnings
        )

    server.run(test())


def test_an_unknown_probe_is_refused_by_name(server: Server, tmp_path: Path) -> None:
    async def test() -> None:
        with pytest.raises(ServingError, match="'probe' must be 'refuse', 'warn' or"):
            await server.serve(tmp_path / "m", "digits", probe="maybe")

    server.run(test())
