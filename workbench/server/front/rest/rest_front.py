"""What all actions of the REST API share: the engine, time limits, work beside the event loop."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Coroutine, Mapping
from typing import Any

import numpy as np

from workbench.core.signature import Signature
from workbench.core.status import Code, ServingError, invalid_argument
from workbench.core.versions.outage import OutOfService
from workbench.formats.config_files import METRICS_PATH
from workbench.formats.signature_checks import check_method_name
from workbench.ipc import background_free
from workbench.ipc.frames import Tensors
from workbench.server.engine.batching.scheduler import BatchScheduler
from workbench.server.engine.batching.tasks import Task, now_micros
from workbench.server.engine.versions.manager import Manager
from workbench.server.engine.versions.model import Served
from workbench.server.front.admission import HELD_TOO_LONG
from workbench.server.front.codec.converter import Codec
from workbench.server.front.http.body import Spool
from workbench.server.front.http.message import Request
from workbench.server.front.metrics.prometheus import Metrics
from workbench.server.front.rest.counted_reply import CountedReply, Headers
from workbench.server.front.rest.routes import Route

logger = logging.getLogger(__name__)

OFF_LOOP_BYTES = 256 * 1024
"""Outputs that take longer to encode than so many bytes of numbers go to the codec process."""
EXACT_BYTES = 8 * 1024
"""Larger bodies that need the exact reader are decoded in the codec process: it takes up to a
millisecond for each kilobyte."""

_CORS: Headers = (
    ("Access-Control-Allow-Origin", "*"),
    ("Access-Control-Allow-Methods", "POST, GET"),
    ("Access-Control-Allow-Headers", "Content-Type"),
)


class RestFront:
    """The engine as the actions see it.

    Args:
        timeout_seconds: after which a request is answered with DEADLINE_EXCEEDED: from its last
            byte on, through decoding, waiting, running and encoding.
        enable_cors: let web pages of any origin read the answers (TensorFlow Serving's
            ``--rest_api_enable_cors_support``).
        metrics_path: where the page for Prometheus is; None for nowhere.
        check_method_names: a signature must have been saved for the method that asks for it.
    """

    def __init__(
        self,
        manager: Manager,
        scheduler: BatchScheduler,
        codec: Codec,
        timeout_seconds: float = 30.0,
        enable_cors: bool = False,
        metrics_path: str | None = METRICS_PATH,
        check_method_names: bool = False,
    ) -> None:
        self.manager = manager
        self._scheduler = scheduler
        self.codec = codec
        self._timeout_micros = round(timeout_seconds * 1e6)
        self._jobs: set[asyncio.Task[None]] = set()
        self._cors = _CORS if enable_cors else ()
        self.metrics_path = metrics_path
        self.check_method_names = check_method_names
        self.metrics = Metrics(manager, scheduler)
        self.draining = False

    def answer(self, request: Request, reply: CountedReply) -> None:
        """Answer a request, now or later."""
        raise NotImplementedError

    def seconds_left(self, reply: CountedReply) -> float:
        """What is left of a request's time limit."""
        return max(0.0, (reply.started + self._timeout_micros - now_micros()) / 1e6)

    def submit(
        self,
        reply: CountedReply,
        served: Served,
        signature: str,
        inputs: Mapping[str, np.ndarray],
        outputs: tuple[str, ...],
        send: Callable[[Tensors], None],
        large: bool = False,
    ) -> None:
        """Queue a run of the model; it is cancelled when the client goes away.

        Args:
            send: answers with the outputs, which are views that hold only meanwhile; a
                ServingError that it raises is the answer.
            large: the inputs take long to be freed: a thread does it, once the model has run.
        """
        freed_aside = inputs if large else None

        def answer(result: Tensors | ServingError) -> None:
            nonlocal freed_aside
            if freed_aside is not None:
                background_free.let_go(freed_aside)
                freed_aside = None
            if isinstance(result, ServingError):
                reply.refuse(result)
                return
            reply.ran()
            try:
                send(result)
            except ServingError as error:
                reply.refuse(error)

        assert served.queues is not None
        deadline = reply.started + self._timeout_micros
        task = Task(served.queues, signature, inputs, outputs, deadline, answer)
        self.manager.recorder.arrived(served.id.name, reply.started, inputs)
        self._scheduler.submit(task)
        reply.task = task
        reply.version = served.id.version
        reply.on_abandon(lambda: self._scheduler.cancel(task))

    def held(
        self, error: ServingError, asked: Route, request: Request, reply: CountedReply
    ) -> bool:
        """Whether a request that found no version waits for the next one. It does if it asks a
        model to run, and names no version or one that is out of service."""
        specific = asked.version is not None or asked.label is not None
        absent = error.code is Code.NOT_FOUND and not specific
        crashed = isinstance(error, OutOfService)
        if not (absent or crashed) or not reply.api:
            return False
        loop = asyncio.get_running_loop()
        left = self.seconds_left(reply)

        def resume() -> None:
            expiry.cancel()
            # In a turn of its own: many may be let go at once.
            loop.call_soon(self._answer_held, request, reply)

        try:
            remove = self.manager.hold(asked.model, resume, request.body_size, left)
        except ServingError as full:
            reply.refuse(full)
            return True
        if remove is None:
            return False

        def expire() -> None:
            remove()
            reply.refuse(ServingError(Code.DEADLINE_EXCEEDED, HELD_TOO_LONG))

        expiry = loop.call_later(left, expire)

        def abandon() -> None:
            expiry.cancel()
            remove()

        reply.on_abandon(abandon)
        return True

    def _answer_held(self, request: Request, reply: CountedReply) -> None:
        if not reply.closed:
            self.answer(request, reply)

    def start(
        self,
        work: Coroutine[Any, Any, None],
        reply: CountedReply,
        held: Callable[[ServingError], bool] = lambda error: False,
    ) -> None:
        """Do work that does not fit into one turn of the event loop; its error is the answer,
        unless the request is `held` for it."""

        async def guarded() -> None:
            try:
                await work
            except ServingError as error:
                if not held(error):
                    reply.refuse(error)
            except Exception:
                # Only the client waits for this task: it gets the answer of a handler that failed.
                logger.exception("A large request failed")
                reply.refuse(ServingError(Code.INTERNAL, "Internal error; see the server's log"))

        job = asyncio.get_running_loop().create_task(guarded())
        self._jobs.add(job)
        job.add_done_callback(self._jobs.discard)
        reply.on_abandon(job.cancel)

    def send_encoded(
        self, reply: CountedReply, encode: Callable[[float], Awaitable[Spool]]
    ) -> None:
        """Answer with a body that is encoded in the codec process."""

        async def work() -> None:
            reply.send_outputs(await encode(self.seconds_left(reply)))

        self.start(work(), reply)


class Target:
    """The version that a request goes to, found when the request's signature is known.

    Called with a signature's name it is the `signature_of` of `decode_predict`.
    """

    __slots__ = ("_asked", "_front", "served")

    def __init__(self, front: RestFront, asked: Route) -> None:
        self._front = front
        self._asked = asked
        self.served: Served

    def find(self) -> Served:
        """Find the version; raises a ServingError where there is none."""
        asked = self._asked
        self.served = self._front.manager.find(asked.model, asked.version, asked.label)
        return self.served

    def __call__(self, name: str) -> Signature:
        """Find the version, and its signature of that name; raises a ServingError."""
        signature = self.find().signatures.get(name)
        if signature is None:
            raise invalid_argument(f'Serving signature name: "{name}" not found in signature def')
        if self._front.check_method_names:
            check_method_name(signature, "predict")
        return signature

    def differs(self, name: str, digest: str | None) -> bool:
        """Whether the signature of the version that was found has another digest than the one that
        a client sent; False if it sent None."""
        report = self.served.report
        return digest is not None and report is not None and report.digests[name] != digest
