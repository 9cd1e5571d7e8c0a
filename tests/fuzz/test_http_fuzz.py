"""A hundred thousand HTTP requests, right, almost right and damaged: each is answered or refused.

What may come back: 200, a 4xx, 501 and 503. What may not: a 500, an answer that never comes, the
end of the server or of a worker, and memory that grows with what was asked.
"""

from __future__ import annotations

import random
import re
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.fuzz.http_requests import request
from tests.fuzz.target import Remote

EXAMPLES, REQUESTS = 2000, 50
WARM_UP = 400
GROWTH = 1.05
_HEAD = re.compile(rb"HTTP/1\.1 (\d\d\d) [^\r\n]*((?:\r\n[^\r\n]+)*)\r\n\r\n")
_LENGTH = re.compile(rb"(?i)\r\ncontent-length: (\d+)")

seeds = st.lists(st.integers(0, 2**32 - 1), min_size=REQUESTS, max_size=REQUESTS)


def statuses(sent: bytes) -> list[int]:
    """The statuses of a stream of answers, which must be nothing but whole answers."""
    found, at = [], 0
    while at < len(sent):
        head = _HEAD.match(sent, at)
        assert head is not None, f"not an answer: {sent[at : at + 200]!r}"
        status = int(head[1])
        at = head.end()
        if status == 100:
            continue
        found.append(status)
        length = _LENGTH.search(head[2])
        assert length is not None, head[0]
        # An answer to HEAD has a length and no body.
        if at < len(sent) and not sent.startswith(b"HTTP/1.1 ", at):
            at += int(length[1])
            assert at <= len(sent), "an answer is cut off"
    return found


def streams(numbers: list[int]) -> list[list[bytes]]:
    """The requests, some to a connection, cut into pieces as a network might."""
    rng = random.Random(sum(numbers))
    requests = [request(number) for number in numbers]
    found = []
    while requests:
        count = 5 if rng.random() < 0.05 else 1
        stream, requests = b"".join(requests[:count]), requests[count:]
        cut = rng.randrange(len(stream) + 1)
        found.append([piece for piece in (stream[:cut], stream[cut:]) if piece])
    return found


@pytest.fixture(scope="module")
def remote(models: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Remote]:
    with Remote(models, tmp_path_factory.mktemp("fuzz") / "http") as remote:
        yield remote


def check(remote: Remote, numbers: list[int]) -> Counter[int]:
    """Ask, and fail for whatever may not happen."""
    asked = streams(numbers)
    told: Counter[int] = Counter()
    for stream, sent in zip(asked, remote.ask("http_streams", asked), strict=True):
        assert sent is not None, f"no answer to {b''.join(stream)!r}"
        for status in statuses(sent):
            told[status] += 1
            allowed = status == 200 or 400 <= status < 500 or status in (501, 503)
            assert allowed, f"{status} for {b''.join(stream)!r}: {sent!r}"
    return told


def test_some_requests_of_each_kind(remote: Remote) -> None:
    """The same in short: also the generator must reach what it is meant to reach."""
    told: Counter[int] = Counter()
    for first in range(0, 40 * REQUESTS, REQUESTS):
        told += check(remote, list(range(first, first + REQUESTS)))
    assert told.keys() >= {200, 400, 401, 403, 404, 408, 417, 431, 501}
    assert told[200] > 150
    assert check(remote, [0] * REQUESTS) == {200: REQUESTS}


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_a_hundred_thousand_requests(remote: Remote) -> None:
    told: Counter[int] = Counter()
    for first in range(WARM_UP):
        check(remote, [first * REQUESTS + i for i in range(REQUESTS)])
    before = remote.ask("memory")
    asked = 0

    @settings(
        max_examples=EXAMPLES,
        deadline=None,
        database=None,
        suppress_health_check=[HealthCheck.data_too_large, HealthCheck.too_slow],
    )
    @given(seeds)
    def fuzz(numbers: list[int]) -> None:
        nonlocal asked, told
        told += check(remote, numbers)
        asked += len(numbers)

    fuzz()
    # The generator may repeat itself a little and then has less to say than it was allowed to.
    for extra in range(asked, EXAMPLES * REQUESTS, REQUESTS):
        told += check(remote, [2**32 + extra + i for i in range(REQUESTS)])
        asked += REQUESTS
    after = remote.ask("memory")
    print(f"\n{asked} requests: {dict(sorted(told.items()))}; {before} -> {after}")
    assert asked >= EXAMPLES * REQUESTS
    assert (after["exits"], after["outstanding"]) == ([], 0)
    assert after["descriptors"] <= before["descriptors"] + 2, (before, after)
    for part in ("server", "workers"):
        assert after[part] <= before[part] * GROWTH, (part, before, after)
