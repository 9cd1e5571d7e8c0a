"""The classify and regress actions, whose requests are lists of examples."""

from __future__ import annotations

import numpy as np

from workbench.formats.dtypes import string_array
from workbench.formats.signature_checks import classification, examples_signature, regression
from workbench.ipc.frames import Tensors
from workbench.server.front.codec.codec_process import tensor_bytes
from workbench.server.front.http.body import Spool
from workbench.server.front.http.message import Request
from workbench.server.front.json.requests import ExamplesRequest, decode_examples
from workbench.server.front.json.responses import encode_results
from workbench.server.front.rest.counted_reply import CountedReply
from workbench.server.front.rest.rest_front import EXACT_BYTES, OFF_LOOP_BYTES, RestFront, Target
from workbench.server.front.rest.routes import Route


def run_examples(front: RestFront, asked: Route, request: Request, reply: CountedReply) -> None:
    """Answer a classify or regress request."""
    if request.spool is None and len(request.body) <= EXACT_BYTES:
        _run_decoded(front, asked, decode_examples(request.body), reply)
        return
    spool = request.spool or Spool.create(request.body)

    async def work() -> None:
        decoded = await front.codec.decode_examples(spool, front.seconds_left(reply))
        _run_decoded(front, asked, decoded, reply)

    front.start(work(), reply, lambda error: front.held(error, asked, request, reply))


def _run_decoded(
    front: RestFront, asked: Route, decoded: ExamplesRequest, reply: CountedReply
) -> None:
    served = Target(front, asked).find()
    name, method = decoded.signature_name, asked.action
    outputs = examples_signature(served.signatures, name, method, front.check_method_names)
    examples = string_array(decoded.examples)
    count = len(examples)

    def send(tensors: Tensors) -> None:
        results: dict[str, np.ndarray]
        if method == "classify":
            labels, scores = classification(tensors, count)
            given = {"labels": labels, "scores": scores}
            results = {name: array for name, array in given.items() if array is not None}
        else:
            results = {"values": regression(tensors, count)}
        if 16 * tensor_bytes(results) <= OFF_LOOP_BYTES:
            reply.send_outputs(encode_results(results))
            return
        copies = {name: array.copy() for name, array in results.items()}
        front.send_encoded(reply, lambda left: front.codec.encode_results(copies, left))

    front.submit(reply, served, name, {"inputs": examples}, outputs, send)
