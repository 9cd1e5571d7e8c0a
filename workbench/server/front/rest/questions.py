"""The actions that run no model: lists, states and metadata of models, health, the metrics page."""

from __future__ import annotations

import orjson

from workbench.server.front.http.message import NOT_FOUND_PAGE, Request
from workbench.server.front.json.responses import encode_metadata, encode_model_status
from workbench.server.front.metrics.exposition import CONTENT_TYPE
from workbench.server.front.model_status import model_status
from workbench.server.front.rest.counted_reply import CountedReply
from workbench.server.front.rest.rest_front import RestFront
from workbench.server.front.rest.routes import Route


def status(front: RestFront, asked: Route, request: Request, reply: CountedReply) -> None:
    """The state of a model's versions."""
    listed = model_status(front.manager, asked.model, asked.version)
    reply.send(200, encode_model_status(listed))


def metadata(front: RestFront, asked: Route, request: Request, reply: CountedReply) -> None:
    """The signatures of a version."""
    served = front.manager.find(asked.model, asked.version, asked.label)
    assert served.report is not None
    text = orjson.dumps(served.report.metadata, option=orjson.OPT_INDENT_2)
    reply.send(200, encode_metadata(asked.model, served.id.version, text))


def list_models(front: RestFront, asked: Route, request: Request, reply: CountedReply) -> None:
    """The names of all models."""
    models = [{"name": name} for name in sorted(front.manager.models)]
    reply.send(200, orjson.dumps({"models": models}))


def live(front: RestFront, asked: Route, request: Request, reply: CountedReply) -> None:
    """200 as long as the process answers."""
    reply.send(200, b'{"status": "live"}')


def ready(front: RestFront, asked: Route, request: Request, reply: CountedReply) -> None:
    """200 once every model has a version that serves, and until the server drains."""
    missing = sorted(m.name for m in front.manager.models.values() if m.ready is None)
    if front.draining:
        reply.send(503, orjson.dumps({"status": "draining"}))
    elif missing:
        reply.send(503, orjson.dumps({"status": "not ready", "models": missing}))
    else:
        reply.send(200, b'{"status": "ready"}')


def preflight(front: RestFront, asked: Route, request: Request, reply: CountedReply) -> None:
    """A browser's question before a request from another origin."""
    origin = request.header("origin") or ""
    allowed = "http://" in origin or "https://" in origin
    reply.send(200 if allowed else 400, b"")


def page(front: RestFront, asked: Route, request: Request, reply: CountedReply) -> None:
    """A page outside the API: the metrics, or none."""
    target = request.target
    if target.partition("?")[0] != front.metrics_path:
        reply.send(404, NOT_FOUND_PAGE, "text/html", (("Connection", "close"),))
    elif target == front.metrics_path:
        reply.send(200, front.metrics.page(), CONTENT_TYPE)
    else:
        text = f"Unexpected path: {target}. Should be {front.metrics_path}"
        reply.send(400, text.encode(), CONTENT_TYPE)
