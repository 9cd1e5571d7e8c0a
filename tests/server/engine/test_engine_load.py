"""Load from inside the server: what is asked, what is recorded, and what is refused."""

from __future__ import annotations

import base64
import gc
from collections import Counter
from pathlib import Path

import numpy as np
import orjson
import pytest

from tests.servers import Server, floats
from workbench.core.batching.parameters import BatchingParameters
from workbench.core.status import Code, ServingError
from workbench.ipc.frames import encode_message
from workbench.load.arrivals import Schedule
from workbench.server.control.engine_route import encode_run, read_load
from workbench.server.engine.batching.batch_records import BatchRecord
from workbench.server.engine.engine_load import EngineLoad, EngineRun, run_engine_load

ONE = [{"x": floats(1.0)}]


def run(server: Server, base: Path, load: EngineLoad, **batching: int) -> EngineRun:
    async def served() -> EngineRun:
        parameters = BatchingParameters(**batching)  # type: ignore[arg-type]
        await server.serve(base, "half_plus_two", batching=parameters)
        return await run_engine_load(server.core.manager, server.core.scheduler, "m", load)

    return server.run(served())


def test_a_closed_loop_fills_batches_and_knows_the_batch_of_each_request(
    server: Server, tmp_path: Path
) -> None:
    result = run(server, tmp_path, EngineLoad(ONE, 8, 0.3), max_batch_size=4)

    assert result.failures == {}
    assert len(result.intended) > 8
    assert min(result.done) > 0
    assert all(s <= d for s, d in zip(result.sent, result.done, strict=True))
    # Every request is in the batch that it names, and the records are without a gap.
    batches = [BatchRecord._make(row) for row in result.batches]
    numbers = [record.number for record in batches]
    assert numbers == list(range(numbers[0], numbers[0] + len(numbers)))
    assert Counter(result.batch) == {r.number: r.tasks for r in batches}
    assert {record.rows for record in batches} <= {1, 2, 3, 4}
    assert all(r.run_micros <= r.slot_micros for r in batches)
    assert {record.in_flight for record in batches} <= {1, 2}
    # The garbage collector does not visit thousands of them while requests wait.
    gc.collect()
    assert not any(map(gc.is_tracked, result.batches))


def test_an_open_loop_asks_at_the_times_of_its_schedule(server: Server, tmp_path: Path) -> None:
    schedule = Schedule("poisson", 500, 0.4, seed=3)

    # Whatever holds the machine up, no request of these is refused.
    result = run(
        server,
        tmp_path,
        EngineLoad(ONE, schedule, 0.4),
        max_batch_size=8,
        max_enqueued_batches=1000,
    )

    assert result.failures == {}
    assert list(result.intended) == np.rint(schedule.arrivals() * 1e6).astype(int).tolist()
    assert all(i <= s for i, s in zip(result.intended, result.sent, strict=True))
    assert min(result.done) > 0


def test_what_the_full_queue_rejects_is_counted(server: Server, tmp_path: Path) -> None:
    schedule = Schedule("constant", 20_000, 0.2)

    # One batch may wait, of one row, for its timeout of a second.
    result = run(
        server,
        tmp_path,
        EngineLoad(ONE, schedule, 0.2),
        max_batch_size=2,
        max_enqueued_batches=1,
        batch_timeout_micros=1_000_000,
    )

    rejected = [at for at, batch in enumerate(result.batch) if batch == -1]
    assert result.failures == ({"rejected": len(rejected)} if rejected else {})
    served = server.core.manager.find("m")
    assert served.queues is not None
    assert served.queues.statistics.rejected == len(rejected)


def test_failing_requests_are_counted_by_code(server: Server, tmp_path: Path) -> None:
    wrong = [{"x": np.zeros(1, np.int64)}]

    result = run(server, tmp_path, EngineLoad(wrong, 1, 0.05))

    assert set(result.failures) == {"INVALID_ARGUMENT"}
    assert set(result.batch) == {-1}
    assert set(result.done) == {-1}


@pytest.mark.parametrize(
    ("body", "message"),
    [
        (b"{}", "The body is not a valid engine load: KeyError('inputs')"),
        (b'{"inputs": [], "callers": 1, "seconds": 1}', "An engine load needs inputs"),
        (
            b'{"inputs": ["AA=="], "callers": 1, "seconds": 1}',
            "The body is not a valid engine load: "
            "ValueError('the message ends within its lengths')",
        ),
    ],
)
def test_a_body_that_names_no_load_is_refused(body: bytes, message: str) -> None:
    with pytest.raises(ServingError) as refused:
        read_load(body)
    assert refused.value == ServingError(Code.INVALID_ARGUMENT, message)


@pytest.mark.parametrize(
    ("load", "seconds", "message"),
    [
        (0, 1.0, "A closed loop needs callers; had 0"),
        (1, 3601.0, "An engine load lasts more than 0 and at most 3600 seconds; was 3601.0"),
        (
            Schedule("constant", 1e6, 6.0),
            6.0,
            "At most 5000000 requests at a time; wanted 1000000.0 a second for 6.0 s",
        ),
    ],
)
def test_too_much_or_no_load_is_refused(load: int | Schedule, seconds: float, message: str) -> None:
    with pytest.raises(ServingError) as refused:
        EngineLoad(ONE, load, seconds)
    assert str(refused.value) == message


def test_a_load_and_its_result_travel_as_json(server: Server, tmp_path: Path) -> None:
    text = base64.b64encode(encode_message({}, {"x": floats(1.0)})).decode()
    body = {"inputs": [text], "schedule": Schedule("constant", 100, 0.1).to_json(), "seconds": 0.1}

    load = read_load(orjson.dumps(body))
    answer = orjson.loads(encode_run(run(server, tmp_path, load, max_batch_size=1)))

    assert sorted(answer) == [
        "batches", "busy_share", "failures", "first_error", "requests", "seconds", "version",
    ]  # fmt: skip
    assert sorted(answer["requests"]) == ["batch", "done", "intended", "sent"]
    assert answer["batches"]["reason"] == ["full"] * 10
