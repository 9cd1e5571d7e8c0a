"""Estimates a version's memory before it is loaded, from its files and from the last load.

The checkpoint's index gives the size of the weights. What a worker takes beyond them, and how much
more while it loads, is a guess the first time. After that it is what the model's last load took.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import Any

from workbench.core.memory.budget import Need
from workbench.formats.saved_model.checkpoint_index import CompressedIndex, DamagedIndex, read_index
from workbench.formats.saved_model.saved_model_file import GRAPH_FILES
from workbench.processes.limits import Limit
from workbench.server.engine.memory.gpu import CONTEXT_BYTES

# Measured (docs/memory.md): workers of TensorFlow 2.21 with 400 bytes to 400 MB of weights.
_RUNTIME_BYTES = 24 * 2**20
_LOADING_BYTES = 16 * 2**20
_WEIGHTS_FACTOR = 1.03
# The graph is in memory several times over: as a message, as Python's graph, as TensorFlow's.
_GRAPH_FACTOR = 4.0
_GRAPH_LOADING_FACTOR = 4.0
# Graphs that differ by no more than this belong to the same kind of model.
_GRAPH_SLACK = 64 * 2**10
# Host memory that CUDA's libraries take in each process that uses them; assumed, not measured.
_CUDA_HOST_BYTES = 700 * 2**20


@dataclass(frozen=True)
class Files:
    """Sizes from a version's files, in bytes: its weights, and its graph as a message."""

    weights: int
    graph: int


@dataclass(frozen=True)
class Measured:
    """What a worker's load really took of the host, in bytes, beyond what it shares."""

    files: Files
    peak: int
    steady: int


@dataclass
class VersionMemory:
    """A version's memory, estimated and measured, in bytes.

    Attributes:
        device: where its weights are: ``host`` or ``gpu:N``.
        fallback: why they are not on the device that was asked for; empty if they are.
        need: the estimate that its reservation was made from.
        gpu_fraction: the share of the GPU's memory that TensorFlow may use; 0 without a GPU.
        before: private and anonymous memory of its worker before it loaded anything.
        peak: private memory of the worker at most while it loaded, measured.
        limit: what keeps its worker from taking more than it may.
    """

    files: Files
    need: Need
    device: str = "host"
    fallback: str = ""
    gpu_fraction: float = 0.0
    before: tuple[int, int] | None = None
    peak: int | None = None
    measured: Measured | None = None
    limit: Limit | None = None
    gpu: tuple[int, int] | None = None

    def to_json(self) -> dict[str, Any]:
        """The figures that clients see, in bytes."""
        data: dict[str, Any] = {
            "device": self.device,
            "weights": self.files.weights,
            "estimated": {"peak": dict(self.need.peak), "steady": dict(self.need.steady)},
            "measured": self.measured
            and {
                "peak": self.measured.peak,
                "steady": self.measured.steady,
            },
        }
        if self.fallback:
            data["fallback"] = self.fallback
        if self.limit is not None:
            data["limit"] = {"bytes": self.limit.bytes, "how": self.limit.how}
        return data


def read_files(path: str) -> Files:
    """The sizes of a SavedModel's files; one that cannot be read counts as 0. Blocks."""
    variables = os.path.join(path, "variables")
    try:
        weights = read_index(os.path.join(variables, "variables.index")).weight_bytes
    except CompressedIndex:
        weights = _sizes(variables)
    except (OSError, DamagedIndex):
        weights = 0
    for name in GRAPH_FILES:
        try:
            return Files(weights, os.path.getsize(os.path.join(path, name)))
        except OSError:
            continue
    return Files(weights, 0)


def basis(files: Files, last: Measured | None) -> Measured | None:
    """What the model's last load took, if that says something about these files: not if the graph
    is another one, by its size, as of another model under the same name."""
    if last is None or not (files.graph and last.files.graph):
        return last
    small, large = sorted((files.graph, last.files.graph))
    return last if large <= 2 * small + _GRAPH_SLACK else None


def _sizes(folder: str) -> int:
    try:
        with os.scandir(folder) as entries:
            return sum(e.stat().st_size for e in entries if ".data-" in e.name)
    except OSError:
        return 0


def estimate(files: Files, last: Measured | None, device: str = "host") -> Need:
    """The memory that loading these files takes.

    Args:
        last: what the model's last load took, if it is a `basis`.
        device: ``host``, or the GPU (``gpu:N``) on which the weights will be.
    """
    graph = files.graph * _GRAPH_FACTOR
    if last is None:
        beyond = _RUNTIME_BYTES + graph + (_WEIGHTS_FACTOR - 1) * files.weights
        transient = _LOADING_BYTES + files.graph * _GRAPH_LOADING_FACTOR
    else:
        # What is not weights stays as it was.
        beyond = max(0, last.steady - last.files.weights)
        transient = max(0, last.peak - last.steady)
        copied = transient - _LOADING_BYTES
        if copied > last.files.weights / 2 > _LOADING_BYTES:
            # It had its weights twice while it loaded, and so will a larger one.
            scale = max(1.0, files.weights / last.files.weights)
            transient = round(_LOADING_BYTES + copied * scale)
    steady = round(files.weights + beyond)
    peak = round(steady + transient)
    prepared = round(_RUNTIME_BYTES + graph)
    if device == "host":
        return Need({"host": peak}, {"host": steady}, {"host": min(prepared, peak)})
    # The weights go to the device, by way of the host.
    on_host = round(_RUNTIME_BYTES + _CUDA_HOST_BYTES + graph)
    on_device = round(CONTEXT_BYTES + _WEIGHTS_FACTOR * files.weights)
    return Need(
        {"host": on_host + files.weights, device: on_device},
        {"host": on_host, device: on_device},
        {"host": on_host, device: CONTEXT_BYTES},
    )
