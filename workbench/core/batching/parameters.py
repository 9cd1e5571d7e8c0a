"""The settings of batching, under the names and defaults of TensorFlow Serving."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from workbench.core.setting_kinds import (
    INT64_MAX,
    Kind,
    check_fields,
    is_whole,
    listed,
    optional,
    plain_fields,
    setting,
    settings_of,
    truth,
)
from workbench.core.status import invalid_argument

# The ranges are TensorFlow Serving's, and refused with its texts.
_INTEGER = Kind("an integer", lambda value: is_whole(value) and abs(value) <= INT64_MAX, int)
_WHAT = "Batching parameter"
_BATCH_SIZES = listed(
    "a list of positive integers", lambda size: is_whole(size) and 0 < size <= INT64_MAX, int
)


def next_allowed_batch_size(size: int, allowed: Sequence[int]) -> int:
    """The rows that a batch of `size` rows is padded to: the first allowed size that holds it.

    `allowed` is in increasing order. A batch larger than all of them, or any batch where
    `allowed` is empty, keeps its size (TensorFlow Serving's `GetNextAllowedBatchSize`).
    """
    return next((entry for entry in allowed if entry >= size), size)


@dataclass(frozen=True, slots=True)
class BatchingParameters:
    """The settings of one queue, under the names and defaults of TensorFlow Serving's
    `BatchingParameters`.

    Raises:
        ServingError: INVALID_ARGUMENT, with TensorFlow Serving's text.
    """

    max_batch_size: int = setting(
        1000, _INTEGER, "rows of the largest task that is accepted, and of the largest batch"
    )
    batch_timeout_micros: int = setting(
        0,
        _INTEGER,
        "how long a free executor leaves a batch open that is not full, counted from the arrival "
        "of its first task; 0: not at all",
    )
    max_enqueued_batches: int = setting(
        10, _INTEGER, "batches that may wait; 0 means 1 where tasks are not split"
    )
    num_batch_threads: int | None = setting(
        None, optional(_INTEGER, "for as many as there are schedulable CPUs"), "executor slots"
    )
    allowed_batch_sizes: tuple[int, ...] = setting(
        (), _BATCH_SIZES, "a batch is padded to the next of these; empty: never padded"
    )
    pad_variable_length_inputs: bool = setting(
        False, truth(), "pad the other dimensions of the tensors of one batch"
    )
    enable_large_batch_splitting: bool = setting(
        False, truth(), "split a task that does not fit into the open batch"
    )
    max_execution_batch_size: int | None = setting(
        None,
        optional(_INTEGER, "for `max_batch_size`"),
        "rows of the largest batch where tasks are split",
    )

    def __post_init__(self) -> None:
        check_fields(self, _WHAT)
        for name in ("max_batch_size", "num_batch_threads", "max_execution_batch_size"):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise invalid_argument(f"{name} must be positive; was {value}")
        for name in ("batch_timeout_micros", "max_enqueued_batches"):
            value = getattr(self, name)
            if value < 0:
                raise invalid_argument(f"{name} must be non-negative; was {value}")
        if self.enable_large_batch_splitting:
            if self.max_enqueued_batches == 0:
                raise invalid_argument("max_enqueued_batches must be positive; was 0")
            if self.batch_limit > self.max_batch_size:
                raise invalid_argument(
                    "When enable_large_batch_splitting is true, max_batch_size must be greater "
                    "than or equal to max_execution_batch_size; they were "
                    f"{self.max_batch_size} and {self.batch_limit}"
                )
        if self.allowed_batch_sizes and self.allowed_batch_sizes[-1] != self.max_batch_size:
            raise invalid_argument(
                "Last entry in allowed_batch_sizes must match max_batch_size; last entry was "
                f"{self.allowed_batch_sizes[-1]}; expected {self.max_batch_size}"
            )

    @property
    def batch_limit(self) -> int:
        """Rows of the largest batch that is run."""
        if self.enable_large_batch_splitting and self.max_execution_batch_size is not None:
            return self.max_execution_batch_size
        return self.max_batch_size

    def to_json(self) -> dict[str, Any]:
        """All settings as plain data, for `from_json`."""
        return plain_fields(self)

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> BatchingParameters:
        """The settings in `data`; those that it leaves out have their defaults.

        Raises:
            ServingError: INVALID_ARGUMENT, for an unknown name or a value that is not allowed.
        """
        if not isinstance(data, Mapping):
            raise invalid_argument(f"Batching parameters must be an object; were {data!r}")
        known = settings_of(cls)
        for name in data:
            if name not in known:
                raise invalid_argument(
                    f"Unknown batching parameter {name!r}; the parameters are {', '.join(known)}"
                )
        return cls(**data)
