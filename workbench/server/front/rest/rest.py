"""The REST API: from an HTTP request to a task in a queue, and from its outputs to an answer.

The hot path is synchronous from end to end. A request is decoded and queued in one call; when
its batch is answered, the outputs are encoded from shared memory straight into the response.
Bodies too large for that go through the codec process.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Coroutine, Mapping
from typing import Any, Literal, NamedTuple, Protocol

import numpy as np
import orjson

from workbench.core.signature import DEFAULT_SIGNATURE, Signature
from workbench.core.status import Code, ServingError, invalid_argument
from workbench.core.versions.outage import OutOfService
from workbench.formats.config_files import METRICS_PATH
from workbench.formats.http_status import HTTP_STATUS
from workbench.formats.signature_checks import (
    check_inputs,
    check_method_name,
    check_outputs_exist,
    classification,
    examples_signature,
    regression,
)
from workbench.ipc import background_free
from workbench.ipc.frames import Tensors, decode_message, encode_message
from workbench.server.engine.batching.scheduler import BatchScheduler
from workbench.server.engine.batching.tasks import Task, now_micros
from workbench.server.engine.versions.manager import Manager
from workbench.server.engine.versions.model import Served
from workbench.server.front.admission import retry_after
from workbench.server.front.codec.codec_process import tensor_bytes
from workbench.server.front.codec.converter import CodecProcess
from workbench.server.front.codec.pool import CodecPool
from workbench.server.front.http.body import Spool
from workbench.server.front.http.listener import NOT_FOUND_PAGE, Reply, Request
from workbench.server.front.json.requests import (
    ExamplesRequest,
    PredictRequest,
    decode_examples,
    decode_plain,
    decode_predict,
)
from workbench.server.front.json.responses import (
    encode_error,
    encode_metadata,
    encode_model_status,
    encode_predict,
    encode_results,
    encoding_bytes,
)
from workbench.server.front.metrics.exposition import CONTENT_TYPE
from workbench.server.front.metrics.prometheus import Metrics
from workbench.server.front.model_status import model_status
from workbench.server.front.rest.routes import Route, UnreadableVersion, route

logger = logging.getLogger(__name__)

TENSORS = "application/x-workbench-tensors"
"""Content type of binary bodies (`ipc.frames.encode_message`): no JSON, no loss, faster."""
_Headers = tuple[tuple[str, str], ...]
_CORS: _Headers = (
    ("Access-Control-Allow-Origin", "*"),
    ("Access-Control-Allow-Methods", "POST, GET"),
    ("Access-Control-Allow-Headers", "Content-Type"),
)
_RUNTIMES = {"predict": "Predict", "classify": "Classify", "regress": "Regress"}
# The actions that TensorFlow Serving has too; "" is a request that it could not make out.
_COUNTED = frozenset({*_RUNTIMES, "status", "metadata", ""})
_OFF_LOOP_BYTES = 256 * 1024
"""Outputs that take longer than so many bytes of numbers are encoded in the codec process."""
_EXACT_BYTES = 8 * 1024
"""Bodies beyond this that only the exact reader can tell, at up to a millisecond for each
kilobyte, are decoded in the codec process."""


_HELD = frozenset({"predict", "classify", "regress"})
HELD_TOO_LONG = "No version came to serve within the time of this request"


class RestApi:
    """Handles each request of the data plane; see `http.listener` for how it is called.

    Args:
        timeout_seconds: after which a request is answered with DEADLINE_EXCEEDED: from its last
            byte on, through decoding, waiting, running and encoding.
        enable_cors: let web pages of any origin read the answers (TensorFlow Serving's
            ``--rest_api_enable_cors_support``).
        metrics_path: where the page for Prometheus is; None for nowhere.
    """

    def __init__(
        self,
        manager: Manager,
        scheduler: BatchScheduler,
        codec: CodecPool | CodecProcess,
        timeout_seconds: float = 30.0,
        enable_cors: bool = False,
        metrics_path: str | None = METRICS_PATH,
        check_method_names: bool = False,
    ) -> None:
        self._manager = manager
        self._scheduler = scheduler
        self._codec = codec
        self._timeout_micros = round(timeout_seconds * 1e6)
        self._jobs: set[asyncio.Task[None]] = set()
        self._cors = _CORS if enable_cors else ()
        self._metrics_path = metrics_path
        self._check_method_names = check_method_names
        self.metrics = Metrics(manager, scheduler)
        self.draining = False

    def __call__(self, request: Request, plain_reply: Reply) -> None:
        self._answer(request, _Reply(plain_reply, self.metrics, self._cors))

    def _answer(self, request: Request, reply: _Reply) -> None:
        asked: Route | None = None
        try:
            asked = route(request.method, request.target)
            reply.action, reply.model = asked.action, asked.model
            if asked.action == "predict":
                self._predict(asked, request, reply)
            else:
                self._other(asked, request, reply)
        except ServingError as error:
            if asked is None or not self._held(error, asked, request, reply):
                _refuse(reply, error)
        except UnreadableVersion:
            reply.code = Code.INVALID_ARGUMENT
            reply.send(400, b"")

    def _held(self, error: ServingError, asked: Route, request: Request, reply: _Reply) -> bool:
        """Whether a request that found no version waits for the next one instead."""
        specific = asked.version is not None or asked.label is not None
        absent = error.code is Code.NOT_FOUND and not specific
        crashed = isinstance(error, OutOfService)
        if not (absent or crashed) or asked.action not in _HELD:
            return False
        loop = asyncio.get_running_loop()
        left = self._seconds_left(reply)

        def resume() -> None:
            expiry.cancel()
            # In a turn of its own: many may be let go at once.
            loop.call_soon(self._answer_held, request, reply)

        try:
            taken = self._manager.hold(asked.model, resume, request.body_size, left)
        except ServingError as full:
            _refuse(reply, full)
            return True
        if taken is None:
            return False
        remove = taken

        def expire() -> None:
            remove()
            _refuse(reply, ServingError(Code.DEADLINE_EXCEEDED, HELD_TOO_LONG))

        expiry = loop.call_later(left, expire)

        def abandon() -> None:
            expiry.cancel()
            remove()

        reply.on_abandon(abandon)
        return True

    def _seconds_left(self, reply: _Reply) -> float:
        """Of a request's time limit."""
        return max(0.0, (reply.started + self._timeout_micros - now_micros()) / 1e6)

    def _answer_held(self, request: Request, reply: _Reply) -> None:
        if not reply.closed:
            self._answer(request, reply)

    # Predict.

    def _predict(self, asked: Route, request: Request, reply: _Reply) -> None:
        target = _Target(self._manager, asked, self._check_method_names)
        if request.header("content-type") == TENSORS:
            binary = _BinaryRequest.read(request)
            signature = target(binary.signature)
            if target.differs(binary.signature, binary.digest):
                _refuse_outdated(reply, target, signature)
                return
            check_inputs(signature, binary.inputs)
            check_outputs_exist(signature, binary.outputs)
            answer = _BinaryAnswer(reply, target)
            self._submit(target, binary.signature, binary.inputs, binary.outputs, answer)
            return
        spool = request.spool
        if spool is None:
            decoded = decode_plain(request.body, target)
            if decoded is None and len(request.body) <= _EXACT_BYTES:
                decoded = decode_predict(request.body, target)
            if decoded is not None:
                self._run_decoded(target, decoded, reply)
                return
            spool = _spooled(request.body)
        self._start(
            self._predict_large(asked, target, spool, reply),
            reply,
            lambda error: self._held(error, asked, request, reply),
        )

    async def _predict_large(
        self, asked: Route, target: _Target, spool: Spool, reply: _Reply
    ) -> None:
        """The same with a large body: decoded in another process."""
        known: Mapping[str, Signature] | ServingError
        try:
            known = target.find().signatures
        except ServingError as error:
            # Told only where TensorFlow Serving would tell it: after the body was parsed.
            known = error
        try:
            left = self._seconds_left(reply)
            decoded = await self._codec.decode_predict(spool, known, left)
        except ServingError as error:
            # The one that was sent there comes back without what only this process knows of it.
            if isinstance(known, ServingError) and error == known:
                raise known from None
            raise
        # The version may have changed while the body was decoded: the name decides again.
        again = _Target(self._manager, asked, self._check_method_names)
        again(decoded.signature_name)
        self._run_decoded(again, decoded, reply, large=decoded.inputs)

    def _run_decoded(
        self,
        target: _Target,
        decoded: PredictRequest,
        reply: _Reply,
        large: Mapping[str, np.ndarray] | None = None,
    ) -> None:
        answer = _JsonAnswer(reply, target, decoded.row_format, self, large)
        self._submit(target, decoded.signature_name, decoded.inputs, (), answer)

    def _submit(
        self,
        target: _Target,
        signature: str,
        inputs: Mapping[str, np.ndarray],
        outputs: tuple[str, ...],
        answer: _Answer,
    ) -> None:
        queues = target.served.queues
        assert queues is not None
        deadline = answer.reply.started + self._timeout_micros
        task = Task(queues, signature, inputs, outputs, deadline, answer)
        self._scheduler.submit(task)
        answer.reply.task = task
        answer.reply.version = target.served.id.version
        answer.reply.on_abandon(lambda: self._scheduler.cancel(task))

    # Everything else.

    def _other(self, asked: Route, request: Request, reply: _Reply) -> None:
        if asked.action == "status":
            listed = model_status(self._manager, asked.model, asked.version)
            reply.send(200, encode_model_status(listed))
        elif asked.action == "metadata":
            served = self._manager.find(asked.model, asked.version, asked.label)
            assert served.report is not None
            metadata = orjson.dumps(served.report.metadata, option=orjson.OPT_INDENT_2)
            reply.send(200, encode_metadata(asked.model, served.id.version, metadata))
        elif asked.action in ("classify", "regress"):
            self._examples(asked, request, reply)
        elif asked.action == "list":
            models = [{"name": name} for name in sorted(self._manager.models)]
            reply.send(200, orjson.dumps({"models": models}))
        elif asked.action == "live":
            reply.send(200, b'{"status": "live"}')
        elif asked.action == "ready":
            self._ready(reply)
        elif asked.action == "preflight":
            origin = request.header("origin") or ""
            allowed = "http://" in origin or "https://" in origin
            reply.send(200 if allowed else 400, b"")
        elif request.target.partition("?")[0] == self._metrics_path:
            self._send_metrics(request.target, reply)
        else:
            reply.send(404, NOT_FOUND_PAGE, "text/html", (("Connection", "close"),))

    def _send_metrics(self, target: str, reply: _Reply) -> None:
        if target == self._metrics_path:
            reply.send(200, self.metrics.page(), CONTENT_TYPE)
        else:
            text = f"Unexpected path: {target}. Should be {self._metrics_path}"
            reply.send(400, text.encode(), CONTENT_TYPE)

    def _ready(self, reply: _Reply) -> None:
        models = self._manager.models.values()
        missing = sorted(m.name for m in models if m.ready is None)
        if self.draining:
            reply.send(503, orjson.dumps({"status": "draining"}))
        elif missing:
            reply.send(503, orjson.dumps({"status": "not ready", "models": missing}))
        else:
            reply.send(200, b'{"status": "ready"}')

    def _examples(self, asked: Route, request: Request, reply: _Reply) -> None:
        if request.spool is None and len(request.body) <= _EXACT_BYTES:
            self._run_examples(asked, decode_examples(request.body, _method(asked)), reply)
            return
        spool = request.spool or _spooled(request.body)
        self._start(
            self._examples_large(asked, spool, reply),
            reply,
            lambda error: self._held(error, asked, request, reply),
        )

    async def _examples_large(self, asked: Route, spool: Spool, reply: _Reply) -> None:
        left = self._seconds_left(reply)
        decoded = await self._codec.decode_examples(spool, _method(asked), left)
        self._run_examples(asked, decoded, reply)

    def _run_examples(self, asked: Route, decoded: ExamplesRequest, reply: _Reply) -> None:
        target = _Target(self._manager, asked, self._check_method_names)
        served = target.find()
        name = decoded.signature_name
        outputs = examples_signature(
            served.signatures, name, asked.action, self._check_method_names
        )
        examples = np.empty(len(decoded.examples), object)
        examples[:] = decoded.examples
        answer = _ExamplesAnswer(reply, target, _method(asked), len(examples), self)
        self._submit(target, name, {"inputs": examples}, outputs, answer)

    # Work that does not fit into one turn of the loop.

    def _start(
        self,
        work: Coroutine[Any, Any, None],
        reply: _Reply,
        held: Callable[[ServingError], bool] = lambda error: False,
    ) -> None:
        async def guarded() -> None:
            try:
                await work
            except ServingError as error:
                if not held(error):
                    _refuse(reply, error)
            except Exception:
                # Nobody waits for this task but the client, who is told as in a handler's turn.
                logger.exception("A large request failed")
                _refuse(reply, ServingError(Code.INTERNAL, "Internal error; see the server's log"))

        job = asyncio.get_running_loop().create_task(guarded())
        self._jobs.add(job)
        job.add_done_callback(self._jobs.discard)

        def give_up() -> None:
            job.cancel()

        reply.on_abandon(give_up)

    def encode_large(self, reply: _Reply, outputs: Tensors, row: bool, version: int) -> None:
        """Answer with outputs too large to be encoded here; copies them first."""
        copies = {name: array.copy() for name, array in outputs.items()}
        self._send_encoded(
            reply, version, lambda left: self._codec.encode_predict(copies, row, left)
        )

    def encode_large_results(
        self,
        reply: _Reply,
        method: Literal["classify", "regress"],
        results: Mapping[str, np.ndarray],
        version: int,
    ) -> None:
        """The same with the results of a classify or regress call."""
        copies = {name: array.copy() for name, array in results.items()}
        self._send_encoded(
            reply, version, lambda left: self._codec.encode_results(method, copies, left)
        )

    def _send_encoded(
        self, reply: _Reply, version: int, encode: Callable[[float], Awaitable[Spool]]
    ) -> None:
        async def work() -> None:
            body = await encode(self._seconds_left(reply))
            reply.send(200, body, headers=_version_header(version))

        self._start(work(), reply)


