"""Checks on live answers: live requests as witnesses, the audit of merged requests, and the
requests that are kept for the next version's trial.

They are called with each good answer before it is delivered, and cost nothing unless one is due.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from workbench.core.batching.merging import Merging
from workbench.core.status import ServingError
from workbench.ipc.frames import Tensors
from workbench.server.engine.trial.recent import copied

if TYPE_CHECKING:
    from workbench.core.batching.queue import Batch
    from workbench.server.engine.batching.tasks import Task, VersionQueues

RunPrivately = Callable[["VersionQueues", str, Tensors, Sequence[str], Callable[[Any], None]], None]
"""Runs a request of the server's own, alone and at low priority."""


def ran_alone(
    run: RunPrivately, version: VersionQueues, task: Task, outputs: Tensors, now: int
) -> None:
    """A request that ran alone was answered; `now` is in monotonic microseconds."""
    _keep(version, task, outputs, now)
    signature = task.signature
    if version.parameters is not None or task.outputs:
        return
    if version.merging[signature].merged is not None:
        return
    witness = version.witnesses[signature]
    batch = witness.hear(task.inputs, outputs)
    if batch is None:
        return

    def judged(result: Tensors | ServingError) -> None:
        answer = None if isinstance(result, ServingError) else copied(result)
        decided = witness.judge(answer, version.merging[signature])
        if decided.merged is not None:
            version.decide(signature, decided)

    run(version, signature, batch, (), judged)


def ran_merged(
    run: RunPrivately, version: VersionQueues, batch: Batch[Task], outputs: Tensors, now: int
) -> None:
    """A batch was answered; one of its requests is audited, if that is due."""
    part = batch.parts[0]
    if part.size != part.total:
        return
    task = part.task
    _keep(version, task, outputs, now, part.size, batch.size)
    if len(batch.parts) == 1 or version.parameters is not None:
        return
    audit = version.audits[task.signature]
    if not audit.is_due(now):
        return
    mine = {name: array[: part.size] for name, array in outputs.items()}
    sample = audit.take(now, task.inputs, mine)
    if sample is None:
        return
    signature, kept = task.signature, sample

    def judged(result: Tensors | ServingError) -> None:
        alone = None if isinstance(result, ServingError) else copied(result)
        if not audit.judge(kept, alone) and version.merging[signature].merged:
            reason = "a request was answered differently in a batch than alone"
            version.decide(signature, Merging(False, "audit", reason=reason))

    run(version, signature, sample.inputs, task.outputs, judged)


def _keep(
    version: VersionQueues,
    task: Task,
    outputs: Tensors,
    now: int,
    rows: int | None = None,
    batch_rows: int = 1,
) -> None:
    """`rows`: how many rows of the answer are the task's; None: all."""
    recent = version.recent
    if recent is not None and recent.is_due(now, task.signature) and not task.outputs:
        mine = {name: array[:rows] for name, array in outputs.items()} if rows else outputs
        recent.keep(now, version.number, task.signature, task.inputs, mine, batch_rows)
