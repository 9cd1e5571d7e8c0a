"""Checks whether a request fits its signature, whichever interface it came through.

Checks, codes and texts are those of TensorFlow Serving's `predict_util.cc`, `classifier.cc` and
`regressor.cc`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from workbench.core.signature import Signature
from workbench.core.status import Code, ServingError, invalid_argument
from workbench.formats.dtypes import dtype_name


def shape_text(shape: Sequence[int]) -> str:
    """A shape as TensorFlow's `TensorShape::DebugString` writes it: ``[2,3]``."""
    return f"[{','.join(map(str, shape))}]"


def data_type_name(dtype: np.dtype) -> str:
    """A dtype as TensorFlow's `DataType_Name` writes it: ``DT_DOUBLE``."""
    return f"DT_{dtype_name(dtype).upper()}"


def check_inputs(signature: Signature, inputs: Mapping[str, Any]) -> None:
    """Refuse inputs whose names are not the signature's.

    Raises:
        ServingError: INVALID_ARGUMENT.
    """
    if inputs.keys() == signature.inputs.keys():
        return
    sent, wanted = sorted(inputs), sorted(signature.inputs)
    defaults = signature.defaults
    missing = [name for name in wanted if name not in inputs and name not in defaults]
    if len(sent) > len(wanted) or (len(sent) < len(wanted) and not defaults):
        extra = [name for name in sent if name not in signature.inputs]
        raise invalid_argument(
            f"input size does not match signature: {len(sent)}!={len(wanted)} "
            f"len({{{','.join(sent)}}}) != len({{{','.join(wanted)}}}). "
            f"Sent extra: {{{','.join(extra)}}}. Missing but required: {{{','.join(missing)}}}."
        )
    if missing:
        feed = signature.inputs[missing[0]].name
        raise invalid_argument(
            f"Signature input alias: {missing[0]}(feed name: {feed}) not found in request and no "
            f"default value provided. Inputs expected to be in the request {{{','.join(sent)}}}, "
            f"or default input alias set: {','.join(sorted(defaults))}"
        )
    used = [name for name in sent if name in signature.inputs]
    if used != sent:
        raise invalid_argument(
            f"Inputs contains invalid name. Used request inputs: {','.join(used)}, "
            f"request input: {','.join(sent)}"
        )


_METHOD_NAMES = {m: f"tensorflow/serving/{m}" for m in ("predict", "classify", "regress")}
_TASKS = {"classify": "classification", "regress": "regression"}


def check_method_name(signature: Signature, method: str) -> None:
    """Refuse a signature that was saved for another `method` (``predict``, ``classify`` or
    ``regress``); prediction takes all three. Only asked where
    `--enable_signature_method_name_check` is given.

    Raises:
        ServingError: INTERNAL for predict, INVALID_ARGUMENT for the others, as in TensorFlow
            Serving.
    """
    name = signature.method_name
    if method == "predict":
        if name not in _METHOD_NAMES.values():
            known = ", ".join(_METHOD_NAMES.values())
            raise ServingError(
                Code.INTERNAL,
                f"Expected prediction signature method_name to be one of {{{known}}}. Was: {name}",
            )
    elif name != _METHOD_NAMES[method]:
        raise invalid_argument(
            f"Expected {_TASKS[method]} signature method_name to be {_METHOD_NAMES[method]}. "
            f"Was: {name}"
        )


def task_method(method_name: str) -> str:
    """The method of a task of a MultiInference request: ``classify`` or ``regress``.

    Raises:
        ServingError: UNIMPLEMENTED, it asks for something else.
    """
    for method in _TASKS:
        if method_name == _METHOD_NAMES[method]:
            return method
    raise ServingError(Code.UNIMPLEMENTED, f"Unsupported signature method_name: {method_name}")