class _Reply:
    """An HTTP reply that is counted when it is sent.

    Attributes:
        started: monotonic microseconds at which its request had been read.
        action, model: what was asked for, once it is known.
        code: what the answer says.
        task: the run of the model that it waits for.
        version: that it went to.
    """

    __slots__ = (
        *("_cors", "_metrics", "_reply"),
        *("action", "code", "model", "started", "task", "version"),
    )

    def __init__(self, reply: Reply, metrics: Metrics, cors: _Headers) -> None:
        self._reply = reply
        self._metrics = metrics
        self._cors = cors
        self.started = reply.received
        self.action = ""
        self.model = ""
        self.code = Code.OK
        self.task: Task | None = None
        self.version: int | None = None

    def ran(self) -> None:
        """The model has answered."""
        if self.task is not None:
            micros = now_micros() - self.task.arrived
            self._metrics.runtime(self.model, _RUNTIMES[self.action], micros)

    @property
    def closed(self) -> bool:
        return self._reply.closed

    def on_abandon(self, callback: Callable[[], None]) -> None:
        """Have `callback` called if the client goes away."""
        self._reply.on_abandon = callback

    def send(
        self,
        status: int,
        body: bytes | Spool,
        content_type: str = "application/json",
        headers: _Headers = (),
    ) -> None:
        # As in the original, CORS is for the API: neither for the metrics page nor for pages that
        # are not there.
        cors = () if self.action == "page not found" else self._cors
        self._reply.send(status, body, content_type, headers + cors)
        if self.action in _COUNTED:
            api = self.action if self.action in _RUNTIMES else ""
            micros = now_micros() - self.started
            self._metrics.request(self.model, api, "REST", self.code, micros, self.version)


