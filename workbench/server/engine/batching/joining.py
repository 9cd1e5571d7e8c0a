"""Joining the tensors of several requests into one batch, and taking the answers apart again.

Behaviour and error texts are those of TensorFlow Serving's `BatchingSession`. Nothing is
concatenated here: the parts go as they are to the worker's shared memory, where they are
written once, side by side.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from workbench.core.batching.parameters import BatchingParameters, next_allowed_batch_size
from workbench.core.signature import Signature
from workbench.core.status import ServingError, failed_precondition, invalid_argument

Parts = dict[str, list[np.ndarray]]

_MAX_PADDED_RANK = 6


def batch_rows(inputs: Mapping[str, np.ndarray]) -> int:
    """The size of a request, in rows: dimension 0, which all of its inputs share.

    Raises:
        ServingError: INVALID_ARGUMENT, the request cannot be part of a batch.
    """
    if not inputs:
        raise invalid_argument("Batching Run() must have at least one input tensor")
    rows = -1
    for array in inputs.values():
        if array.ndim == 0:
            raise invalid_argument("Batching Run() input tensors must have at least one dimension")
        if rows not in (-1, array.shape[0]):
            raise invalid_argument(
                "Batching Run() input tensors must have equal 0th-dimension size"
            )
        rows = array.shape[0]
    return rows


def merge(
    requests: Sequence[Mapping[str, np.ndarray]],
    rows: int,
    parameters: BatchingParameters,
    signature: Signature,
) -> tuple[Parts, int]:
    """The arrays of each input, request by request, padded as the parameters say.

    Args:
        requests: the inputs of each request (or of its part in this batch), in order.
        rows: their rows in all.
        signature: whose inputs they are.

    Returns:
        For each input the arrays to be joined along dimension 0, and how many rows of padding
        were added at the end.

    Raises:
        ServingError: the tensors do not fit together, and padding is off.
    """
    parts: Parts = {name: [r[name] for r in requests] for name in requests[0]}
    if len(requests) > 1:
        for name, arrays in parts.items():
            if len({a.shape[1:] for a in arrays}) > 1:
                if not parameters.pad_variable_length_inputs:
                    # The graph's name of the tensor, as in TensorFlow Serving's own text.
                    tensor = signature.inputs[name].name or name
                    raise failed_precondition(
                        f"Tensors with name '{tensor}' from different tasks have different shapes "
                        "and padding is turned off. Set pad_variable_length_inputs to true, or "
                        "ensure that all tensors with the same name have equal dimensions "
                        "starting with the first dim."
                    )
                parts[name] = _pad_to_common_shape(arrays)
    padding = next_allowed_batch_size(rows, parameters.allowed_batch_sizes) - rows
    if padding > 0:
        for arrays in parts.values():
            # Copies of a row that is there already cost no surprise: the model has just seen it.
            row = arrays[-1][:1]
            arrays.append(np.broadcast_to(row, (padding, *row.shape[1:])))
    return parts, padding


def _pad_to_common_shape(arrays: list[np.ndarray]) -> list[np.ndarray]:
    ranks = {a.ndim for a in arrays}
    if len(ranks) > 1 or not 1 <= max(ranks) <= _MAX_PADDED_RANK:
        raise invalid_argument("Only tensors with rank from 1 to 6 can be padded.")
    shape = tuple(max(dims) for dims in zip(*(a.shape[1:] for a in arrays), strict=True))
    padded = []
    for array in arrays:
        if array.shape[1:] == shape:
            padded.append(array)
            continue
        if array.size == 0:
            raise invalid_argument("Got empty tensor in batch of non-empty tensors.")
        # TensorFlow Serving fills with the tensor's first element.
        wider = np.full((array.shape[0], *shape), array.reshape(-1)[0], array.dtype)
        wider[tuple(slice(0, n) for n in array.shape)] = array
        padded.append(wider)
    return padded


def check_outputs(outputs: Mapping[str, np.ndarray], rows: int) -> ServingError | None:
    """What keeps the outputs of a batch of `rows` rows from being taken apart, if anything."""
    for array in outputs.values():
        if array.ndim == 0:
            return failed_precondition("Batched output tensor has 0 dimensions")
        if array.shape[0] != rows:
            return failed_precondition(
                "Batched output tensor's 0th dimension does not equal the sum of the 0th "
                "dimension sizes of the input tensors"
            )
    return None
