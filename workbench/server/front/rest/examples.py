"""The classify and regress actions, whose requests are lists of examples."""

from __future__ import annotations

from typing import Literal

import numpy as np

from workbench.core.status import ServingError
from workbench.formats.dtypes import string_array
from workbench.formats.signature_checks import classification, examples_signature, regression
from workbench.ipc.frames import Tensors
from workbench.server.front.codec.codec_process import tensor_bytes
from workbench.server.front.http.body import Spool
from workbench.server.front.http.message import Request
from workbench.server.front.json.requests import ExamplesRequest, decode_examples
from workbench.server.front.json.responses import encode_results
from workbench.server.front.rest.counted_reply import CountedReply, version_header
from workbench.server.front.rest.rest_front import (
    EXACT_BYTES,
    OFF_LOOP_BYTES,
    RestFront,
    Target,
    spooled,
)
from workbench.server.front.rest.routes import Route


def run_examples(front: RestFront, asked: Route, request: Request, reply: CountedReply) -> None:
    """Answer a classify or regress request."""
    if request.spool is None and len(request.body) <= EXACT_BYTES:
        _run_decoded(front, asked, decode_examples(request.body, _method(asked)), reply)
        return
    spool = request.spool or spooled(request.body)
    front.start(
        _examples_large(front, asked, spool, reply),
        reply,
        lambda error: front.held(error, asked, request, reply),
    )


async def _examples_large(
    front: RestFront, asked: Route, spool: Spool, reply: CountedReply
) -> None:
    left = front.seconds_left(reply)
    decoded = await front.codec.decode_examples(spool, _method(asked), left)
    _run_decoded(front, asked, decoded, reply)


def _run_decoded(
    front: RestFront, asked: Route, decoded: ExamplesRequest, reply: CountedReply
) -> None:
    target = Target(front, asked)
    served = target.find()
    name = decoded.signature_name
    outputs = examples_signature(served.signatures, name, asked.action, front.check_method_names)
    examples = string_array(decoded.examples)
    answer = _ExamplesAnswer(reply, target, _method(asked), len(examples), front)
    front.submit(target, name, {"inputs": examples}, outputs, answer)


class _ExamplesAnswer:
    __slots__ = ("_examples", "_front", "_method", "_version", "reply")

    def __init__(
        self,
        reply: CountedReply,
        target: Target,
        method: Literal["classify", "regress"],
        examples: int,
        front: RestFront,
    ) -> None:
        self.reply = reply
        self._version = target.served.id.version
        self._method: Literal["classify", "regress"] = method
        self._examples = examples
        self._front = front

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
            if 16 * tensor_bytes(results) > OFF_LOOP_BYTES:
                copies = {name: array.copy() for name, array in results.items()}
                self._front.send_encoded(
                    self.reply,
                    self._version,
                    lambda left: self._front.codec.encode_results(self._method, copies, left),
                )
                return
            body = encode_results(self._method, results)
        except ServingError as error:
            self.reply.refuse(error)
            return
        self.reply.send(200, body, headers=version_header(self._version))


def _method(asked: Route) -> Literal["classify", "regress"]:
    return "classify" if asked.action == "classify" else "regress"