class _Target:
    """The version that a request goes to, found when the request's signature is known.

    Called with a signature's name it is the `signature_of` of `decode_predict`.
    """

    __slots__ = ("_asked", "_check_method_name", "_manager", "served")

    def __init__(self, manager: Manager, asked: Route, check_method_name: bool) -> None:
        self._manager = manager
        self._asked = asked
        self._check_method_name = check_method_name
        self.served: Served

    def find(self) -> Served:
        self.served = self._manager.find(self._asked.model, self._asked.version, self._asked.label)
        return self.served

    def __call__(self, name: str) -> Signature:
        signature = self.find().signatures.get(name)
        if signature is None:
            raise invalid_argument(f'Serving signature name: "{name}" not found in signature def')
        if self._check_method_name:
            check_method_name(signature, "predict")
        return signature

    def differs(self, name: str, digest: str | None) -> bool:
        """Whether a client that knows a signature of that digest (None: it does not say) knows it
        otherwise than it is in the version that was found."""
        report = self.served.report
        return digest is not None and report is not None and report.digests[name] != digest


class _Answer(Protocol):
    reply: _Reply

    def __call__(self, result: Tensors | ServingError) -> None: ...


class _JsonAnswer:
    """Encodes a predict answer while the outputs are still in shared memory.

    `large` are inputs that take long to be given back, once they are no longer needed.
    """

    __slots__ = ("_api", "_large", "_row", "_version", "reply")

    def __init__(
        self,
        reply: _Reply,
        target: _Target,
        row: bool,
        api: RestApi,
        large: Mapping[str, np.ndarray] | None,
    ) -> None:
        self.reply = reply
        self._large = large
        self._version = target.served.id.version
        self._row = row
        self._api = api

    def __call__(self, result: Tensors | ServingError) -> None:
        if self._large is not None:
            background_free.let_go(self._large)
            self._large = None
        if isinstance(result, ServingError):
            _refuse(self.reply, result)
            return
        self.reply.ran()
        if encoding_bytes(result, self._row) > _OFF_LOOP_BYTES:
            self._api.encode_large(self.reply, result, self._row, self._version)
            return
        try:
            body = encode_predict(result, self._row)
        except ServingError as error:
            _refuse(self.reply, error)
            return
        self.reply.send(200, body, headers=_version_header(self._version))


