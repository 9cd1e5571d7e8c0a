"""Three times what a model can do: what is refused is refused, the rest is served as before."""

from __future__ import annotations

import concurrent.futures
import http.client
import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

import workbench as wb
from workbench.experiments.load.generator import LoadResult, run_load
from workbench.experiments.load.measure import Where, load_job
from workbench.experiments.load.server_load import Payload
from workbench.load.arrivals import Schedule

pytestmark = [pytest.mark.slow, pytest.mark.timeout(180)]

ROWS, QUEUED, SLOTS = 4, 4, 2
ACCEPTED = ROWS * (QUEUED + SLOTS)
"""Requests that can be in the server at a time: in the queue, or running."""

STEPS = 120
"""Products of matrices a batch: tens of milliseconds, so that it is the model that limits."""

SECONDS = 3.0
PAYLOAD = Payload([{"x": np.ones(1, np.float32), "steps": np.full(1, STEPS, np.int32)}], rows=1)


@pytest.fixture(scope="module")
def busy(models: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[wb.Server]:
    batching = {
        "max_batch_size": ROWS,
        "batch_timeout_micros": 1000,
        "max_enqueued_batches": QUEUED,
        "num_batch_threads": SLOTS,
    }
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("JUPYTER_RUNTIME_DIR", str(tmp_path_factory.mktemp("runtime")))
        with wb.serve(models / "slow", "busy", batching=batching) as server:
            yield server


def ask(server: wb.Server, load: Schedule | int, where: Where) -> LoadResult:
    return run_load(load_job(server, PAYLOAD, load, SECONDS, where))


@pytest.mark.parametrize("where", ["rest", "grpc"])
def test_three_times_its_capacity(busy: wb.Server, where: Where) -> None:
    # As many clients as run at a time: nothing is refused, and nothing waits for long.
    full = ask(busy, ROWS * SLOTS, where)
    assert full.succeeded.all(), full.summary()
    capacity = len(full.intended) / full.sent_until_s

    before = counted(busy)
    over = ask(busy, Schedule("poisson", rate=3 * capacity, duration_s=SECONDS, seed=1), where)
    after = counted(busy)

    # Everybody gets an answer: the result, or that there is no room, and when to come again.
    assert over.failures == {}
    assert set(over.status.tolist()) == {200, 503}
    served, refused = over.succeeded, over.status == 503
    assert after["requests"] - before["requests"] == int(served.sum())
    assert after["rejected"] - before["rejected"] == int(refused.sum())

    # It goes on doing what it can. (A third of what it did alone: the generator of so much load
    # wants a processor too.)
    assert served.sum() / over.done[served].max() > capacity / 3

    # Those accepted keep their latency. By Little's law the requests in the server, on average, are
    # rate times latency; no more than there is room for, apart from those on their way.
    latency = (over.done - over.sent)[served]
    inside = latency.sum() / over.done[served].max()
    assert inside < 2 * ACCEPTED, (inside, ACCEPTED, over.summary())

    # A refusal does not wait for its turn.
    assert np.median((over.done - over.sent)[refused]) < np.median(latency)

    # And then it is as before.
    again = ask(busy, ROWS * SLOTS, where)
    assert again.succeeded.all(), again.summary()


def counted(server: wb.Server) -> dict[str, int]:
    (version,) = server.describe()["versions"]
    return dict(version["batches"])


def test_what_is_refused_is_told_when_to_come_again(busy: wb.Server) -> None:
    entry = busy.control.entry()
    body = json.dumps({"inputs": {"x": [1.0], "steps": [5 * STEPS]}})
    headers = {"Authorization": f"Bearer {entry.token}"}

    def predict(_: int) -> tuple[int, str | None, str]:
        connection = http.client.HTTPConnection(entry.host, entry.port, timeout=60)
        try:
            connection.request("POST", "/v1/models/busy:predict", body, headers)
            answer = connection.getresponse()
            return answer.status, answer.headers["Retry-After"], answer.read().decode()
        finally:
            connection.close()

    with concurrent.futures.ThreadPoolExecutor(4 * ACCEPTED) as pool:
        answers = list(pool.map(predict, range(4 * ACCEPTED)))
    refused = {answer[1:] for answer in answers if answer[0] == 503}
    assert {status for status, _, _ in answers} == {200, 503}
    (refusal,) = refused
    assert refusal[0] == "1"
    assert json.loads(refusal[1]) == {
        "error": "The batch scheduling queue to which this task was submitted is full; "
        f"currently {QUEUED} batches enqueued and max_enqueued_batches is {QUEUED}"
    }
