"""A process of the server, and what is known of it beside its memory."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Process:
    """A process of the server, and what is known of it beside its memory.

    Attributes:
        role: ``server``, ``supervisor``, ``zygote``, ``server.worker`` or ``codec``.
        weights: bytes of its version's weights, by the checkpoint's index.
        runtime: bytes that it took before its version was loaded; None: not known.
        device: where the weights are.
        reserved: bytes that the budget keeps for its version, by device.
        limit: bytes (USS) beyond which its worker is ended.
        gpu: what TensorFlow's allocator in it said last: bytes in use and at most.
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