class _BinaryAnswer:
    __slots__ = ("_version", "reply")

    def __init__(self, reply: _Reply, target: _Target) -> None:
        self.reply = reply
        self._version = target.served.id.version

    def __call__(self, result: Tensors | ServingError) -> None:
        if isinstance(result, ServingError):
            _refuse(self.reply, result)
            return
        self.reply.ran()
        body = encode_message({"version": self._version}, result)
        self.reply.send(200, body, TENSORS, _version_header(self._version))


class _ExamplesAnswer:
    __slots__ = ("_api", "_examples", "_method", "_version", "reply")

    def __init__(
        self,
        reply: _Reply,
        target: _Target,
        method: Literal["classify", "regress"],
        examples: int,
        api: RestApi,
    ) -> None:
        self.reply = reply
        self._version = target.served.id.version
        self._method: Literal["classify", "regress"] = method
        self._examples = examples
        self._api = api

    def __call__(self, result: Tensors | ServingError) -> None:
        try:
            if isinstance(result, ServingError):
                raise result
            self.reply.ran()
            results: dict[str, np.ndarray]
            if self._method == "classify":
                labels, scores = classification(result, self._examples)
                given = {"labels": labels, "scores": scores}
                results = {name: array for name, array in given.items() if array is not None}
            else:
                results = {"values": regression(result, self._examples)}
            if 16 * tensor_bytes(results) > _OFF_LOOP_BYTES:
                self._api.encode_large_results(self.reply, self._method, results, self._version)
                return
            body = encode_results(self._method, results)
        except ServingError as error:
            _refuse(self.reply, error)
            return
        self.reply.send(200, body, headers=_version_header(self._version))


