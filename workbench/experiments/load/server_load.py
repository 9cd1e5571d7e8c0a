"""Asks a server to load itself (`server.engine.engine_load`), and reads the result."""

from __future__ import annotations

import base64
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from workbench.client.asking.tensors import to_inputs
from workbench.client.server import ServerClient
from workbench.core.signature import DEFAULT_SIGNATURE, Signature
from workbench.core.status import invalid_argument
from workbench.ipc.frames import encode_message
from workbench.load.arrivals import Schedule
from workbench.load.packed_numbers import unpack_numbers


@dataclass(frozen=True, eq=False)
class EngineResult:
    """The result of an engine load.

    Attributes:
        intended, sent, done: shape (n,), microseconds from the start; `done` is -1 for a request
            that was not answered.
        batch: shape (n,), the number of the batch that answered it, or -1.
        batches: columns of shape (b,), one entry a batch, as in the server's `BatchRecord`.
        failures: requests that were not answered, by reason; ``rejected``: the queue was full.
        seconds: of sending.
        busy_share: the share of them in which the server process used a CPU.
        version: the version that was asked.
        first_error: the message of the first failure that was no full queue.
    """

    intended: NDArray[np.int64] = field(repr=False)
    sent: NDArray[np.int64] = field(repr=False)
    done: NDArray[np.int64] = field(repr=False)
    batch: NDArray[np.int64] = field(repr=False)
    batches: Mapping[str, NDArray[Any]] = field(repr=False)
    failures: Mapping[str, int]
    seconds: float
    busy_share: float
    version: int
    first_error: str

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> EngineResult:
        """The server's answer, with its arrays unpacked."""
        batches = {
            name: np.array(values) if isinstance(values, list) else unpack_numbers(values, np.int64)
            for name, values in data["batches"].items()
        }
        requests: dict[str, Any] = data["requests"]
        return cls(
            **{name: unpack_numbers(text, np.int64) for name, text in requests.items()},
            batches=batches,
            failures=data["failures"],
            seconds=data["seconds"],
            busy_share=data["busy_share"],
            version=data["version"],
            first_error=data["first_error"],
        )


@dataclass(frozen=True, eq=False)
class Payload:
    """Requests to load a model with.

    Attributes:
        inputs: the requests, sent in turn or in a schedule's order.
        rows: the rows of each request; of requests of several sizes their mean, rounded.
        order: for each request of recorded traffic, which of `inputs` has its size; None where all
            are sent in turn.
    """

    inputs: Sequence[Mapping[str, NDArray[Any]]]
    rows: int
    signature: str = DEFAULT_SIGNATURE
    order: NDArray[np.int64] | None = None

    def encoded(self) -> list[bytes]:
        """Each request as the binary body of a predict call."""
        header = {"signature": self.signature, "outputs": []}
        return [encode_message(header, dict(each)) for each in self.inputs]


MAX_REQUESTS = 64
"""The most different requests in a payload, and the most different sizes."""
MAX_BYTES = 48 * 2**20
"""Of the requests of several sizes together."""


def make_payload(
    server: ServerClient,
    x: Any = None,
    *,
    rows: int = 1,
    sizes: NDArray[np.int64] | None = None,
    signature: str = DEFAULT_SIGNATURE,
) -> Payload:
    """Requests of `rows` rows each, or of the sizes of recorded traffic.

    Args:
        x: examples as for `Server.predict`, cut into requests; by default zeros (or empty
            strings) of the signature's shapes, with 1 for unknown dimensions.
        sizes: the rows of each request of traffic, instead of `rows`. The examples are repeated
            where a request has more rows. Of more than `MAX_REQUESTS` different sizes, each is
            rounded up to the next of so many.

    Raises:
        ServingError: INVALID_ARGUMENT, requests cannot be made of `x`; NOT_FOUND, no version of
            the model is available.
    """
    described = server.signature(signature)
    if sizes is not None:
        rows = 1
    arrays = _zeros(described, rows) if x is None else to_inputs(described, x)
    lengths = {name: array.shape[0] if array.ndim else 0 for name, array in arrays.items()}
    length = min(lengths.values(), default=0)
    if any(count > length for count in lengths.values()):
        counts = ", ".join(f"{name!r} has {count}" for name, count in lengths.items())
        raise invalid_argument(
            f"The payload's inputs do not have the same number of rows ({counts}): give the same "
            "number for each"
        )
    if length < rows:
        raise invalid_argument(
            f"The payload has too few rows ({length}) for requests of {rows}: give at least {rows}"
        )
    if sizes is not None:
        return _of_sizes(arrays, length, sizes, signature)
    starts = range(0, min(length // rows, MAX_REQUESTS) * rows, rows)
    inputs = [{name: a[at : at + rows] for name, a in arrays.items()} for at in starts]
    return Payload(inputs, rows, signature)


def _of_sizes(
    arrays: Mapping[str, NDArray[Any]], length: int, sizes: NDArray[np.int64], signature: str
) -> Payload:
    """Several requests of each size, cut from `length` rows of examples one after the other."""
    kinds = np.unique(np.maximum(sizes, 1))
    if len(kinds) > MAX_REQUESTS:
        levels = np.linspace(0, 1, MAX_REQUESTS)
        kinds = np.unique(np.quantile(kinds, levels, method="higher"))
    needed = len(encode_message({}, dict(arrays))) / length * int(kinds.sum())
    if needed > MAX_BYTES:
        raise invalid_argument(
            f"One request of each of the traffic's {len(kinds)} sizes takes {needed / 2**20:.0f} "
            f"MiB together, and at most {MAX_BYTES / 2**20:.0f} MiB can be prepared: replay "
            "traffic with smaller requests"
        )
    each = max(1, min(MAX_REQUESTS // len(kinds), int(MAX_BYTES / needed)))
    inputs, start = [], 0
    for kind in np.repeat(kinds, each).tolist():
        places = np.arange(start, start + kind) % length
        inputs.append({name: array[places] for name, array in arrays.items()})
        start += kind
    place = np.searchsorted(kinds, np.maximum(sizes, 1)) * each
    order = place + np.arange(len(sizes)) % each
    return Payload(inputs, max(1, round(float(sizes.mean()))), signature, order)


def _zeros(signature: Signature, rows: int) -> dict[str, NDArray[Any]]:
    from workbench.formats.dtypes import STRING, numpy_dtype

    arrays = {}
    for name, info in signature.inputs.items():
        if info.shape is None or not info.shape:
            raise invalid_argument(
                f"Input {name!r} has no known shape with a batch dimension: pass a payload"
            )
        shape = (rows, *(1 if size < 0 else size for size in info.shape[1:]))
        if info.dtype == STRING:
            arrays[name] = np.full(shape, b"", object)
        else:
            arrays[name] = np.zeros(shape, numpy_dtype(info.dtype))
    return arrays


def run_engine(
    server: ServerClient, payload: Payload, load: Schedule | int, seconds: float
) -> EngineResult:
    """Load the server from inside, by a schedule or by a number of callers in a closed loop.

    Raises:
        ServingError: the server's refusal.
    """
    body: dict[str, Any] = {
        "inputs": [base64.b64encode(encode_message({}, dict(i))).decode() for i in payload.inputs],
        "signature": payload.signature,
        "seconds": seconds,
        **({"callers": load} if isinstance(load, int) else {"schedule": load.to_json()}),
    }
    return EngineResult.from_json(server.control.run_load(server.model, body))
