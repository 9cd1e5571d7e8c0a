"""The trial of a version: each of its signatures is asked once before the version is available.

A signature is asked its warm-up requests (by the worker), else the last requests that the serving
version answered, else inputs made up from its dtypes and shapes. A model may refuse a made-up input
and still be fine. But if it lacks a variable, a table or an operation, if it crashes, hangs or runs
out of memory, or if it refuses all of the last real requests, it can never answer. Such a version
does not replace one that can.
"""

from __future__ import annotations

import time
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from itertools import cycle
from typing import Any

import numpy as np

from workbench.core.batching.merging import Merging, by_graph, mixing_warning
from workbench.core.signature import INIT_SIGNATURE, Signature, TensorInfo
from workbench.core.signature_facts import SignatureFacts
from workbench.core.status import Code, ServingError
from workbench.formats.dtypes import dtype_name
from workbench.ipc.frames import Tensors
from workbench.server.engine.trial.direct_asking import NEVER, CannotAnswer, ask, can_never
from workbench.server.engine.trial.inputs import (
    UNKNOWN_SIZES,
    Inputs,
    has_unknown_sizes,
    joined,
    made_up,
)
from workbench.server.engine.trial.recent import Asked, Recent
from workbench.server.engine.trial.row_witness import independent
from workbench.server.engine.trial.same_answers import changes
from workbench.server.engine.workers.worker_handle import Lane, LoadReport, Worker

_MOST_TEXT = 300
_WARM_ROWS = 16
_WARM_RUNS = 2
_WARM_BYTES = 4 * 2**20
_LONG_SECONDS = 0.01
_NO_SIGNATURE = (
    "The model has no signature, so it cannot answer any request: save it with "
    "tf.saved_model.save(model, path, signatures=...)"
)
_TRACK_ALL = (
    "save the model again with every variable and table that it uses tracked by it (as an "
    "attribute of the module, or in a layer)"
)
_OTHER_CURE = "ask the model for one row where it was made, and mend what fails there"
_CURES: dict[Code | None, str] = {
    Code.FAILED_PRECONDITION: _TRACK_ALL,
    Code.NOT_FOUND: _TRACK_ALL,
    Code.UNIMPLEMENTED: "save it for the device that it is served on",
    Code.RESOURCE_EXHAUSTED: "it needs more memory than there is for one request",
}


class _Refused(ServingError):
    """The version can never answer."""


@dataclass
class TrialResult:
    """The result of a trial.

    Attributes:
        verdict: ``passed``, ``warned``, ``refused`` or ``off``.
        merging: what was decided about each signature's requests.
        warnings: what a client may notice of the version, a sentence each.
        seconds: what it took.
        compiled_seconds: of that, compiling the sizes of batches.
    """

    verdict: str
    merging: dict[str, Merging]
    warnings: list[str] = field(default_factory=list)
    seconds: float = 0.0
    compiled_seconds: float = 0.0

    def to_json(self) -> dict[str, Any]:
        """Verdict, warnings and times, without `merging`."""
        return {
            "verdict": self.verdict,
            "warnings": list(self.warnings),
            "seconds": self.seconds,
            "compiled_seconds": self.compiled_seconds,
        }