def _method(asked: Route) -> Literal["classify", "regress"]:
    return "classify" if asked.action == "classify" else "regress"


def _spooled(body: bytes) -> Spool:
    spool = Spool.create()
    spool.append(body)
    return spool


class _BinaryRequest(NamedTuple):
    """A binary predict request. `digest` is that of the signature for which the client made the
    inputs; None where it does not say."""

    signature: str
    inputs: Tensors
    outputs: tuple[str, ...]
    digest: str | None

    @classmethod
    def read(cls, request: Request) -> _BinaryRequest:
        """Raises a ServingError, INVALID_ARGUMENT, where the body cannot be read."""
        body = request.body if request.spool is None else request.spool.view()
        try:
            header, inputs = decode_message(body)
        except ValueError as error:
            raise invalid_argument(f"The binary body cannot be read: {error}") from error
        name = header.get("signature") or DEFAULT_SIGNATURE
        outputs = header.get("outputs") or []
        digest = header.get("digest")
        if not isinstance(name, str):
            raise invalid_argument(f"'signature' must be a string; was {name!r}")
        if not isinstance(outputs, list) or not all(isinstance(o, str) for o in outputs):
            raise invalid_argument(f"'outputs' must be a list of output names; was {outputs!r}")
        if digest is not None and not isinstance(digest, str):
            raise invalid_argument(f"'digest' must be a string; was {digest!r}")
        return cls(name, inputs, tuple(outputs), digest)


def _refuse_outdated(reply: _Reply, target: _Target, signature: Signature) -> None:
    """Refuse a request that was made for another version's signature, before anything runs; the
    answer carries the signature as it is now."""
    reply.code = Code.FAILED_PRECONDITION
    error = (
        f"The request was made for another signature than the one that version "
        f"{target.served.id.version} has: {signature}"
    )
    reply.send(412, orjson.dumps({"error": error, "signature": signature.to_json()}))


def _version_header(version: int) -> tuple[tuple[str, str], ...]:
    return (("X-Workbench-Version", str(version)),)


def _refuse(reply: _Reply, error: ServingError) -> None:
    if not reply.closed:
        reply.code = error.code
        # What is unavailable is so just now: a full queue, a worker that has died.
        later = retry_after(error.retry_after_seconds) if error.code is Code.UNAVAILABLE else ()
        reply.send(HTTP_STATUS[error.code], encode_error(error.message), headers=later)
