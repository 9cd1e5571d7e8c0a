"""A managed model, its versions and their state."""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import Hashable, Mapping
from dataclasses import dataclass, field
from typing import Any

from workbench.core.batching.merging import Merging, notes
from workbench.core.model_settings import ModelConfig
from workbench.core.signature import INIT_SIGNATURE, Signature
from workbench.core.status import ServingError, failed_precondition
from workbench.core.versions.holding import Held
from workbench.core.versions.outage import OVERDUE_SECONDS, Outage
from workbench.core.versions.poison import PoisonTable
from workbench.core.versions.quarantine import Record
from workbench.core.versions.states import Harness, HarnessState, ServableId
from workbench.formats.saved_model.lack import Lack
from workbench.server.engine.batching.tasks import VersionQueues
from workbench.server.engine.memory.estimates import Measured, VersionMemory
from workbench.server.engine.telemetry.traffic import Traffic
from workbench.server.engine.telemetry.warmup_recorder import WarmupRecording
from workbench.server.engine.trial import Recent, TrialResult
from workbench.server.engine.versions.source import FolderSource
from workbench.server.engine.versions.version_folder import Found
from workbench.server.engine.workers.worker_handle import LoadReport, Worker

_MOST_NOTES = 8
ENDED_KEPT = 16
"""Versions of a model that have ended and are still reported; the latest of them."""


