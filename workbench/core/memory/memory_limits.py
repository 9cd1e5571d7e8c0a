"""The limits of memory for all versions of a server together: one table.

A limit is one field of `MemoryLimits`: checks, the JSON of the control plane's `budget` and the
table in `docs/settings.md` come from it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from workbench.core.setting_kinds import (
    check_fields,
    check_known,
    number,
    optional,
    plain_fields,
    setting,
    settings_of,
    whole,
)
from workbench.core.status import invalid_argument

DEFAULT_SHARE = 0.9
"""The share of a device's memory that versions may take if no limit is set."""


@dataclass(frozen=True)
class MemoryLimits:
    """What all versions together may take of each device.

    Raises:
        ServingError: INVALID_ARGUMENT, naming the limit, its value, and the allowed values.
    """

    host_memory_bytes: int | None = setting(
        None,
        optional(whole(1, unit="bytes"), f"for {DEFAULT_SHARE:.0%} of the host's memory"),
        "the memory of the host that versions may take",
    )
    gpu_memory_bytes: int | None = setting(
        None,
        optional(whole(1, unit="bytes"), "for `gpu_memory_fraction` of each GPU's memory"),
        "the memory of each GPU that versions may take",
    )
    gpu_memory_fraction: float = setting(
        DEFAULT_SHARE,
        number(0, 1, above=True),
        "the share of each GPU's memory that versions may take",
    )

    def __post_init__(self) -> None:
        check_fields(self, "Memory limit")

    def to_json(self) -> dict[str, Any]:
        """The limits as `from_json` reads them."""
        return plain_fields(self)

    @classmethod
    def from_json(cls, data: Any) -> MemoryLimits:
        """Read what a client sends; what it leaves out has its default.

        Raises:
            ServingError: INVALID_ARGUMENT, naming what is wrong.
        """
        declared = settings_of(cls)
        if not isinstance(data, Mapping):
            raise invalid_argument(
                f"A budget must be an object with {', '.join(declared)}; was {data!r}"
            )
        for name in data:
            check_known(name, declared, "memory limit")
        return cls(**data)
