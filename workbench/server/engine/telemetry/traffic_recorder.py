"""Recording when requests arrive and how large they are, and nothing of what is in them.

A recording holds three numbers for each request that was read in full and handed to a version of
its model, whether the version's queue accepted or rejected it: when it had been read, its rows, and
the bytes of its inputs. The clients' requests are recorded, over REST and gRPC, also those of a
load generator outside. A load from inside the server (`engine_load`) and the server's own checks
are not, and neither are requests that could not be read or found no version.

While nothing is recorded, a request costs one look into an empty table.
"""

from __future__ import annotations

import asyncio
import time
from array import array
from collections.abc import Mapping
from itertools import count
from typing import Any

import numpy as np

from workbench.core.status import failed_precondition, invalid_argument, not_found
from workbench.load.packed_numbers import QUICK, pack_numbers
from workbench.server.engine.batching.tasks import now_micros
from workbench.server.engine.trial.recent import size_bytes

Inputs = Mapping[str, np.ndarray]

MAX_SECONDS = 86_400.0
MAX_REQUESTS = 1_000_000
"""A recording that has so many ends. They take 24 MB."""
MAX_RECORDINGS = 8
"""Of a server at a time."""
FORGOTTEN_SECONDS = 30.0
"""A recording that nobody has asked about for so long ends, and is dropped: its owner has gone."""
_LATER_SECONDS = 0.01


class TrafficRecording:
    """The requests of one model, from when the recording begins.

    Attributes:
        number: the recording's own, in this server.
        started_at: its begin on the wall clock, in seconds since the epoch.
        asked_at: when its owner last asked about it (monotonic seconds).
    """

    def __init__(self, number: int, model: str, seconds: float, most: int) -> None:
        self.number = number
        self.model = model
        self.started_at = time.time()
        self.asked_at = time.monotonic()
        self._most = most
        self._begun = now_micros()
        self._until = self._begun + round(seconds * 1e6)
        self._at = array("q")
        self._rows = array("q")
        self._bytes = array("q")

    def __len__(self) -> int:
        return len(self._at)

    @property
    def full(self) -> bool:
        """Whether it has as many requests as it may hold."""
        return len(self._at) >= self._most

    @property
    def seconds_left(self) -> float:
        """Until it ends; 0 if it has ended."""
        return max(0.0, (self._until - now_micros()) / 1e6)

    def add(self, at: int, inputs: Inputs) -> None:
        """Record a request that had been read `at` (monotonic microseconds)."""
        # One that was read before the recording began may have been held until now.
        if not self._begun <= at < self._until:
            return
        self._at.append(at - self._begun)
        self._rows.append(rows_of(inputs))
        self._bytes.append(size_bytes(inputs))
        if self.full:
            self.end()

    def end(self) -> None:
        """Record no more."""
        self._until = min(self._until, now_micros())

    def progress(self) -> dict[str, Any]:
        """Its state in numbers, for its owner; `seconds` is how long it has recorded."""
        until = min(self._until, now_micros())
        return {
            "number": self.number,
            "recorded": len(self),
            "seconds": (until - self._begun) / 1e6,
            "ended": self.seconds_left == 0,
            "full": self.full,
        }

    def to_json(self) -> dict[str, Any]:
        """The progress, and the requests in the order in which they were read: `at` in microseconds
        from the begin, `rows` and `bytes`, each packed as int64. Slow for many requests, so not for
        an event loop."""
        order = np.argsort(self._at, kind="stable")
        columns = {"at": self._at, "rows": self._rows, "bytes": self._bytes}
        return {
            **self.progress(),
            "started_at": self.started_at,
            **{
                name: pack_numbers(np.array(column, np.int64)[order], QUICK)
                for name, column in columns.items()
            },
        }


class TrafficRecorder:
    """The recordings of a server's traffic."""

    def __init__(self) -> None:
        self._numbers = count(1)
        self._all: dict[int, TrafficRecording] = {}
        # Those that still record, by model: what requests look into.
        self._active: dict[str, tuple[TrafficRecording, ...]] = {}

    def arrived(self, model: str, at: int, inputs: Inputs) -> None:
        """A request was handed to a version of `model`; it had been read `at` (monotonic
        microseconds)."""
        recordings = self._active.get(model)
        if recordings is not None:
            for recording in recordings:
                recording.add(at, inputs)

    def start(self, model: str, seconds: float, most: int = MAX_REQUESTS) -> TrafficRecording:
        """Record the traffic of a model for `seconds`, or until there are `most` requests.

        Raises:
            ServingError: INVALID_ARGUMENT, for too long, or for no time; FAILED_PRECONDITION, there
                are too many recordings.
        """
        if not 0 < seconds <= MAX_SECONDS:
            raise invalid_argument(
                f"Traffic is recorded for more than 0 and at most {MAX_SECONDS:.0f} seconds; was "
                f"{seconds:g}"
            )
        if len(self._all) >= MAX_RECORDINGS:
            raise failed_precondition(
                f"{len(self._all)} recordings of traffic are in progress on this server already: "
                "wait until one ends"
            )
        recording = TrafficRecording(next(self._numbers), model, seconds, most)
        self._all[recording.number] = recording
        self._active[model] = (*self._active.get(model, ()), recording)
        self._watch(recording)
        return recording

    def get(self, model: str, number: int) -> TrafficRecording:
        """A recording, for its owner, whose asking keeps it.

        Raises:
            ServingError: NOT_FOUND, there is none of this number.
        """
        recording = self._all.get(number)
        if recording is None or recording.model != model:
            raise not_found(
                f"Recording {number} of the traffic of {model} is gone: nobody has asked about it "
                f"for {FORGOTTEN_SECONDS:.0f} s, or the server process was replaced. Record again"
            )
        recording.asked_at = time.monotonic()
        return recording

    def take(self, model: str, number: int) -> TrafficRecording:
        """End a recording and forget it; raises as `get`."""
        recording = self.get(model, number)
        self._end(recording)
        del self._all[number]
        return recording

    def _end(self, recording: TrafficRecording) -> None:
        recording.end()
        left = tuple(r for r in self._active.get(recording.model, ()) if r is not recording)
        if left:
            self._active[recording.model] = left
        else:
            self._active.pop(recording.model, None)

    def _watch(self, recording: TrafficRecording) -> None:
        """End the recording when its time is over, and drop it when its owner has gone."""
        if recording.number not in self._all:
            return
        if recording.seconds_left == 0:
            self._end(recording)
        left = recording.asked_at + FORGOTTEN_SECONDS - time.monotonic()
        if left <= 0:
            self.take(recording.model, recording.number)
            return
        # A timer may be early.
        pause = min(left, recording.seconds_left or left) + _LATER_SECONDS
        asyncio.get_running_loop().call_later(pause, self._watch, recording)


def rows_of(inputs: Inputs) -> int:
    """The first dimension of the first input that has one; 1 if none has."""
    return next((array.shape[0] for array in inputs.values() if array.ndim), 1)