@dataclass(eq=False)
class Served:
    """One version of one model in this server.

    Attributes:
        harness: how far it got.
        found: where its files are.
        worker: the process that holds it; None before it is spawned and after its end.
        queues: its requests; there from when it first became ready.
        report: the worker's report after loading it.
        spawn_seconds, load_seconds: how long its start took, without the time in which it was
            staged and waited for its turn.
        staged_seconds: how much of that staging took.
        breakdown: the same by step, in seconds; the sum is less, because messages between the
            processes take time.
        first_run_seconds: how long its worker's first batch ran; None before that.
        batched: whether its requests are merged as its batching parameters say.
        loading: the work of staging or loading it; None before it has begun.
        failed_loads: attempts to load it that have failed.
        recording: the warm-up requests that are, or were, recorded from it.
        replacement: brings up the next worker after one has died.
        holder: the key of its memory reservation, if that is not simply its number.
        replaces: the version whose number it takes as soon as it serves; until then that one
            serves, and clients do not see this one.
        outdated: its folder was replaced, and it leaves for its number to be loaded again.
        memory: its reservation and measurements.
        trial: the result of its trial; None before that.
        begun_at: when it was added (monotonic seconds).
        fits_now: it was refused for want of memory, and there is enough now.
        poison: inputs that it crashed on.
        last_report: the report of an earlier start of it, which crashed.
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
    trial: TrialResult | None = None
    begun_at: float = field(default_factory=time.monotonic)
    fits_now: bool = False
    poison: PoisonTable = field(init=False)
    last_report: LoadReport | None = None

    def __post_init__(self) -> None:
        self.poison = PoisonTable(*self.harness.id)

    def succeed(self, before: Served | None) -> None:
        """Take over the crash inputs and the report of an earlier start of this version."""
        if before is not None:
            self.poison = before.poison
            self.last_report = before.report or before.last_report

    @property
    def id(self) -> ServableId:
        """The model's name and the version's number."""
        return self.harness.id

    @property
    def claimant(self) -> Hashable:
        """The key of its memory reservation: for a while two versions may have one number."""
        return self.id if self.holder is None else self.holder

    @property
    def signatures(self) -> Mapping[str, Signature]:
        """Its signatures; empty before it has been loaded."""
        return {} if self.report is None else self.report.signatures

    def record_warmup(self, requests: int) -> WarmupRecording:
        """Record the next `requests` requests that it answers well, as its warm-up file. A
        recording that is still running ends without a file.

        Raises:
            ServingError: INVALID_ARGUMENT, more than a file may hold, or none; FAILED_PRECONDITION,
                it does not serve.
        """
        if self.queues is None:
            raise failed_precondition(f"{self.id} does not serve")
        self.recording = WarmupRecording(self.id, self.found.place.path, self.queues, requests)
        return self.recording

    def to_json(self) -> dict[str, Any]:
        """The version as plain data, for people and programs."""
        error = self.harness.error
        data: dict[str, Any] = {
            "version": self.id.version,
            "state": self.harness.public_state.name,
            "harness": self.harness.state.value,
            "aspired": self.harness.aspired,
            "path": self.found.path,
            "real_path": self.found.place.path,
            "size_bytes": self.found.size_bytes,
            "error": None if error is None else error_json(error),
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
        if self.trial is not None:
            data["probe"] = self.trial.to_json()
        data["notes"] = self._notes()
        if self.queues is not None:
            data["merging"] = {n: m.to_json() for n, m in self._merging()}
            data["requests"] = {
                "pending": self.queues.pending,
                "answered": self.queues.answered,
                "failed": self.queues.failed,
            }
            data["batches"] = self.queues.statistics.to_json()
        return data

    def _merging(self) -> list[tuple[str, Merging]]:
        """Whether requests are merged, for each signature that clients may call."""
        if self.queues is None:
            return []
        return [(n, m) for n, m in sorted(self.queues.merging.items()) if n != INIT_SIGNATURE]

    def _notes(self) -> list[str]:
        """Notes for people about a version that serves, a sentence each."""
        if self.harness.state is not HarnessState.READY or self.trial is None:
            return []
        as_asked = self.queues is None or self.queues.parameters is not None
        found = [*self.trial.warnings, *(() if as_asked else notes(dict(self._merging())))]
        if len(found) > _MOST_NOTES:
            more = len(found) - _MOST_NOTES
            found = [*found[:_MOST_NOTES], f"There are {more} more notes in server.status()"]
        return found


@dataclass(eq=False)
class Renewal:
    """A version number that is loaded again from another folder.

    Attributes:
        old: the contents that serve under the number meanwhile.
        fresh: the contents that are to take their place.
        error: why they could not be loaded; None if that has not failed.
        failed_at: when it failed (monotonic seconds).
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
        # Wanted versions that are not complete yet, and warnings about the folder.
        self.waiting: dict[int, Lack] = {}
        self.warnings: list[str] = []
        # Requests that wait for a version, where the transition holds them.
        self.held = Held()
        self.held_since = 0.0
        # Versions that have failed, by number.
        self.failing: dict[int, Record] = {}
        # Whether an older version may be on its way back: held requests then wait for it.
        self.falling_back = False
        # Contents that are about to take a number, and contents that have lost theirs and answer
        # the requests they have accepted.
        self.beside: list[Served] = []
        # Numbers whose folders were replaced, and are being loaded again.
        self.renewals: dict[int, Renewal] = {}
        self.traffic = Traffic()
        # Whether the versions follow what the folder wanted at the last look.
        self.polled = False
        self.removed = False
        self.measured: Measured | None = None
        """What its last load took of the host, for the next estimate."""
        # The last requests, for the trial of the next version.
        self.recent = Recent()
        self.ready: Served | None = None
        """The highest version that serves: the answer to a request that names none."""

    @property
    def name(self) -> str:
        """The name that clients use."""
        return self.config.name

    def record(self, served: Served) -> Record:
        """The failures of a version so far."""
        record = self.failing.get(served.id.version)
        if record is None or record.fingerprint != served.found.fingerprint:
            record = self.failing[served.id.version] = Record(served.found.fingerprint)
        return record

    def predecessor(self, served: Served) -> Mapping[str, Signature]:
        """The signatures of the version that a client may have asked before this one."""
        earlier = [self.ready] if self.ready is not None else list(self.ended.values())
        for other in reversed(earlier):
            if other is not served and other.report is not None:
                return other.report.signatures
        return {}

    def keep_ended(self, served: Served) -> None:
        """Keep the final word of a version."""
        self.ended.pop(served.id.version, None)
        self.ended[served.id.version] = served
        while len(self.ended) > ENDED_KEPT:
            del self.ended[next(iter(self.ended))]

    def everyone(self) -> list[Served]:
        """All versions that may have a process."""
        return [*self.versions.values(), *self.beside]

    def refresh_ready(self) -> None:
        """Find the highest version that serves again, after a state has changed."""
        serving = [s for s in self.versions.values() if s.harness.state is HarnessState.READY]
        self.ready = max(serving, key=lambda s: s.id.version, default=None)

    def listed(self) -> list[Served]:
        """Every version, managed or ended, highest first."""
        everything = {**self.ended, **self.versions}
        return [everything[v] for v in sorted(everything, reverse=True)]

    def to_json(self) -> dict[str, Any]:
        """Settings, versions and warnings, as clients are shown them."""
        return {
            **self.config.to_json(),
            "versions": [
                {**served.to_json(), "quarantine": self.set_aside(served.id.version)}
                for served in self.listed()
            ],
            "waiting": {str(v): reason for v, reason in sorted(self.waiting.items())},
            "warnings": list(self.warnings),
            "held": len(self.held),
            "outages": self._outages(),
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

    # Crashes.

    def outage(self, version: int | None = None) -> Outage | None:
        """Why a version does not serve although it did; without a `version`, why none does.

        None if it serves, or if its absence has another cause than a crash. A model that has never
        served, or whose versions were taken away, is not out of service: its requests find no
        version, as in TensorFlow Serving.
        """
        if self.removed or (version is None and self.ready is not None):
            return None
        crashed = [v for v in self.failing if version in (None, v) and self._is_out(v)]
        if not crashed:
            return None
        number = max(crashed)
        record = self.failing[number]
        attempt_at = math.inf if record.until is None else record.until
        begun = False
        starting: int | None = number
        coming = self._coming(version)
        if coming is not None:
            attempt_at, begun, starting = coming.begun_at, True, coming.id.version
        elif (
            version is None
            and not record.alone
            and time.monotonic() - record.aside_at < OVERDUE_SECONDS
        ):
            # The folder is being looked at for another version.
            attempt_at, begun, starting = record.aside_at, True, None
        return Outage(
            self.name, number, record.reason, attempt_at, begun, record.start_seconds, starting
        )

    def _is_out(self, version: int) -> bool:
        record = self.failing[version]
        served = self.versions.get(version)
        if served is not None and served.harness.aspired:
            state = served.harness.state
            return record.served and (state.is_coming or state is HarnessState.ERROR)
        # Another version has been chosen in its place, and it is tried again beside that one.
        return record.served and record.until is not None

    def _coming(self, version: int | None) -> Served | None:
        """The highest wanted version on its way to serve, or the one asked for."""
        coming = [
            served
            for served in self.versions.values()
            if served.harness.aspired
            and served.harness.state.is_coming
            and version in (None, served.id.version)
        ]
        return max(coming, key=lambda served: served.id.version, default=None)

    def _outages(self) -> list[dict[str, Any]]:
        """The outage of each crashed version, with the signatures that it will have again."""
        found = []
        now = time.monotonic()
        for version in sorted(self.failing):
            outage = self.outage(version)
            if outage is None:
                continue
            # If nothing serves, another version may be on its way in its place.
            refusal = (self.outage() or outage).refusal(now)
            served = self.versions.get(version) or self.ended.get(version)
            report = None if served is None else served.report or served.last_report
            signatures = {} if report is None else report.signatures
            found.append(
                {
                    "version": version,
                    "message": refusal.message,
                    "retry_after_seconds": refusal.retry_after_seconds,
                    "signatures": {name: s.to_json() for name, s in signatures.items()},
                }
            )
        return found


def error_json(error: ServingError) -> dict[str, Any]:
    """Why a version failed, for events and for clients."""
    data = {"code": error.code.name, "message": error.message}
    return data if error.reason is None else {**data, "reason": error.reason.value}
