"""A process of the server: its role, its version, and the memory reserved for it."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Process:
    """A process of the server, with everything but its memory readings.

    Attributes:
        role: ``server``, ``supervisor``, ``zygote``, ``worker`` or ``codec``.
        weights: bytes of its version's weights, by the checkpoint's index.
        runtime: bytes that it took before its version was loaded; None: unknown.
        device: where the weights are.
        reserved: bytes that the budget reserves for its version, by device.
        limit: bytes (USS) beyond which its worker is ended.
        gpu: the last report of TensorFlow's allocator in it: bytes in use, and the peak.
    """

    pid: int
    role: str
    model: str | None = None
    version: int | None = None
    weights: int = 0
    runtime: int | None = None
    device: str = "host"
    reserved: tuple[tuple[str, int], ...] = ()
    limit: int | None = None
    gpu: tuple[int, int] | None = None
