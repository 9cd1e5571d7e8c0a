"""The reply of a REST request, which enters it in the metrics when it is sent."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeAlias

from workbench.core.status import Code, ServingError
from workbench.formats.http_status import HTTP_STATUS
from workbench.server.engine.batching.tasks import Task, now_micros
from workbench.server.front.admission import retry_after
from workbench.server.front.http.body import Spool
from workbench.server.front.http.message import Reply
from workbench.server.front.json.responses import encode_error
from workbench.server.front.metrics.prometheus import Metrics

Headers: TypeAlias = tuple[tuple[str, str], ...]


class CountedReply:
    """An HTTP reply that is counted when it is sent.

    Attributes:
        started: monotonic microseconds at which its request had been read.
        api: what the metrics call the run of a model that was asked for; "" for everything else.
        model: the model that was asked for, once it is known.
        counted: whether TensorFlow Serving counts such a request.
        is_api: whether the answer belongs to the API; other pages get no headers of CORS.
        code: the code of the answer.
        task: the run of the model that it waits for.
        version: the version that the request went to.
    """

    __slots__ = (
        "_cors",
        "_metrics",
        "_reply",
        "api",
        "code",
        "counted",
        "is_api",
        "model",
        "started",
        "task",
        "version",
    )

    def __init__(self, reply: Reply, metrics: Metrics, cors: Headers) -> None:
        self._reply = reply
        self._metrics = metrics
        self._cors = cors
        self.started = reply.received
        self.api = ""
        self.counted = self.is_api = True
        self.model = ""
        self.code = Code.OK
        self.task: Task | None = None
        self.version: int | None = None

    def ran(self) -> None:
        """The model has answered."""
        if self.task is not None:
            micros = now_micros() - self.task.arrived
            self._metrics.runtime(self.model, self.api.capitalize(), micros)

    @property
    def closed(self) -> bool:
        """Whether the client has gone."""
        return self._reply.closed

    def on_abandon(self, callback: Callable[[], object]) -> None:
        """Have `callback` called if the client goes away."""
        self._reply.on_abandon = callback

    def send(
        self,
        status: int,
        body: bytes | Spool,
        content_type: str = "application/json",
        headers: Headers = (),
    ) -> None:
        """Answer the request; see `Reply.send`."""
        if self.is_api:
            headers += self._cors
        self._reply.send(status, body, content_type, headers)
        if self.counted:
            micros = now_micros() - self.started
            self._metrics.request(self.model, self.api, "REST", self.code, micros, self.version)

    def send_outputs(self, body: bytes | Spool, content_type: str = "application/json") -> None:
        """Answer with what the model has made; a header says which version of it that was."""
        self.send(200, body, content_type, (("X-Workbench-Version", str(self.version)),))

    def refuse(self, error: ServingError) -> None:
        """Answer with an error, unless the client has gone."""
        if not self.closed:
            self.code = error.code
            # Unavailability passes: a full queue, a worker that has died.
            later = retry_after(error.retry_after_seconds) if error.code is Code.UNAVAILABLE else ()
            self.send(HTTP_STATUS[error.code], encode_error(error.message), headers=later)
