"""Runs the requests that may have crashed a worker one by one, to find out which of them did.

All requests that were in a worker when it died are suspects. They are run again, each alone in the
next worker, while everything else of the version waits. Those that are answered are acquitted. If
one kills the next worker too, it was alone there: the crash is blamed on its input
(`core.versions.poison`), and it is answered with an error. If the same input comes again, it is run
alone at once, so no other request is lost with it. After its third crash it is refused.

Requests whose shapes disagree with their signature are known without a second run: if the worker
aborts while it runs one, requests like it are refused at once, with the sentence that names the
mistake (`core.versions.misfits`). The others are run again, and nothing is held against them.

Inputs are hashed only after a crash. While a version has such inputs, requests with the same names,
dtypes and shapes are hashed as they come, large ones in a thread.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Hashable, Sequence
from functools import partial
from typing import TYPE_CHECKING

from workbench.core.status import ServingError, invalid_argument
from workbench.core.versions.misfits import sentence
from workbench.core.versions.poison import Outline
from workbench.ipc.low_priority import quiet_executor
from workbench.server.engine.batching.digests import digest_of, is_large, outline_of
from workbench.server.engine.batching.outstanding import Outstanding
from workbench.server.engine.batching.tasks import Task, VersionQueues
from workbench.server.engine.batching.turns import Turns
from workbench.server.engine.workers.worker_handle import WORKER_LOST, Worker

if TYPE_CHECKING:
    from workbench.core.batching.queue import Batch, Part

_hasher = quiet_executor("hashing")


class Isolation:
    """Runs the suspects of all versions; each version has its own, in its `VersionQueues`."""

    def __init__(self, turns: Turns, outstanding: Outstanding) -> None:
        self._turns = turns
        self._outstanding = outstanding
        outstanding.on_suspect_done = self.next

    # A worker has died.

    def lost(
        self, version: VersionQueues, worker: Worker, tasks: Sequence[Task], more: bool
    ) -> None:
        """A worker has died with these requests in it; `more`: other batches that it ran are still
        to be reported."""
        version.lost.extend(tasks)
        if more:
            return
        # Parts of a split request are one request.
        lost = list(dict.fromkeys(version.lost))
        version.lost.clear()
        version.died_at_work = worker
        for task in lost:
            task.running = False
        version.lost_forms = {form for task in lost if (form := task.form()) is not None}
        alone = lost[0] if len(lost) == 1 else None
        if alone is not None:
            self._put_down(version, alone)
        for task in lost:
            if task not in self._outstanding.tasks:
                task.inputs = {}
            elif task.lost_with in (None, worker) or task.form() is not None:
                # It may have been the worker that failed, and not the request.
                task.lost_again = task.lost_with not in (None, worker)
                task.lost_with = worker
                task.uncounted += alone is None
                if version.suspect is task:
                    version.suspect = None
                self._suspect(version, task)
            else:
                self._outstanding.finish(task, WORKER_LOST)
        self.next(version)

    def _put_down(self, version: VersionQueues, task: Task) -> None:
        """Blame the crash on the one request that the worker ran, and also the crash before, in
        which it was one of several."""
        crashes, task.uncounted = 1 + task.uncounted, 0
        if not task.inputs:
            return  # its caller has gone long ago
        self._with_digest(task, partial(self._strike, version, crashes))

    def _strike(
        self, version: VersionQueues, crashes: int, task: Task, digest: str, outline: Outline
    ) -> None:
        version.on_strike(digest, outline, version.poison.strike(digest, outline, crashes))
        refusal = _verdict(task)
        if refusal is not None and not task.running:
            self._outstanding.finish(task, refusal)

    def explain(self, version: VersionQueues, worker: Worker) -> bool:
        """Whether a worker that has ended aborted on a request that disagrees with its signature.

        If there was only one kind of them in the worker, requests of that kind are refused from now
        on. Several kinds are run one by one, as all suspects are.
        """
        forms, version.lost_forms = version.lost_forms, set()
        if not forms or version.died_at_work is not worker:
            return False
        found = worker.aborted and len(forms) == 1
        if found:
            (form,) = forms
            version.poison.refuse_form(form)
            version.on_misfit(form)
        for task in self._outstanding.of(version):
            refusal = _shape_refusal(task) if found else None
            if refusal is not None:
                self._outstanding.finish(task, refusal)
            elif task.lost_again:
                self._outstanding.finish(task, WORKER_LOST)
            elif found and task.lost_with is worker:
                task.lost_with = None
                task.uncounted = 0
        self.next(version)
        return worker.aborted

    # One by one.

    def _suspect(self, version: VersionQueues, task: Task) -> None:
        if not version.isolated:
            self._turns.pause(version)
        version.suspects.append(task)
        task.queue = None

    def next(self, version: VersionQueues) -> None:
        """Run the next suspect, if nothing of the version runs; after the last one everything
        goes on."""
        if version.suspect is not None:
            return
        if version.suspects and self._turns.runs(version):
            return  # called again when that is done
        while version.suspects:
            task = version.suspects.popleft()
            if task not in self._outstanding.tasks:
                continue
            if _is_like_a_suspect(task):
                _digest(task)
            refusal = _verdict(task)
            if refusal is None:
                version.suspect = task
                self._run_alone(task)
                return
            self._outstanding.finish(task, refusal)
        self._turns.resume(version)

    def _run_alone(self, task: Task) -> None:
        """Run a suspect with its original inputs, while no other request of its version runs."""
        task.version.queue_key(task)
        if task.version.parameters is None:
            task.rows = 1
        task.running = False
        task.parts = None
        with self._outstanding.refusing(task):
            self._turns.enqueue_suspect(task)

    def survived(self, version: VersionQueues, batch: Batch[Task]) -> None:
        """A batch has been answered while there are suspects."""
        task = batch.parts[0].task
        if task is version.suspect:
            if task.digest is not None:
                version.poison.acquit(task.digest)
        elif version.suspect is None:
            asyncio.get_running_loop().call_soon(self.next, version)

    # Requests come.

    def takes(self, task: Task, key: Hashable) -> bool:
        """Whether a request for the queue `key` is handled here, because the version crashed on its
        input, or may have.

        Raises:
            ServingError: FAILED_PRECONDITION, its input is refused; INVALID_ARGUMENT, its shapes
                are.
        """
        refusal = _shape_refusal(task)
        if refusal is not None:
            raise refusal
        if task.lost_with is None and not _is_like_a_suspect(task):
            return False
        digest = _digest(task)
        if digest is None:
            self._with_digest(task, partial(self._judge, key))
            return True
        refusal = _verdict(task)
        if refusal is not None:
            raise refusal
        if task.lost_with is None and not task.version.poison.strikes(digest):
            return False
        self._run_alone_soon(task)
        return True

    def diverts(self, part: Part[Task]) -> bool:
        """Whether a queued request, about to be run, is handled here."""
        task = part.task
        if part.size != part.total or not _is_like_a_suspect(task):
            return False
        digest = _digest(task)
        refusal = _verdict(task)
        if refusal is not None:
            self._outstanding.finish(task, refusal)
        elif digest is None or task.version.poison.strikes(digest):
            # A large one was queued before a crash on such an input: it may run, but alone.
            self._run_alone_soon(task)
        else:
            return False
        return True

    def _judge(self, key: Hashable, task: Task, digest: str, outline: Outline) -> None:
        """A large request that has come, and whose digest is known now."""
        if task not in self._outstanding.tasks or task.version.ended:
            return
        refusal = _verdict(task)
        if refusal is not None:
            self._outstanding.finish(task, refusal)
        elif task.lost_with is not None or task.version.poison.strikes(digest):
            self._suspect(task.version, task)
            self.next(task.version)
        else:
            with self._outstanding.refusing(task):
                self._turns.enqueue(task, key)

    def _run_alone_soon(self, task: Task) -> None:
        # Not in the call in which it is accepted: only after that is it among the outstanding.
        self._suspect(task.version, task)
        asyncio.get_running_loop().call_soon(self.next, task.version)

    def _with_digest(self, task: Task, then: Callable[[Task, str, Outline], None]) -> None:
        """Call back with the digest of a request's inputs: at once, or later where they are
        large."""
        signature, inputs = task.signature, task.inputs
        outline = outline_of(signature, inputs)
        digest = _digest(task)
        if digest is not None:
            then(task, digest, outline)
            return
        hashing = asyncio.get_running_loop().run_in_executor(_hasher, digest_of, signature, inputs)

        def done(found: asyncio.Future[str]) -> None:
            if not found.cancelled() and found.exception() is None:
                task.digest = found.result()
                then(task, task.digest, outline)

        hashing.add_done_callback(done)


def _shape_refusal(task: Task) -> ServingError | None:
    """The error for a request that disagrees with its signature as one did that the version died
    of; None if it does not."""
    misfits = task.version.poison.misfits
    form = task.form() if misfits else None
    if form is None or not misfits.is_refused(form):
        return None
    shapes = {name: array.shape for name, array in task.inputs.items()}
    return invalid_argument(sentence(task.version.signatures[task.signature], shapes))


def _is_like_a_suspect(task: Task) -> bool:
    outlines = task.version.poison.outlines
    return bool(outlines) and outline_of(task.signature, task.inputs) in outlines


def _digest(task: Task) -> str | None:
    """The digest of a request's inputs; None if they are large and it has not been made."""
    if task.digest is None and not is_large(task.inputs):
        task.digest = digest_of(task.signature, task.inputs)
    return task.digest


def _verdict(task: Task) -> ServingError | None:
    """The error for a request whose input is refused; None if it is not."""
    poison = task.version.poison
    if task.digest is not None and poison.is_refused(task.digest):
        return poison.refusal(task.digest)
    return None
