"""The REST API: the table of its actions, and the way of a request to one of them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal, NamedTuple

from workbench.core.status import Code, ServingError
from workbench.server.front.http.message import Reply, Request
from workbench.server.front.rest import questions
from workbench.server.front.rest.counted_reply import CountedReply
from workbench.server.front.rest.examples import run_examples
from workbench.server.front.rest.predict import predict
from workbench.server.front.rest.rest_front import RestFront
from workbench.server.front.rest.routes import Route, UnreadableVersion, router


class _Action(NamedTuple):
    """One thing that can be asked for.

    Attributes:
        answer: answers a request, now or later.
        verb: the method of requests that name it as a verb in their URL; a model runs for a POST.
        counted: whether TensorFlow Serving has it too, and counts it.
        is_api: whether it belongs to the API: as in the original, the metrics page and pages that
            are not there get no headers of CORS.
    """

    answer: Callable[[RestFront, Route, Request, CountedReply], None]
    verb: Literal["", "POST", "GET"] = ""
    counted: bool = False
    is_api: bool = True


ACTIONS = {
    "predict": _Action(predict, "POST", counted=True),
    "classify": _Action(run_examples, "POST", counted=True),
    "regress": _Action(run_examples, "POST", counted=True),
    "metadata": _Action(questions.metadata, "GET", counted=True),
    "status": _Action(questions.status, counted=True),
    "list": _Action(questions.list_models),
    "live": _Action(questions.live),
    "ready": _Action(questions.ready),
    "preflight": _Action(questions.preflight),
    "page not found": _Action(questions.page, is_api=False),
}

route = router(
    (name for name, action in ACTIONS.items() if action.verb == "POST"),
    (name for name, action in ACTIONS.items() if action.verb == "GET"),
)


class RestApi(RestFront):
    """Handles each request of the data plane; see `http.listener` for how it is called."""

    def __call__(self, request: Request, plain_reply: Reply) -> None:
        """Answer a request; the handler of an `HttpServer`."""
        self.answer(request, CountedReply(plain_reply, self.metrics, self._cors))

    def answer(self, request: Request, reply: CountedReply) -> None:
        """Answer a request by the action that its URL names."""
        asked: Route | None = None
        try:
            asked = route(request.method, request.target)
            action = ACTIONS[asked.action]
            reply.model, reply.api = asked.model, asked.action if action.verb == "POST" else ""
            reply.counted, reply.is_api = action.counted, action.is_api
            action.answer(self, asked, request, reply)
        except ServingError as error:
            if asked is None or not self.held(error, asked, request, reply):
                reply.refuse(error)
        except UnreadableVersion:
            reply.code = Code.INVALID_ARGUMENT
            reply.send(400, b"")
