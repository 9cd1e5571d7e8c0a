"""Requests on their way through a version's queues."""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from workbench.core.batching import BatchQueue
from workbench.core.batching_parameters import BatchingParameters
from workbench.core.outage import Outage
from workbench.core.poison import Outline, PoisonTable
from workbench.core.signature import Signature
from workbench.core.status import ServingError
from workbench.runtime.frames import Tensors
from workbench.serving.batch_records import BatchStatistics
from workbench.serving.merge import batch_rows
from workbench.serving.meters import SignatureMeter
from workbench.serving.worker import Worker

Answer = Callable[["Tensors | ServingError"], None]
"""Called once per request, on the loop. Arrays are views that hold only during the call."""

SOLO = "solo"
SOLO_AGAIN = "solo, again"
SUSPECT = "suspect"
SOLO_PARAMETERS = BatchingParameters(max_batch_size=1, max_enqueued_batches=1000)
_AUTOMATIC = BatchingParameters()
MAX_PENDING = 20_000
"""Requests of a version that may wait or run, over all its queues."""


def now_micros() -> int:
    return time.monotonic_ns() // 1000


class Task:
    """One request on its way through a queue.

    Attributes:
        deadline: monotonic microseconds after which the caller is answered with an error.
        lost_with: the worker that died while it ran this request; one such death is forgiven.
        uncounted: deaths of workers that ran it beside others, and that are put down to nobody.
        digest: of its inputs, where it was needed.
    """

    __slots__ = (
        "answer",
        "arrived",
        "deadline",
        "digest",
        "inputs",
        "lost_with",
        "outputs",
        "parts",
        "queue",
        "rows",
        "running",
        "signature",
        "uncounted",
        "version",
    )

    def __init__(
        self,
        version: VersionQueues,
        signature: str,
        inputs: Mapping[str, np.ndarray],
        outputs: Sequence[str],
        deadline: int,
        answer: Answer,
    ) -> None:
        self.version = version
        self.signature = signature
        self.inputs = inputs
        self.outputs = outputs
        self.deadline = deadline
        self.answer: Answer | None = answer
        self.arrived = 0
        self.rows = 0
        self.lost_with: Worker | None = None
        self.uncounted = 0
        self.digest: str | None = None
        self.running = False
        self.queue: BatchQueue[Task] | None = None
        # Answers of the parts of a split task, by their first row.
        self.parts: dict[int, Tensors] | None = None


class VersionQueues:
    """The queues of one version, and the worker that empties them.

    Attributes:
        parameters: batching as asked for; None means automatic.
        automatic: without parameters, whether requests are merged at all.
        worker: who runs the batches; None while there is none, and then tasks wait.
        pending: requests accepted and not answered.
        draining: whether it accepts no more.
        ended: it has crashed for good, and its requests wait for another start of the version.
        on_accepted: called with each task that is accepted.
        meters: what was answered, by signature.
        hang_micros: a run that takes longer, and for which nobody waits any more, hangs.
        suspects: requests that were in a worker when it died, and others like them: one of them may
            be what it died of, so they run one by one, with nothing beside them.
        suspect: the one that runs now.
        lost: requests that were in the worker that has just died, as far as is known.
        died_at_work: the last worker that died while it ran a request.
        stuck: the last worker that was reported as inside a run that nobody waits for.
        poison: inputs that the version crashed on.
        on_strike: called with the digest, the outline and the number of crashes of an input that
            a crash has just been put down to.
        outage: why it has no worker now, and when it has one again; None while it has one.
        outage_bytes: of the requests that came since.
        solo_micros: how long requests that run alone have run lately.
    """

    def __init__(
        self,
        signatures: Mapping[str, Signature],
        parameters: BatchingParameters | None,
        automatic: bool = True,
        hang_seconds: float = 60.0,
    ) -> None:
        self.hang_micros = round(hang_seconds * 1e6)
        self.suspects: deque[Task] = deque()
        self.suspect: Task | None = None
        self.lost: list[Task] = []
        self.died_at_work: Worker | None = None
        self.stuck: Worker | None = None
        self.poison = PoisonTable()
        self.on_strike: Callable[[str, Outline, int], None] = lambda digest, outline, crashes: None
        self.outage: Outage | None = None
        self.outage_bytes = 0
        self.solo_micros = 0.0
        self.signatures = signatures
        self.parameters = parameters
        self.automatic = automatic
        self.worker: Worker | None = None
        self.pending = 0
        self.answered = 0
        self.failed = 0
        self.statistics = BatchStatistics()
        self.queues: dict[Hashable, BatchQueue[Task]] = {}
        self.draining = False
        self.ended = False
        self.drained = asyncio.Event()
        self.on_accepted: Callable[[Task], None] | None = None
        self.meters: dict[str, SignatureMeter] = {}
        self._mergeable: dict[str, bool] = {}

    def queue_key(self, task: Task) -> Hashable:
        """Which queue a task belongs to; sets its `rows`.

        Raises:
            ServingError: INVALID_ARGUMENT, batching was asked for and this cannot be batched.
        """
        if self.parameters is not None:
            task.rows = batch_rows(task.inputs)
            # Tensors of a wrong dtype cannot be joined with others; the model refuses them.
            dtypes = [(name, array.dtype) for name, array in task.inputs.items()]
            if len(dtypes) > 1:
                dtypes.sort(key=_by_name)
            return (task.signature, tuple(task.outputs), *dtypes)
        if self.automatic and self._can_merge(task.signature):
            shapes = []
            rows = -1
            for name, array in task.inputs.items():
                shape = array.shape
                if not shape or rows not in (-1, shape[0]):
                    break
                rows = shape[0]
                shapes.append((name, array.dtype, shape[1:]))
            else:
                if 0 < rows <= _AUTOMATIC.max_batch_size:
                    task.rows = rows
                    return (task.signature, tuple(task.outputs), tuple(shapes))
        task.rows = 1
        return SOLO

    def _can_merge(self, signature: str) -> bool:
        known = self._mergeable.get(signature)
        if known is None:
            described = self.signatures[signature]
            tensors = [*described.inputs.values(), *described.outputs.values()]
            known = bool(described.inputs) and all(
                t.shape is not None and len(t.shape) > 0 and t.shape[0] == -1 for t in tensors
            )
            self._mergeable[signature] = known
        return known

    @property
    def isolated(self) -> bool:
        """Whether requests run one by one, because one of them may be what the worker died of."""
        return self.suspect is not None or bool(self.suspects)

    def parameters_of(self, key: Hashable) -> BatchingParameters:
        if key in (SOLO, SOLO_AGAIN) or (key == SUSPECT and self.parameters is None):
            return SOLO_PARAMETERS
        if key == SUSPECT and self.parameters is not None:
            # As it would run in a batch, but without waiting for others to join it.
            return replace(self.parameters, batch_timeout_micros=0)
        return self.parameters or _AUTOMATIC


def _by_name(item: tuple[str, Any]) -> str:
    return item[0]
