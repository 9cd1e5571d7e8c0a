"""From what a person has at hand (lists, arrays, data frames) to a signature's tensors."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from workbench.core.signature import Signature, TensorInfo
from workbench.core.status import invalid_argument

if TYPE_CHECKING:
    import numpy as np


def to_inputs(signature: Signature, x: Any) -> dict[str, np.ndarray]:
    """The inputs of a call.

    Args:
        x: an array or list for a signature with one input; a mapping from input names
            otherwise; a data frame, whose columns are the inputs where their names agree,
            and else the features of the only input.

    Raises:
        ServingError: INVALID_ARGUMENT, naming the input and what it should be.
    """
    names = sorted(signature.inputs)
    if _is_frame(x):
        if set(names) == {str(c) for c in x.columns}:
            x = {name: x[name].to_numpy() for name in names}
        else:
            x = x.to_numpy()
    if isinstance(x, Mapping):
        return {
            str(name): to_array(signature.inputs[name], value, str(name))
            if name in signature.inputs
            else _unknown(name, names)
            for name, value in x.items()
        }
    if len(names) != 1:
        raise invalid_argument(
            f"This signature has {len(names)} inputs ({', '.join(names)}): give a dictionary with "
            "one entry for each"
        )
    return {names[0]: to_array(signature.inputs[names[0]], x, names[0])}


def to_array(info: TensorInfo, value: Any, name: str) -> np.ndarray:
    """`value` as an array of the signature's dtype; numbers are converted, never text.

    Raises:
        ServingError: INVALID_ARGUMENT.
    """
    import numpy as np

    from workbench.runtime.dtypes import STRING, numpy_dtype

    try:
        dtype = numpy_dtype(info.dtype)
    except KeyError:
        raise invalid_argument(
            f"Input {name!r} has dtype {info.dtype}, which cannot be sent"
        ) from (None)
    try:
        # numpy's own type for bytes would drop zeros at their end.
        array = np.asarray(value, object if info.dtype == STRING and _is_list(value) else None)
    except ValueError as error:
        raise invalid_argument(f"Input {name!r} has ragged rows: {error}") from error
    if info.dtype == STRING:
        if array.dtype.kind not in "SUO":
            raise invalid_argument(f"Input {name!r} must be strings, not {array.dtype}")
        encoded = [v.encode() if isinstance(v, str) else v for v in array.reshape(-1).tolist()]
        if not all(isinstance(v, bytes) for v in encoded):
            raise invalid_argument(f"Input {name!r} must be strings or bytes")
        out = np.empty(len(encoded), object)
        out[:] = encoded
        return out.reshape(array.shape)
    if array.dtype == dtype:
        return np.ascontiguousarray(array).reshape(array.shape)
    if array.dtype.kind not in "biufc" and array.dtype.name != "bfloat16":
        raise invalid_argument(f"Input {name!r} must be numbers ({info}), not {array.dtype}")
    if dtype.kind in "iu" and array.dtype.kind == "f":
        raise invalid_argument(
            f"Input {name!r} must be whole numbers ({info}), not {array.dtype}: convert it with "
            f".astype({dtype.name!r}) if that is meant"
        )
    if array.dtype.kind == "c" and dtype.kind != "c":
        raise invalid_argument(f"Input {name!r} must be real numbers ({info}), not {array.dtype}")
    if dtype.kind in "iu" and array.size:
        limits = np.iinfo(dtype)
        if array.min() < limits.min or array.max() > limits.max:
            raise invalid_argument(
                f"Input {name!r} ({info}) takes {limits.min} to {limits.max}; it has values from "
                f"{array.min()} to {array.max()}"
            )
    return array.astype(dtype)


def _is_list(value: Any) -> bool:
    return isinstance(value, (list, tuple, bytes, str))


def _is_frame(x: Any) -> bool:
    # Without importing pandas for a caller who does not use it.
    return type(x).__module__.partition(".")[0] == "pandas" and hasattr(x, "columns")


def _unknown(name: Any, names: list[str]) -> np.ndarray:
    raise invalid_argument(f"There is no input {name!r}; the inputs are {', '.join(names)}")