@dataclass(kw_only=True, eq=False)
class Trial:
    """One version's trial.

    Attributes:
        mode: ``refuse``; ``warn``: what can never answer becomes available with a warning;
            ``off``: nothing is tried.
        worker: has loaded it and has its lanes.
        recent: the last requests of the model.
        automatic: whether requests may be merged without being asked to.
        sizes: batch sizes that the batching parameters allow; they are compiled in advance.
        seconds: how long one request may take.
        quiet: run at low priority, because a version serves.
    """

    mode: str
    report: LoadReport
    worker: Worker
    recent: Recent
    automatic: bool
    sizes: Sequence[int]
    seconds: float
    quiet: bool

    def __post_init__(self) -> None:
        self._lanes = cycle(self.worker.lanes)
        self._result = TrialResult("passed", {})

    async def run(self, before: Mapping[str, Signature], as_asked: bool) -> TrialResult:
        """Try each signature.

        Args:
            before: the signatures of the version that it comes after; none where it is the first.
            as_asked: whether requests are merged as batching parameters say.

        Raises:
            ServingError: the version can never answer; one sentence with the cure.
        """
        started = time.monotonic()
        result = self._result
        if self.mode != "off" and not self.report.signatures.keys() - {INIT_SIGNATURE}:
            self._refuse(_NO_SIGNATURE, Code.FAILED_PRECONDITION)
        for name, signature in sorted(self.report.signatures.items()):
            if name in self.report.twins:
                continue
            facts = self.report.facts.get(name, SignatureFacts(False))
            decided = by_graph(signature, facts, self.automatic)
            result.merging[name] = decided
            if as_asked and (warning := mixing_warning(name, facts)) is not None:
                result.warnings.append(warning)
            if self.mode == "off" or name == INIT_SIGNATURE or not signature.outputs:
                continue
            if facts.lacking:
                self._refuse(_lacking(name, facts), Code.FAILED_PRECONDITION)
            elif not facts.effect:
                result.merging[name] = await self._try(name, signature, facts, decided)
        for name, twin in self.report.twins.items():
            result.merging[name] = result.merging[twin]
        result.warnings += compared(before, self.report.signatures)
        if self.mode == "off":
            result.verdict = "off"
        elif result.warnings:
            result.verdict = "warned"
        result.seconds = time.monotonic() - started
        return result

    async def _try(
        self, name: str, signature: Signature, facts: SignatureFacts, decided: Merging
    ) -> Merging:
        """Ask a signature, and test whether its rows stay apart if its graph leaves that open."""
        try:
            requests = await self._first_answers(name, signature)
            if requests is None:
                return decided
            if decided.merged is None:
                decided = await independent(partial(self._run, name), requests, decided)
            if facts.compiled:
                await self._compile(name, requests[0], decided)
            await self._warm(name, requests[0], decided)
        except CannotAnswer as error:
            self._refuse(_cannot(name, error.how), Code.FAILED_PRECONDITION, gone=True)
        except _Refused:
            raise
        except ServingError:
            # It has answered one request, and refuses another made-up one.
            pass
        return decided

    async def _first_answers(self, name: str, signature: Signature) -> list[Inputs] | None:
        """Requests of one row that it answers; None where there are none."""
        answered = None
        for each in (name, *(n for n, twin in self.report.twins.items() if twin == name)):
            # The version before may have answered each of them otherwise.
            real = [asked for asked in self.recent.of(each) if _fits(signature, asked.inputs)]
            answered = await self._ask_real(each, real) or answered
        if answered is not None and len(answered) > 1:
            return answered
        for size in UNKNOWN_SIZES if has_unknown_sizes(signature) else UNKNOWN_SIZES[:1]:
            requests = made_up(signature, size)
            if requests is None:
                return answered
            try:
                await self._run(name, joined(requests[:1]))
                return requests
            except ServingError as error:
                if can_never(error) and not answered and name not in self.report.warmed:
                    self._refuse(_cannot(name, error.message, error.code), error.code)
                    return None
        return answered

    async def _ask_real(self, name: str, real: Sequence[Asked]) -> list[Inputs] | None:
        """Ask the last real requests again; those of one row that were answered."""
        refusal: ServingError | None = None
        answered = []
        noticed: dict[str, None] = {}
        for asked in real:
            try:
                outputs = await self._run(name, joined([asked.inputs]))
            except ServingError as error:
                refusal = error
                continue
            answered.append(asked)
            noticed.update(dict.fromkeys(changes(asked.outputs, outputs)))
        if refusal is not None and not answered:
            version, count = real[0].version, len(real)
            asked_last = "the last request" if count == 1 else f"each of the last {count} requests"
            self._refuse(
                f"Signature {name!r} refuses {asked_last} that version {version} answered "
                f"({_line(refusal.message)}): publish a version that takes the same inputs, or "
                "set probe to 'warn' if clients change with it",
                refusal.code if refusal.code in NEVER else Code.FAILED_PRECONDITION,
            )
        self._result.warnings += [
            f"Signature {name!r} answers the last requests differently than version "
            f"{real[0].version}: {change}"
            for change in noticed
        ]
        rows = [asked.inputs for asked in answered if _is_one_row(asked.inputs)]
        same = [inputs for inputs in rows if _alike(inputs, rows[0])]
        return same or None

    async def _warm(self, name: str, request: Inputs, decided: Merging) -> None:
        """Run batches on each lane like live ones: at usual priority, of the sizes that were run
        last, and large enough to allocate the memory of large ones. Otherwise the first callers
        would wait for that."""
        sizes: Collection[int] = (1,)
        if decided.batch_sizes:
            sizes = [size for size in decided.batch_sizes if size <= _WARM_ROWS]
        elif decided.merged:
            most = _WARM_BYTES // max(1, sum(array.nbytes for array in request.values()))
            # Many operations prepare themselves for each size that they meet.
            lately = {asked.batch_rows for asked in self.recent.of(name)}
            sizes = {_WARM_ROWS} | {size for size in lately if size <= most}
        rows = sorted(sizes, reverse=True) * _WARM_RUNS
        lanes = self.worker.lanes
        for batch, lane in ((1, lanes[0]), *((size, lane) for size in rows for lane in lanes)):
            started = time.monotonic()
            await self._run(name, joined([request] * batch), lane)
            if time.monotonic() - started > _LONG_SECONDS:
                # A model that takes long has first answers that take no longer.
                return

    async def _compile(self, name: str, request: Inputs, decided: Merging) -> None:
        """Run a batch of each size now: no size is then compiled while a request waits."""
        sizes = decided.batch_sizes if decided.merged else tuple(self.sizes)
        started = time.monotonic()
        for size in sizes:
            await self._run(name, joined([request] * size))
        self._result.compiled_seconds += time.monotonic() - started

    async def _run(
        self,
        name: str,
        parts: Mapping[str, Sequence[np.ndarray]],
        loud_on: Lane | None = None,
    ) -> Tensors:
        """`loud_on`: the lane to take, at usual priority; else each takes its turn."""
        lane = loud_on or next(self._lanes)
        quiet = self.quiet and loud_on is None
        return await ask(self.worker, lane, name, parts, seconds=self.seconds, quiet=quiet)

    def _refuse(self, message: str, code: Code, gone: bool = False) -> None:
        if self.mode == "refuse" or gone:
            raise _Refused(code, message)
        self._result.warnings.append(message)


