"""Requests on their way through a version's queues."""

from __future__ import annotations

import asyncio
import time
from collections import defaultdict, deque
from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import InitVar, dataclass, field, replace
from operator import itemgetter

import numpy as np

from workbench.core.batching.merging import Merging, automatic_parameters
from workbench.core.batching.parameters import BatchingParameters
from workbench.core.batching.queue import BatchQueue
from workbench.core.shape_mistakes import fits
from workbench.core.signature import Signature
from workbench.core.status import ServingError
from workbench.core.versions.misfits import Form, form_of
from workbench.core.versions.outage import Outage
from workbench.core.versions.poison import Outline, PoisonTable
from workbench.ipc.frames import Tensors
from workbench.server.engine.batching.batch_records import BatchStatistics
from workbench.server.engine.batching.joining import batch_rows
from workbench.server.engine.telemetry.meters import SignatureMeter
from workbench.server.engine.trial.audit import Audit
from workbench.server.engine.trial.live_witness import Witness
from workbench.server.engine.trial.recent import Recent
from workbench.server.engine.workers.worker_handle import Worker

Answer = Callable[["Tensors | ServingError"], None]
"""Called once per request, on the loop. Arrays are views, valid only during the call."""

SOLO = "solo"
SOLO_AGAIN = "solo, again"
SUSPECT = "suspect"
SOLO_PARAMETERS = BatchingParameters(max_batch_size=1, max_enqueued_batches=1000)
_AUTOMATIC = automatic_parameters()
_MOST_KEYS = 1000
MAX_PENDING = 20_000
"""Requests of a version that may wait or run, over all its queues."""


def now_micros() -> int:
    """The monotonic clock in whole microseconds, as all times of requests are."""
    return time.monotonic_ns() // 1000


@dataclass(eq=False, repr=False, slots=True)
class Task:
    """One request on its way through a queue.

    Attributes:
        deadline: monotonic microseconds after which the caller is answered with an error.
        lost_with: the worker that died while it ran this request; one such death is forgiven.
        lost_again: a second worker died while it ran this request, which disagrees with its
            signature; `isolation` decides how it is answered when it is known how the worker ended.
        uncounted: deaths of workers that ran it together with others; none is blamed on a request.
        digest: of its inputs; None if it was not needed yet.
        parts: the answers of the parts of a split task, by their first row.
        private: whether it is the server's own, to check answers: it is counted nowhere, and runs
            at low priority.
    """

    version: VersionQueues
    signature: str
    inputs: Mapping[str, np.ndarray]
    outputs: Sequence[str]
    deadline: int
    answer: Answer | None
    arrived: int = 0
    rows: int = 0
    lost_with: Worker | None = None
    lost_again: bool = False
    uncounted: int = 0
    digest: str | None = None
    running: bool = False
    queue: BatchQueue[Task] | None = None
    parts: dict[int, Tensors] | None = None
    private: bool = False

    def form(self) -> Form | None:
        """How its shapes disagree with its signature; None if they do not."""
        shapes = {name: array.shape for name, array in self.inputs.items()}
        return form_of(self.signature, self.version.signatures[self.signature], shapes)


