"""The predict action, from a request's body to the encoded outputs.

The hot path is synchronous from end to end. A request is decoded and queued in one call; when its
batch is answered, the outputs are encoded from shared memory straight into the response.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

import orjson

from workbench.core.signature import DEFAULT_SIGNATURE, Signature
from workbench.core.status import Code, ServingError, invalid_argument
from workbench.formats.http_status import PRECONDITION_FAILED
from workbench.formats.signature_checks import check_inputs, check_outputs_exist
from workbench.ipc import TENSORS
from workbench.ipc.frames import Tensors, decode_message, encode_message
from workbench.server.engine.versions.model import Served
from workbench.server.front.http.body import Spool
from workbench.server.front.http.message import Request
from workbench.server.front.json.requests import PredictRequest, decode_plain, decode_predict
from workbench.server.front.json.responses import encode_predict, encoding_bytes
from workbench.server.front.rest.counted_reply import CountedReply
from workbench.server.front.rest.rest_front import EXACT_BYTES, OFF_LOOP_BYTES, RestFront, Target
from workbench.server.front.rest.routes import Route


def predict(front: RestFront, asked: Route, request: Request, reply: CountedReply) -> None:
    """Answer a predict request, binary or JSON."""
    target = Target(front, asked)
    if request.header("content-type") == TENSORS:
        binary = _BinaryRequest.read(request)
        signature = target(binary.signature)
        if target.differs(binary.signature, binary.digest):
            _refuse_outdated(reply, target, signature)
            return
        check_inputs(signature, binary.inputs)
        check_outputs_exist(signature, binary.outputs)
        served = target.served

        def send(outputs: Tensors) -> None:
            body = encode_message({"version": served.id.version}, outputs)
            reply.send_outputs(body, TENSORS)

        front.submit(reply, served, binary.signature, binary.inputs, binary.outputs, send)
        return
    spool = request.spool
    if spool is None:
        decoded = decode_plain(request.body, target)
        if decoded is None and len(request.body) <= EXACT_BYTES:
            decoded = decode_predict(request.body, target)
        if decoded is not None:
            _run_decoded(front, target.served, decoded, reply)
            return
        spool = Spool.create(request.body)
    front.start(
        _predict_large(front, asked, target, spool, reply),
        reply,
        lambda error: front.held(error, asked, request, reply),
    )


async def _predict_large(
    front: RestFront, asked: Route, target: Target, spool: Spool, reply: CountedReply
) -> None:
    """Answer a request whose large body is decoded in another process."""
    known: Mapping[str, Signature] | ServingError
    try:
        known = target.find().signatures
    except ServingError as error:
        # Raised only after the body was parsed, as in TensorFlow Serving.
        known = error
    try:
        left = front.seconds_left(reply)
        decoded = await front.codec.decode_predict(spool, known, left)
    except ServingError as error:
        # The error that was sent there comes back without its details.
        if isinstance(known, ServingError) and error == known:
            raise known from None
        raise
    # The version may have changed while the body was decoded: the name decides again.
    again = Target(front, asked)
    again(decoded.signature_name)
    _run_decoded(front, again.served, decoded, reply, large=True)


def _run_decoded(
    front: RestFront,
    served: Served,
    decoded: PredictRequest,
    reply: CountedReply,
    large: bool = False,
) -> None:
    row = decoded.row_format

    def send(outputs: Tensors) -> None:
        if encoding_bytes(outputs, row) <= OFF_LOOP_BYTES:
            reply.send_outputs(encode_predict(outputs, row))
            return
        copies = {name: array.copy() for name, array in outputs.items()}
        front.send_encoded(reply, lambda left: front.codec.encode_predict(copies, row, left))

    front.submit(reply, served, decoded.signature_name, decoded.inputs, (), send, large)


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


def _refuse_outdated(reply: CountedReply, target: Target, signature: Signature) -> None:
    """Refuse a request that was made for another version's signature, before anything runs; the
    answer carries the signature as it is now."""
    reply.code = Code.FAILED_PRECONDITION
    error = (
        f"The request was made for another signature than the one that version "
        f"{target.served.id.version} has: {signature}"
    )
    reply.send(
        PRECONDITION_FAILED, orjson.dumps({"error": error, "signature": signature.to_json()})
    )