def check_outputs_exist(signature: Signature, outputs: Sequence[str]) -> None:
    """Refuse a filter that names an output twice, or one that does not exist."""
    for i, output in enumerate(outputs):
        if output not in signature.outputs:
            known = ",".join(sorted(signature.outputs))
            raise invalid_argument(
                f"output tensor alias not found in signature: {output} "
                f"Outputs expected to be in the set {{{known}}}."
            )
        if output in outputs[:i]:
            raise invalid_argument(f"duplicate output tensor alias: {output}")


def examples_signature(
    signatures: Mapping[str, Signature], name: str, method: str, check_name: bool = False
) -> tuple[str, ...]:
    """The outputs to ask for when `method` (``classify`` or ``regress``) is called; with
    `check_name` the signature must have been saved for that method.

    Raises:
        ServingError: INVALID_ARGUMENT, the signature is not one for examples.
    """
    signature = signatures.get(name)
    if signature is None:
        raise invalid_argument(f"No signature was found with the name: {name}")
    if check_name:
        check_method_name(signature, method)
    if len(signature.inputs) != 1:
        raise invalid_argument("Expected one input Tensor.")
    count = len(signature.outputs)
    if method == "regress" and count != 1:
        raise invalid_argument("Expected one output Tensor.")
    if method == "classify" and not 1 <= count <= 2:
        raise invalid_argument(f"Expected one or two output Tensors, found {count}")
    if "inputs" not in signature.inputs:
        raise invalid_argument(f"No {_TASKS[method]} inputs found in SignatureDef: {signature}")
    if method == "regress":
        if "outputs" not in signature.outputs:
            raise invalid_argument(f"No regression outputs found in SignatureDef: {signature}")
        return ("outputs",)
    wanted = tuple(o for o in ("classes", "scores") if o in signature.outputs)
    if not wanted:
        raise invalid_argument(
            'Expected classification signature outputs to contain at least one of "classes" or '
            f'"scores". Signature was: {signature}'
        )
    return wanted


def classification(
    outputs: Mapping[str, np.ndarray], examples: int
) -> tuple[np.ndarray | None, np.ndarray | None]:
    """Labels and scores, each [batch, classes] or None, of a classify call's outputs."""
    labels, scores = outputs.get("classes"), outputs.get("scores")
    for name, array, kind, dtype in (
        ("classes", labels, "O", "DT_STRING"),
        ("scores", scores, "f", "DT_FLOAT"),
    ):
        if array is None:
            continue
        if array.ndim != 2:
            raise invalid_argument(
                f"Expected Tensor shape: [batch_size num_classes] but got {shape_text(array.shape)}"
            )
        if array.dtype.kind != kind or (kind == "f" and array.dtype != np.float32):
            got = data_type_name(array.dtype)
            raise invalid_argument(f"Expected {name} Tensor of {dtype}. Got: {got}")
        if array.shape[0] != examples:
            raise invalid_argument(
                f"Expected {name} output batch size of {examples}. Got: {array.shape[0]}"
            )
    if labels is not None and scores is not None and labels.shape[1] != scores.shape[1]:
        raise invalid_argument(
            "Tensors class and score should match in dim_size(1). Got "
            f"{labels.shape[1]} vs. {scores.shape[1]}"
        )
    return labels, scores


def regression(outputs: Mapping[str, np.ndarray], examples: int) -> np.ndarray:
    """The values, float32 [batch], of a regress call's output."""
    values = outputs["outputs"]
    if values.ndim not in (1, 2) or (values.ndim == 2 and values.shape[1] != 1):
        raise invalid_argument(
            "Expected output Tensor shape to be either [batch_size] or [batch_size, 1] but got "
            f"{shape_text(values.shape)}"
        )
    if values.shape[0] != examples:
        raise invalid_argument(
            f"Input batch size did not match output batch size: {examples} vs. {values.shape[0]}"
        )
    if values.dtype != np.float32:
        got = data_type_name(values.dtype)
        raise invalid_argument(f"Expected output Tensor of DT_FLOAT.  Got: {got}")
    return values.reshape(-1)
