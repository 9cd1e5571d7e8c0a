"""Raw requests of a wrong shape to a convolution, which TensorFlow aborts on: one crash, and then
the server refuses them; everybody else is answered."""

from __future__ import annotations

import json
import threading
import urllib.error
import urllib.request
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

import workbench as wb
from tests.client.trainer import Trainer
from workbench.processes import registry

GOOD = [[[[1], [2]], [[3], [4]]]]
FORGOTTEN_BATCH = GOOD[0]
FORGOTTEN_CHANNEL = [[[1, 2], [3, 4]]]


@pytest.fixture(params=["automatic", "batched"])
def images(
    request: pytest.FixtureRequest, live: wb.Server, trainer: Trainer, tmp_path: Path
) -> Iterator[wb.Server]:
    base, name = tmp_path / "images", f"images-{request.param}"
    trainer.put_new("images", str(base), 1)
    live.control.put_model(name, {"base_path": str(base)})
    live.control.poll(name, [1])
    server = wb.Server(live.name, name)
    server.wait_for(1)
    if request.param == "batched":
        server.batching = wb.BatchingParameters(max_batch_size=8, batch_timeout_micros=1000)
    yield server
    live.control.delete_model(name)


def ask(server: wb.Server, instances: Any) -> tuple[int, Any]:
    """The HTTP status and the answer, as any client gets them."""
    entry = registry.read(server.name)
    assert entry is not None
    request = urllib.request.Request(
        f"{entry.url}/v1/models/{server.model}:predict",
        json.dumps({"instances": instances}).encode(),
        {"Authorization": f"Bearer {server.token}"},
    )
    try:
        with urllib.request.urlopen(request, timeout=60) as answer:
            return answer.status, json.load(answer)
    except urllib.error.HTTPError as error:
        return error.code, json.load(error)


def crashes(server: wb.Server) -> int:
    events = server.events()
    return sum((events["kind"] == "worker_exited") & (events["model"] == server.model))


def test_one_client_that_forgets_a_dimension_takes_nothing_from_the_others(
    images: wb.Server,
) -> None:
    ended = threading.Event()
    good: list[tuple[int, Any]] = []

    def keep_asking() -> None:
        while not ended.is_set():
            good.append(ask(images, GOOD))

    others = [threading.Thread(target=keep_asking) for _ in range(2)]
    for each in others:
        each.start()
    try:
        with ThreadPoolExecutor(3) as clients:
            at_once = list(clients.map(lambda _: ask(images, FORGOTTEN_BATCH), range(3)))
        later = [ask(images, FORGOTTEN_BATCH) for _ in range(3)]
    finally:
        ended.set()
        for each in others:
            each.join(60)
    sentence = (
        "Input 'image' (float[?, 2, 2, 1]) cannot have the shape (2, 2, 1): the batch dimension is "
        "missing, add it with x[np.newaxis]"
    )
    assert at_once + later == [(400, {"error": sentence})] * 6
    assert good
    assert {json.dumps(answer) for answer in good} == {json.dumps((200, {"predictions": [[10.0]]}))}
    assert crashes(images) == 1
    # A forgotten channel is of the same rank.
    status, answer = ask(images, FORGOTTEN_CHANNEL)
    assert (status, "x[..., np.newaxis]" in answer["error"]) == (400, True)
    # Other ranks are other mistakes; none of them is held against the version.
    for shape in ([1.0, 2.0], [[1.0, 2.0]], [1.0], [[[[[1.0]]]]]):
        assert ask(images, shape)[0] == 400
    assert crashes(images) <= 4
    (version,) = images.describe()["versions"]
    assert (version["quarantine"], version["state"]) == (None, "AVAILABLE")
    assert ask(images, GOOD) == (200, {"predictions": [[10.0]]})
