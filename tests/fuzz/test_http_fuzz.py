"""A hundred thousand HTTP requests, right, almost right and damaged: each is answered or refused.

What may come back: 200, a 4xx, 501 and 503. What may not: a 500, an answer that never comes, the
end of the server or of a worker, and memory that grows with what was asked.
"""

from __future__ import annotations

import random
import re
from collections import Counter

import pytest

from tests.fuzz.http_requests import request
from tests.fuzz.hundred_thousand import AT_ONCE, hundred_thousand, some
from tests.fuzz.target import Remote

WARM_UP = 400
_HEAD = re.compile(rb"HTTP/1\.1 (\d\d\d) [^\r\n]*((?:\r\n[^\r\n]+)*)\r\n\r\n")
_LENGTH = re.compile(rb"(?i)\r\ncontent-length: (\d+)")


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


def check(remote: Remote, numbers: list[int]) -> Counter[int]:
    """Ask, and fail for whatever may not happen."""
    asked = streams(numbers)
    told: Counter[int] = Counter()
    for stream, sent in zip(asked, remote.ask("http_streams", asked), strict=True):
        assert sent is not None, f"no answer to {b''.join(stream)!r}"
        for status in statuses(sent):
            told[status] += 1
            allowed = status == 200 or 400 <= status < 500 or status in (501, 503, 505)
            assert allowed, f"{status} for {b''.join(stream)!r}: {sent!r}"
    return told


def test_some_requests_of_each_kind(remote: Remote) -> None:
    told = some(remote, check)
    assert told.keys() >= {200, 400, 401, 403, 404, 408, 417, 431, 501}
    assert told[200] > 150
    assert check(remote, [0] * AT_ONCE) == {200: AT_ONCE}


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_a_hundred_thousand_requests(remote: Remote) -> None:
    hundred_thousand(remote, check, WARM_UP)
