"""A model under management: its settings, its versions, and what each of them is doing."""

from __future__ import annotations

import asyncio
import math
import os
import re
import time
from collections.abc import Hashable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from workbench.core.batching_parameters import BatchingParameters
from workbench.core.holding import Held
from workbench.core.quarantine import Record
from workbench.core.remote_paths import check_local
from workbench.core.signature import Signature
from workbench.core.states import Harness, HarnessState, ServableId
from workbench.core.status import ServingError, invalid_argument
from workbench.core.transitions import policy_name
from workbench.core.versions import VersionPolicy
from workbench.serving.estimates import Measured, VersionMemory
from workbench.serving.lack import Lack
from workbench.serving.source import FolderSource
from workbench.serving.tasks import VersionQueues
from workbench.serving.traffic import Traffic
from workbench.serving.version_folder import Found
from workbench.serving.worker import LoadReport, Worker

if TYPE_CHECKING:
    from workbench.serving.warmup_recorder import WarmupRecording

_DEVICE = re.compile(r"(auto|cpu|gpu:\d{1,3})\Z")
_NAME = re.compile(r"[^/:\s][^/:\n]*\Z")


@dataclass(frozen=True)
class ModelConfig:
    """What is wanted of a model; kept on disk as the server's desired state.

    Attributes:
        base_path: the absolute path of the folder that holds the numbered version folders.
        version_policy: which of the versions found are aspired.
        transition: `smooth`, `unload_first` or `staged`; the last two also with `+hold`.
        batching: as TensorFlow Serving's `BatchingSession`; None means automatic.
        automatic_batching: without `batching`, whether requests may be merged where that changes
            nothing but speed; False runs each alone.
        version_batching: each version's `batching_params.pbtxt` says how its requests are batched,
            instead of `batching`; those of a version without one are not.
        labels: names for versions; a label may name a version that is not there yet.
        reload_replaced_versions: a version whose folder has become another one (a link was swapped,
            or it was removed and made again) is loaded anew under its number; else what was loaded
            goes on, with a warning, as in TensorFlow Serving.
        servable_versions_always_present: a base path in which there is no version any more ends
            nothing: what is served goes on.
        max_load_retries: attempts after a first load that failed for a passing reason.
        retry_all_load_errors: attempt it again whatever the reason.
        load_retry_seconds: the pause before each.
        tags: of the meta graph to load.
        intra_op_threads: threads that one operation may use; None: the CPUs divided by the
            executor slots.
        gpu_memory_fraction: of a GPU's memory, at most for each version; 0 sets no limit.
        enable_model_warmup: run the version's warm-up requests before it becomes available.
        num_request_iterations_for_warmup: how often each is run; 0 means once.
        device: ``auto`` (the GPU with the most room, else the CPU), ``cpu``, or ``gpu:N``.
        memory_limit_bytes: the most that one of its workers may take of the host.
        gpu_memory_limit_bytes: the same for the GPU's memory.
        hang_seconds: a run that takes longer, and for which nobody waits any more, hangs: its
            worker is ended and replaced.
        fall_back: where the version that is wanted cannot be loaded and nothing serves, the highest
            one before it that can be loaded serves.
    """

    name: str
    base_path: str
    version_policy: VersionPolicy = field(default_factory=VersionPolicy)
    transition: str = "smooth"
    batching: BatchingParameters | None = None
    labels: Mapping[str, int] = field(default_factory=dict)
    max_load_retries: int = 2
    load_retry_seconds: float = 1.0
    tags: tuple[str, ...] = ("serve",)
    intra_op_threads: int | None = None
    enable_model_warmup: bool = True
    num_request_iterations_for_warmup: int = 0
    automatic_batching: bool = True
    version_batching: bool = False
    device: str = "auto"
    memory_limit_bytes: int | None = None
    gpu_memory_limit_bytes: int | None = None
    hang_seconds: float = 60.0
    fall_back: bool = True
    servable_versions_always_present: bool = True
    retry_all_load_errors: bool = False
    gpu_memory_fraction: float = 0.0
    reload_replaced_versions: bool = True

    def __post_init__(self) -> None:
        if not isinstance(self.device, str) or not _DEVICE.match(self.device):
            raise invalid_argument(
                f"Unknown device {self.device!r}: use 'auto', 'cpu', or 'gpu:0', 'gpu:1' ..."
            )
        for name in ("memory_limit_bytes", "gpu_memory_limit_bytes"):
            limit = getattr(self, name)
            if limit is not None and (type(limit) is not int or limit < 1):
                raise invalid_argument(
                    f"{name} must be a number of bytes above 0, or None; was {limit!r}"
                )
        if not _NAME.match(self.name):
            raise invalid_argument(
                f"Model name {self.name!r} cannot be part of a URL: use letters, digits, '-', '_'"
            )
        share = self.gpu_memory_fraction
        if not isinstance(share, (int, float)) or not 0 <= share <= 1:
            raise invalid_argument(
                f"gpu_memory_fraction of model {self.name} must be between 0 and 1; was {share!r}"
            )
        check_local(self.base_path, f"The base path of model {self.name}")
        if type(self.reload_replaced_versions) is not bool:
            raise invalid_argument(
                f"reload_replaced_versions of model {self.name} must be true or false; was "
                f"{self.reload_replaced_versions!r}"
            )
        if not os.path.isabs(self.base_path):
            raise invalid_argument(
                f"Expected model {self.name} to have an absolute path or URI; got "
                f"base_path()={self.base_path}"
            )

    def to_json(self) -> dict[str, Any]:
        return {
            "name": self.name,
            "base_path": self.base_path,
            "version_policy": self.version_policy.to_json(),
            "transition": self.transition,
            "batching": None if self.batching is None else self.batching.to_json(),
            "labels": dict(self.labels),
            "max_load_retries": self.max_load_retries,
            "load_retry_seconds": self.load_retry_seconds,
            "tags": list(self.tags),
            "intra_op_threads": self.intra_op_threads,
            "enable_model_warmup": self.enable_model_warmup,
            "num_request_iterations_for_warmup": self.num_request_iterations_for_warmup,
            "automatic_batching": self.automatic_batching,
            "version_batching": self.version_batching,
            "device": self.device,
            "memory_limit_bytes": self.memory_limit_bytes,
            "gpu_memory_limit_bytes": self.gpu_memory_limit_bytes,
            "hang_seconds": self.hang_seconds,
            "fall_back": self.fall_back,
            "servable_versions_always_present": self.servable_versions_always_present,
            "retry_all_load_errors": self.retry_all_load_errors,
            "gpu_memory_fraction": self.gpu_memory_fraction,
            "reload_replaced_versions": self.reload_replaced_versions,
        }

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> ModelConfig:
        """Read what a client sends; what it leaves out has its default.

        Raises:
            ServingError: INVALID_ARGUMENT, naming what is wrong.
        """
        known = set(cls.__dataclass_fields__)
        unknown = sorted(set(data) - known)
        if unknown:
            raise invalid_argument(
                f"Unknown model setting {unknown[0]!r}: known are {', '.join(sorted(known))}"
            )
        for required in ("name", "base_path"):
            if not isinstance(data.get(required), str):
                raise invalid_argument(f"A model needs its {required}, a string")
        values = dict(data)
        values["version_policy"] = VersionPolicy.parse(data.get("version_policy"))
        values["transition"] = policy_name(data.get("transition", "smooth"))
        batching = data.get("batching")
        values["batching"] = None if batching is None else BatchingParameters.from_json(batching)
        labels = data.get("labels") or {}
        if not isinstance(labels, Mapping) or any(type(v) is not int for v in labels.values()):
            raise invalid_argument(f"Labels must map names to version numbers; were {labels!r}")
        values["labels"] = dict(labels)
        values["tags"] = tuple(data.get("tags") or ("serve",))
        return cls(**values)