@dataclass(eq=False, repr=False)
class VersionQueues:
    """The queues of one version, and the worker that empties them.

    Attributes:
        parameters: batching as asked for; None means automatic.
        merging: without parameters, whether requests of a signature are merged.
        witnesses, audits: the checks of that while the version serves, by signature.
        recent: where requests and their answers are kept for the next version; None: nowhere.
        number: the version's.
        on_merging: called with a signature when that decision has changed.
        worker: the process that runs the batches; None while there is none, and tasks wait.
        pending: requests accepted and not answered.
        draining: whether it accepts no more.
        ended: it has crashed for good, and its requests wait for another start of the version.
        on_accepted: called with each task that is accepted.
        meters: what was answered, by signature.
        hang_micros: a run that takes longer hangs, if no request waits for it any more.
        suspects: requests that were in a worker when it died, and others like them. One of them may
            have crashed it, so they run one by one, and nothing else of the version runs.
        suspect: the one that runs now.
        lost: the known requests in the worker that has just died.
        lost_forms: the forms of those among them that disagree with their signature.
        died_at_work: the last worker that died while it ran a request.
        stuck: the last worker that was reported as hanging.
        poison: inputs that the version crashed on.
        on_strike: called with the digest, the outline and the number of crashes of an input on
            which a crash has just been blamed.
        on_misfit: called with a form of requests that is refused from now on.
        outage: why it has no worker now, and when it will have one again; None while it has one.
        outage_bytes: bytes of the requests that have come since.
        solo_micros: how long requests that run alone have taken lately.
    """

    signatures: Mapping[str, Signature]
    parameters: BatchingParameters | None
    merging: dict[str, Merging]
    hang_seconds: InitVar[float] = 60.0
    recent: Recent | None = None
    number: int = 0
    poison: PoisonTable = field(default_factory=PoisonTable)
    on_merging: Callable[[str, Merging], None] = lambda signature, merging: None
    on_strike: Callable[[str, Outline, int], None] = lambda digest, outline, crashes: None
    on_misfit: Callable[[Form], None] = lambda form: None
    on_accepted: Callable[[Task], None] | None = None
    worker: Worker | None = None
    pending: int = 0
    answered: int = 0
    failed: int = 0
    draining: bool = False
    ended: bool = False
    suspect: Task | None = None
    died_at_work: Worker | None = None
    stuck: Worker | None = None
    outage: Outage | None = None
    outage_bytes: int = 0
    solo_micros: float = 0.0

    def __post_init__(self, hang_seconds: float) -> None:
        self.hang_micros = round(hang_seconds * 1e6)
        self.suspects: deque[Task] = deque()
        self.lost: list[Task] = []
        self.lost_forms: set[Form] = set()
        # The queues of requests that have come, by all that decides it.
        self._keys: dict[Hashable, Hashable] = {}
        # The largest requests that are merged.
        self._most_rows = {name: self._automatic(name).max_batch_size for name in self.merging}
        self.witnesses: defaultdict[str, Witness] = defaultdict(Witness)
        self.audits: defaultdict[str, Audit] = defaultdict(Audit)
        self.meters: defaultdict[str, SignatureMeter] = defaultdict(SignatureMeter)
        self.statistics = BatchStatistics()
        self.queues: dict[Hashable, BatchQueue[Task]] = {}
        self.drained = asyncio.Event()

    def queue_key(self, task: Task) -> Hashable:
        """Which queue a task belongs to; sets its `rows`.

        A request whose shapes disagree with its signature shares no batch with others that agree:
        what it does to the worker is not certain.

        Raises:
            ServingError: INVALID_ARGUMENT, batching was asked for and this cannot be batched.
        """
        parameters = self.parameters
        if parameters is not None:
            task.rows = batch_rows(task.inputs)
            like = (
                task.signature,
                tuple(task.outputs),
                parameters.pad_variable_length_inputs,
                *[(name, a.dtype, a.shape[1:]) for name, a in task.inputs.items()],
            )
            return self._keys.get(like) or self._keep(like, self._batched_key(task, parameters))
        if self.merging[task.signature].merged:
            shapes = []
            rows = -1
            for name, array in task.inputs.items():
                shape = array.shape
                if not shape or rows not in (-1, shape[0]):
                    break
                rows = shape[0]
                shapes.append((name, array.dtype, shape[1:]))
            else:
                if 0 < rows <= self._most_rows[task.signature]:
                    merged = (task.signature, tuple(task.outputs), tuple(shapes))
                    key = self._keys.get(merged)
                    if key is None:
                        key = self._keep(merged, merged if task.form() is None else SOLO)
                    task.rows = 1 if key is SOLO else rows
                    return key
        task.rows = 1
        return SOLO

    def _keep(self, like: Hashable, key: Hashable) -> Hashable:
        """Keep the queue of a request for the next one like it."""
        if len(self._keys) >= _MOST_KEYS:
            self._keys.clear()
        self._keys[like] = key
        return key

    def _batched_key(self, task: Task, parameters: BatchingParameters) -> Hashable:
        # Tensors of a wrong dtype cannot be joined with others; the model refuses them.
        dtypes = sorted(((n, a.dtype) for n, a in task.inputs.items()), key=itemgetter(0))
        key = (task.signature, tuple(task.outputs), *dtypes)
        form = task.form()
        # Padding brings all shapes together, as in TensorFlow Serving.
        if form is None or parameters.pad_variable_length_inputs:
            return key
        # The number of rows is the batch's, and not the request's.
        inputs = self.signatures[task.signature].inputs
        if all(
            not isinstance(kind, int) and fits(kind, (inputs[name].shape or ())[1:])
            for name, kind in form.tensors
        ):
            return key
        return (*key, *sorted((n, a.shape[1:]) for n, a in task.inputs.items()))

    def decide(self, signature: str, merging: Merging) -> None:
        """Merge a signature's requests from now on, or stop merging them; requests that wait
        already stay as they are."""
        self.merging[signature] = merging
        self._most_rows[signature] = self._automatic(signature).max_batch_size
        self.on_merging(signature, merging)

    def _automatic(self, signature: str) -> BatchingParameters:
        sizes = self.merging[signature].batch_sizes
        return automatic_parameters(sizes) if sizes else _AUTOMATIC

    @property
    def isolated(self) -> bool:
        """Whether requests run one by one, because one of them may have crashed the worker."""
        return self.suspect is not None or bool(self.suspects)

    def parameters_of(self, key: Hashable) -> BatchingParameters:
        """The batching parameters of the queue `key`."""
        if key == SUSPECT and self.parameters is not None:
            # As it would run in a batch, but without waiting for others to join it.
            return replace(self.parameters, batch_timeout_micros=0)
        if not isinstance(key, tuple):
            return SOLO_PARAMETERS
        return self.parameters or self._automatic(key[0])