def compared(before: Mapping[str, Signature], after: Mapping[str, Signature]) -> list[str]:
    """The changes of a new version's signatures that clients would notice, a sentence each."""
    found = []
    for name, old in sorted(before.items()):
        new = after.get(name)
        if new is None:
            found.append(f"Signature {name!r} is gone: clients that ask it are refused")
            continue
        for kind, was, now in (
            ("input", old.inputs, new.inputs),
            ("output", old.outputs, new.outputs),
        ):
            gone, added = sorted(set(was) - set(now)), sorted(set(now) - set(was))
            if gone:
                instead = f"; it has {', '.join(map(repr, added))} now" if added else ""
                found.append(f"Signature {name!r} has no {kind} {gone[0]!r} any more{instead}")
            elif added and kind == "input" and set(added) - new.defaults:
                found.append(f"Signature {name!r} has a new input {added[0]!r} that must be given")
            for each in sorted(set(was) & set(now)):
                if (was[each].dtype, was[each].shape) != (now[each].dtype, now[each].shape):
                    found.append(
                        f"{kind.capitalize()} {each!r} of signature {name!r} is {now[each]} and "
                        f"was {was[each]}"
                    )
    return found


def _fits(signature: Signature, inputs: Inputs) -> bool:
    """Whether a request suits this signature. One that does not says nothing about the model; there
    is a warning of its own for clients that have to change."""
    needed = signature.inputs.keys() - signature.defaults
    return needed <= inputs.keys() <= signature.inputs.keys() and all(
        _fits_input(signature.inputs[name], array) for name, array in inputs.items()
    )


def _fits_input(info: TensorInfo, array: np.ndarray) -> bool:
    if dtype_name(array.dtype) != info.dtype:
        return False
    if info.shape is None:
        return True
    return len(info.shape) == array.ndim and all(
        wanted in (-1, size) for wanted, size in zip(info.shape, array.shape, strict=True)
    )


def _is_one_row(inputs: Inputs) -> bool:
    return all(array.ndim and array.shape[0] == 1 for array in inputs.values())


def _alike(one: Inputs, other: Inputs) -> bool:
    return one.keys() == other.keys() and all(
        (a.shape, a.dtype) == (other[name].shape, other[name].dtype) for name, a in one.items()
    )


def _line(message: str) -> str:
    first = message.strip().partition("\n")[0].strip()
    return first if len(first) <= _MOST_TEXT else first[:_MOST_TEXT] + "..."


def _cannot(name: str, how: str, code: Code | None = None) -> str:
    cure = _CURES.get(code, _OTHER_CURE)
    return (
        f"Signature {name!r} cannot answer ({_line(how)}): {cure}; with probe set to 'off' the "
        "version is served untried"
    )


def _lacking(name: str, facts: SignatureFacts) -> str:
    return (
        f"Signature {name!r} cannot answer because of its operation {facts.lacking} "
        f"({facts.lacks}): write it with operations that need nothing but its inputs and the "
        "model's own variables and tables"
    )