@dataclass(eq=False)
class Served:
    """One version of one model in this server.

    Attributes:
        harness: how far it got.
        found: where its files are.
        worker: the process that holds it; None before it is spawned and after its end.
        queues: its requests; there from when it first became ready.
        report: what the worker said of it.
        spawn_seconds, load_seconds: what starting it took; without the time in which it was
            staged and waited for its turn.
        staged_seconds: how much of that it took to stage it.
        breakdown: the same by what it was spent on, in seconds; what is missing from the sum is
            mostly the way between the processes.
        first_run_seconds: how long its worker's first batch ran; None before that.
        batched: whether its requests are merged as its batching parameters say.
        loading: the work of staging or loading it; None before it has begun.
        failed_loads: attempts to load it that have failed.
        recording: the warm-up requests that are, or were, recorded from it.
        replacement: brings up the next worker after one has died.
        holder: for whom its memory is reserved where that is not simply its number.
        replaces: the version whose number it takes as soon as it can be asked; until then that one
            serves, and nobody else sees this one.
        outdated: its folder is another one now, and it goes so that its number can be loaded anew.
        memory: what is known of it and reserved for it.
    """

    harness: Harness
    found: Found
    worker: Worker | None = None
    queues: VersionQueues | None = None
    report: LoadReport | None = None
    spawn_seconds: float = 0.0
    load_seconds: float = 0.0
    staged_seconds: float = 0.0
    breakdown: dict[str, float] = field(default_factory=dict)
    first_run_seconds: float | None = None
    ready_at: float | None = None
    batched: bool = False
    loading: asyncio.Task[None] | None = None
    failed_loads: int = 0
    replacement: asyncio.Task[None] | None = None
    recording: WarmupRecording | None = None
    memory: VersionMemory | None = None
    holder: object | None = None
    replaces: Served | None = None
    outdated: bool = False

    @property
    def id(self) -> ServableId:
        return self.harness.id

    @property
    def claimant(self) -> Hashable:
        """For whom its memory is reserved: for a while two may have one number."""
        return self.id if self.holder is None else self.holder

    @property
    def signatures(self) -> Mapping[str, Signature]:
        """What it can be asked; nothing before it has been loaded."""
        return {} if self.report is None else self.report.signatures

    def to_json(self) -> dict[str, Any]:
        """What a person may want to know of it, as plain data."""
        error = self.harness.error
        data: dict[str, Any] = {
            "version": self.id.version,
            "state": self.harness.public_state.name,
            "harness": self.harness.state.value,
            "aspired": self.harness.aspired,
            "path": self.found.path,
            "real_path": self.found.place.path,
            "size_bytes": self.found.size_bytes,
            "error": None if error is None else _error_json(error),
            "pid": None if self.worker is None else self.worker.pid,
            "ready_at": self.ready_at,
            "spawn_seconds": self.spawn_seconds,
            "load_seconds": self.load_seconds,
            "first_run_seconds": self.first_run_seconds,
        }
        if self.memory is not None:
            data["memory"] = self.memory.to_json()
        if self.report is not None:
            data["signatures"] = {n: s.to_json() for n, s in self.report.signatures.items()}
            data["breakdown_seconds"] = dict(self.breakdown)
        if self.queues is not None:
            data["requests"] = {
                "pending": self.queues.pending,
                "answered": self.queues.answered,
                "failed": self.queues.failed,
            }
            data["batches"] = self.queues.statistics.to_json()
        return data


@dataclass(eq=False)
class Renewal:
    """A number that is loaded anew from another folder.

    Attributes:
        old: what serves under the number meanwhile.
        fresh: what is to take its place.
        error: why it could not.
        failed_at: monotonic seconds.
    """

    old: Served
    fresh: Served
    error: ServingError | None = None
    failed_at: float = 0.0


class Model:
    """A model's settings and its versions, by number."""

    def __init__(self, config: ModelConfig) -> None:
        self.config = config
        self.source = FolderSource(config.name, config.base_path)
        self.versions: dict[int, Served] = {}
        # Versions that have ended, newest last: their final word stays visible.
        self.ended: dict[int, Served] = {}
        # What the source wants but cannot be had yet, and its complaints.
        self.waiting: dict[int, Lack] = {}
        self.warnings: list[str] = []
        # Requests that wait for a version, where the transition holds them.
        self.held = Held()
        self.held_since = 0.0
        # Versions that have failed, by number.
        self.failing: dict[int, Record] = {}
        # Whether an older version may be on its way back, as far as is known: requests that are
        # held then wait for that.
        self.falling_back = False
        # Versions beside those by number: other contents that are about to take a number, and those
        # that have lost it and answer what they have accepted.
        self.beside: list[Served] = []
        # Numbers whose folders have become others, and what is being done about each.
        self.renewals: dict[int, Renewal] = {}
        self.traffic = Traffic()
        # Whether what the folder was last seen to want has been taken up.
        self.polled = False
        self.removed = False
        self.measured: Measured | None = None
        """What its last load took of the host: the next is estimated by it."""
        self.ready: Served | None = None
        """The highest version that serves: the answer to a request that names none."""

    @property
    def name(self) -> str:
        return self.config.name

    def record(self, served: Served) -> Record:
        """What has gone wrong with a version so far."""
        record = self.failing.get(served.id.version)
        if record is None or record.fingerprint != served.found.fingerprint:
            record = self.failing[served.id.version] = Record(served.found.fingerprint)
        return record

    def everyone(self) -> list[Served]:
        """All that may have a process."""
        return [*self.versions.values(), *self.beside]

    def refresh_ready(self) -> None:
        serving = [s for s in self.versions.values() if s.harness.state is HarnessState.READY]
        self.ready = max(serving, key=lambda s: s.id.version, default=None)

    def listed(self) -> list[Served]:
        """Every version there is something to say about, highest first."""
        everything = {**self.ended, **self.versions}
        return [everything[v] for v in sorted(everything, reverse=True)]

    def to_json(self) -> dict[str, Any]:
        return {
            **self.config.to_json(),
            "versions": [
                {**served.to_json(), "quarantine": self.set_aside(served.id.version)}
                for served in self.listed()
            ],
            "waiting": {str(v): reason for v, reason in sorted(self.waiting.items())},
            "warnings": list(self.warnings),
            "held": len(self.held),
        }

    def set_aside(self, version: int) -> dict[str, Any] | None:
        """Why a version is set aside, how often it was, and the seconds until it is tried again
        (None: not before its files change)."""
        record, now = self.failing.get(version), time.monotonic()
        if record is None or record.until is None or not (record.replaced or record.is_aside(now)):
            return None
        left = record.until - now
        return {
            "reason": record.reason,
            "failures": record.failures,
            "seconds": None if math.isinf(left) else max(0.0, left),
        }


def _error_json(error: ServingError) -> dict[str, Any]:
    return {"code": error.code.name, "message": error.message}
